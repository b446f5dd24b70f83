"""Walk a worktree with `lstat`: every file's stamp, and whatever cannot be in a tree.

Reads no content, follows no link.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from merge.objects import EXECUTABLE, FILE, SYMLINK


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells an untouched file from a touched one.

    The change time cannot be set by a program; the rest can.
    """

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(slots=True)
class Scan:
    """What a worktree holds. `odd` maps what no tree can hold to what it is, in words."""

    files: dict[bytes, Stamp] = field(default_factory=dict)
    ignored: list[bytes] = field(default_factory=list)
    odd: dict[bytes, str] = field(default_factory=dict)


def scan(root: bytes, skip: Callable[[bytes, bool], bool]) -> Scan:
    """Walk below `root`, less its own `.git`; `skip(path, directory)` says what is ignored and not entered.

    Raises:
        OSError: a directory cannot be read, or its path is longer than the system allows.

    """
    found = Scan()
    waiting = [(root, b"")]
    while waiting:
        place, prefix = waiting.pop()
        for entry in _entries(place):
            path = prefix + entry.name
            if entry.name == b".git":
                if prefix:
                    found.odd[prefix[:-1]] = "a nested Git repository"
                continue
            status = entry.stat(follow_symlinks=False)
            directory = stat.S_ISDIR(status.st_mode)
            if skip(path, directory):
                found.ignored.append(path + b"/" if directory else path)
            elif directory:
                waiting.append((entry.path, path + b"/"))
            elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                found.files[path] = stamp(status)
            else:
                found.odd[path] = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
    return found


_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _entries(place: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except (
        PermissionError
    ):  # a task may take its own directory's permissions away; its work is still its work
        os.chmod(place, 0o700)  # noqa: PTH101 - a bytes path
        with os.scandir(place) as entries:
            return list(entries)


def stamp(status: os.stat_result) -> Stamp:
    """Give the stamp of an `lstat` result; the mode is Git's."""
    regular = EXECUTABLE if status.st_mode & stat.S_IXUSR else FILE
    mode = SYMLINK if stat.S_ISLNK(status.st_mode) else regular
    return Stamp(mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
