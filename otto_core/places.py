"""Files and directories of Otto's own, in places where a task may have put something else.

A task runs as the user and can reach what lies beside its worktree. So nothing here follows a link that
Otto did not make, and nothing trusts that a name still is what it was.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

_MOST_OPEN: Final = 50
"""How many directories are open at once where a tree is removed."""

_FLAGS: Final = struct.Struct("l")
_GET_FLAGS: Final = 0x80006601 | _FLAGS.size << 16
"""FS_IOC_GETFLAGS, as most architectures number it (linux/fs.h); elsewhere it is no request at all."""

_SET_FLAGS: Final = 0x40006602 | _FLAGS.size << 16
"""FS_IOC_SETFLAGS, likewise."""

_UNCHANGEABLE: Final = 0x10 | 0x20
"""FS_IMMUTABLE_FL, FS_APPEND_FL."""


def remove(path: Path) -> None:
    """Remove whatever a name stands for: a link itself, never what it points to.

    A task may have made directories deeper than this program may call itself, have files open or name a path,
    and have taken its own permissions of them: `shutil.rmtree` fails on each.

    Raises:
        OSError: it cannot be removed.

    """
    if not _is_directory(path):
        path.unlink(missing_ok=True)
        return
    root = _entered(path)
    try:
        _empty(root)
    finally:
        os.close(root)
    path.rmdir()


def _empty(root: int) -> None:
    """Remove all that is in an open directory.

    What lies too deep is moved up to it first, so that few directories are open at once.
    """
    opened, waiting, fresh = [root], [_names(root)], count()
    try:
        while waiting[-1] or len(opened) > 1:
            at = opened[-1]
            if not waiting[-1]:
                os.close(opened.pop())
                waiting.pop()
                os.rmdir(waiting[-1].pop()[0], dir_fd=opened[-1])
                continue
            name, is_directory = waiting[-1][-1]
            if not is_directory:
                os.unlink(name, dir_fd=at)
                waiting[-1].pop()
            elif len(opened) < _MOST_OPEN:
                opened.append(_entered(name, at))
                waiting.append(_names(opened[-1]))
            else:
                os.close(_entered(name, at))  # without permission to write in it, it could not be moved
                free = next(found for n in fresh if not _is_there(found := f"deep-{n}", root))
                os.rename(name, free, src_dir_fd=at, dst_dir_fd=root)
                waiting[-1].pop()
                waiting[0].insert(0, (free, True))
    finally:
        for left in opened[1:]:
            os.close(left)


def _entered(name: str | Path, above: int | None = None) -> int:
    """Open a directory, and no link to one, with all permissions for its owner."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        directory = os.open(name, flags, dir_fd=above)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=above)
        directory = os.open(name, flags, dir_fd=above)
    if os.fstat(directory).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with suppress(PermissionError):  # another user's; it may do as it is
            os.fchmod(directory, stat.S_IRWXU)
    return directory


def _names(directory: int) -> list[tuple[str, bool]]:
    """List what is in an open directory, and whether each is a directory itself."""
    with os.scandir(directory) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


def _is_there(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def ensure_directory(path: Path) -> None:
    """Make a name stand for a real directory; what is none gives way to an empty one.

    Another thread, or Otto, may do the same: its directory, and what is in it by then, stays.
    """
    while not _is_directory(path):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700, parents=True)
            return
        try:
            path.unlink(missing_ok=True)
        except OSError:
            if not _is_directory(path):
                raise


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
