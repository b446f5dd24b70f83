"""What a disk refuses, told as what it is: no bug of Otto's, and something that a person can mend."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from merge.objects import GitError
from otto_core.errors import RepositoryUnusable
from otto_core.git.program import GitKilled

_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_REFUSALS: Final = _OF_THE_DISK | {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE}


@contextmanager
def refusals(then: str) -> Iterator[None]:
    """Translate what a disk, or libgit2 on its behalf, refuses; `then` is what to type when that is mended.

    Raises:
        RepositoryUnusable: it refused something, or a git was killed. Any other failure passes as it is.

    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.errno not in _REFUSALS:  # none where libgit2 says it
            raise
        raise _told(error, then) from error
    except GitKilled as error:
        raise RepositoryUnusable(error.message, hint=f"see whether memory is short; then {then}") from error
    except GitError as error:  # it carries no number that would tell more
        raise _told(error, then) from error


def is_of_the_disk(error: BaseException) -> bool:
    """Tell whether it was the disk that refused something, whatever the thing was.

    libgit2 and git say so in words only: those of the system.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _OF_THE_DISK
    return any(os.strerror(number) in str(error) for number in _OF_THE_DISK)


def _told(error: Exception, then: str) -> RepositoryUnusable:
    return RepositoryUnusable(
        f"Otto could not go on: {error}",
        hint=f"check that the disk is not full and can be written; then {then}",
    )
