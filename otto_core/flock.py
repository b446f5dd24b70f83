"""Locks on open files, by flock(2): the kernel frees them when the last descriptor of the opening is closed.

So a lock ends with its holder, however that ends. A child that inherits the descriptor keeps it; deleting the
file lets a second holder in, so lock files are never deleted.
"""

import fcntl
from typing import IO


def take(file: IO[str] | IO[bytes] | int, *, shared: bool = False) -> bool:
    """Take the lock of an open file if it is free at this moment; it lasts until the file is closed.

    A shared lock goes along with shared ones only.

    Raises:
        OSError: the file system has no locks.

    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
