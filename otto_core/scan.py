"""Walk a worktree with `lstat`: every file's stamp, and whatever cannot be in a tree.

Reads no content, follows no link.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from merge.objects import EXECUTABLE, FILE, SYMLINK


class Stamp(NamedTuple):
    """What tells an untouched file from a touched one.

    The change time cannot be set by a program; the rest can. `mode` is Git's, `bits` the system's. A tuple,
    because a worktree has thousands of them.
    """

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    bits: int
    links: int


@dataclass(slots=True)
class Scan:
    """What a worktree holds. `odd` maps what no tree can hold to what it is, in words.

    `directories` gives the mode bits of each; its root is not among them.
    """

    files: dict[bytes, Stamp] = field(default_factory=dict)
    directories: dict[bytes, int] = field(default_factory=dict)
    ignored: list[bytes] = field(default_factory=list)
    odd: dict[bytes, str] = field(default_factory=dict)


def scan(root: bytes, skip: Callable[[bytes, bool], bool] | None = None) -> Scan:
    """Walk below `root`, less its own `.git`; `skip(path, directory)` says what is ignored and not entered.

    Nothing is skipped where it is None.

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
            if skip is not None and skip(path, directory):
                found.ignored.append(path + b"/" if directory else path)
            elif directory:
                found.directories[path] = status.st_mode
                waiting.append((entry.path, path + b"/"))
            elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                found.files[path] = stamp(status)
            else:
                found.odd[path] = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
    return found


def files_below(root: bytes) -> Iterator[bytes]:
    """List what is below a directory and is none itself, however deep; less what cannot be read.

    A link is listed, and not followed.
    """
    waiting = [root]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            continue
        waiting += [path for path, directory in found if directory]
        yield from (path for path, directory in found if not directory)


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
    return Stamp(
        mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_mode,
        status.st_nlink,
    )
