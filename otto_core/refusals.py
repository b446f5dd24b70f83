"""What the machine refuses, told as what it is: no bug of Otto's, and something that a person can mend."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from merge.objects import GitError
from otto_core.errors import GitUnfinished, RepositoryUnusable
from otto_core.machine import REFUSED, remedy

_REFUSALS: Final = REFUSED | {errno.EACCES, errno.EPERM}

_SAID: Final = (
    *(f": {os.strerror(number)}" for number in sorted(REFUSED)),
    *(f"{level}: Unable to write new index file" for level in ("fatal", "error")),
)
"""How a line of git's ends that tells such a refusal: with the system's words, or with all that git says.

Nowhere else: git quotes the names of files, and an attempt gives them names.
"""


@contextmanager
def refusals(then: str) -> Iterator[None]:
    """Translate what a disk, or libgit2 on its behalf, refuses; `then` is what to type when that is mended.

    Raises:
        RepositoryUnusable: it refused something, or a git of Otto's. Any other failure passes as it is.

    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.errno not in _REFUSALS:  # none where libgit2 says it
            raise
        raise _told(error, then) from error
    except GitUnfinished as error:
        raise RepositoryUnusable(error.message, hint=f"{error.mend}; then {then}") from error
    except GitError as error:  # it carries no number that would tell more
        raise _told(error, then) from error


def is_of_the_machine(error: BaseException) -> bool:
    """Tell whether the machine refused something, its disk, a process, a git, whatever the thing was.

    libgit2 only reads and writes objects and refs, and tells a full disk in the words of what had failed last
    before (libgit2 1.9.7): they say nothing of a task. pygit2 gives some as an OSError with no number.
    """
    match error:
        case GitError() | GitUnfinished():
            return True
        case OSError(errno=None):
            return type(error) is OSError
        case OSError(errno=number):
            return number in REFUSED
        case _:
            return any(line.endswith(_SAID) for told in error.args for line in str(told).split("\n"))


def can_pose(path: bytes) -> bool:
    """Tell whether git, which tells names as they are, could seem to speak of the machine by this one."""
    return b"\n" in path or any(words.encode() in path for words in _SAID)


def _told(error: Exception, then: str) -> RepositoryUnusable:
    return RepositoryUnusable(f"Otto could not go on: {error}", hint=f"{remedy(error)}; then {then}")
