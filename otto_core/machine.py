"""What a machine refuses, by number: its disk, its processes, its open files; and what helps."""

import errno
from typing import Final

REFUSED: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
        *(errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM),
    }
)
"""Error numbers that say nothing of what was asked for (errno(3))."""


def remedy(error: Exception) -> str:
    """Say what helps where the machine refused something."""
    match error:
        case OSError(errno=errno.EACCES | errno.EPERM, filename=place):
            return f"see who may use {place}" if place else "see what this user may do there"
        case OSError(errno=errno.EAGAIN | errno.ENOMEM):
            return "see whether memory is short, or how many processes may run (`ulimit -u`)"
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return "raise the limit of open files, such as with `ulimit -n 1024`"
        case _:
            return "check that the disk is not full and can be written"
