"""What a disk refuses, told as what it is: no bug of Otto's, and something that a person can mend."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from merge.objects import GitError
from otto_core.errors import RepositoryUnusable

_REFUSALS: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
    }
)


@contextmanager
def refusals(then: str) -> Iterator[None]:
    """Translate what a disk, or libgit2 on its behalf, refuses; `then` is what to type when that is mended.

    Raises:
        RepositoryUnusable: it refused something. Any other failure passes as it is.

    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.errno not in _REFUSALS:  # none where libgit2 says it
            raise
        raise _told(error, then) from error
    except GitError as error:  # it carries no number that would tell more
        raise _told(error, then) from error


def _told(error: Exception, then: str) -> RepositoryUnusable:
    return RepositoryUnusable(
        f"Otto could not go on: {error}",
        hint=f"check that the disk is not full and can be written; then {then}",
    )
