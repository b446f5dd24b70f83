"""What helps where the machine refuses something."""

import errno
import os

import pytest

from otto_core.machine import remedy


@pytest.mark.parametrize(
    ("number", "helps"),
    [
        (errno.ENOSPC, "the disk is not full"),
        (errno.EROFS, "can be written"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EAGAIN, "ulimit -u"),
        (errno.EACCES, "who may use /there"),
        (errno.EPERM, "who may use /there"),
    ],
)
def test_what_helps_is_of_the_kind_that_was_refused(number: int, helps: str) -> None:
    assert helps in remedy(OSError(number, os.strerror(number), "/there"))
