"""Files and directories of Otto's own, in places where a task may have put something else.

A task runs as the user and can reach what lies beside its worktree. So nothing here follows a link that
Otto did not make, and nothing trusts that a name still is what it was.
"""

import fcntl
import os
import shutil
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_FLAGS: Final = struct.Struct("l")
_GET_FLAGS: Final = 0x80006601 | _FLAGS.size << 16
"""FS_IOC_GETFLAGS, as most architectures number it (linux/fs.h); elsewhere it is no request at all."""

_SET_FLAGS: Final = 0x40006602 | _FLAGS.size << 16
"""FS_IOC_SETFLAGS, likewise."""

_UNCHANGEABLE: Final = 0x10 | 0x20
"""FS_IMMUTABLE_FL, FS_APPEND_FL."""


def remove(path: Path) -> None:
    """Remove whatever a name stands for: a link itself, never what it points to.

    Raises:
        OSError, RecursionError: it cannot be removed.

    """
    if not _is_directory(path):
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        _open_up(path)
        shutil.rmtree(path)


def ensure_directory(path: Path) -> None:
    """Make a name stand for a real directory; what is none gives way to an empty one."""
    if not _is_directory(path):
        remove(path)
        path.mkdir(mode=0o700, parents=True)


def fresh_directory(path: Path) -> None:
    """Make a name stand for an empty directory."""
    remove(path)
    path.mkdir(mode=0o700, parents=True)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is new, whatever the name stood for before.

    Raises:
        OSError: something took the name again meanwhile, or it cannot be written.

    """
    remove(path)
    create(path, data)


def create(path: Path, data: bytes) -> None:
    """Write a file whose name stands for nothing yet.

    Raises:
        OSError: it does, or the file cannot be written.

    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with memoryview(data) as rest:
            done = 0
            while done < len(rest):
                done += os.write(file, rest[done:])
    finally:
        os.close(file)


def below(root: Path, path: bytes) -> Path | None:
    """Give the place of a path below a directory; directories on the way are made where they are missing.

    None where something else than a directory is on the way, or anything at the place itself.
    """
    place = os.fsencode(root)
    *above, last = path.split(b"/")
    for name in above:
        place = b"%s/%s" % (place, name)
        if not os.path.lexists(place):
            os.mkdir(place)  # noqa: PTH102 - bytes
        elif not _is_directory(Path(os.fsdecode(place))):
            return None
    found = Path(os.fsdecode(b"%s/%s" % (place, last)))
    return None if os.path.lexists(found) else found


def identity(path: Path) -> tuple[int, int]:
    """Identify a directory itself, not its name: device and inode.

    Raises:
        OSError: there is nothing, or no directory.

    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{path} is not a directory")
    return status.st_dev, status.st_ino


def is_frozen(path: Path) -> bool:
    """Tell whether a directory may not be changed whatever its mode says (ioctl_iflags(2); chattr(1), `+i`).

    Nothing can be made or removed in one that is immutable, and itself it can be neither moved nor removed.
    In one that may only be appended to, nothing can be removed. False where nobody can tell.
    """
    with suppress(OSError), _opened(path) as directory:  # some file systems have no such flags
        return bool(_flags_of(directory) & _UNCHANGEABLE)
    return False


def thaw(path: Path) -> bool:
    """Let a directory itself be changed and moved again where it is frozen; its other flags stay.

    False where that cannot be done, which takes root (CAP_LINUX_IMMUTABLE), or nobody can tell.
    """
    with suppress(OSError), _opened(path) as directory:
        flags = _flags_of(directory)
        if flags & _UNCHANGEABLE:
            fcntl.ioctl(directory, _SET_FLAGS, _FLAGS.pack(flags & ~_UNCHANGEABLE))
        return True
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a directory, and no link to one."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield directory
    finally:
        os.close(directory)


def _flags_of(directory: int) -> int:
    [flags] = _FLAGS.unpack(fcntl.ioctl(directory, _GET_FLAGS, bytes(_FLAGS.size)))
    return int(flags)


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _open_up(path: Path) -> None:
    """Give back the permissions that a task took from its own directories, from the top down."""
    path.chmod(stat.S_IRWXU)
    for place, directories, _ in os.walk(path):
        for name in directories:
            if _is_directory(below := Path(place) / name):
                below.chmod(stat.S_IRWXU)
