"""What setup made in a slot: noted file by file, kept while its key holds, and never anything else.

Only what the base ignores is kept, by its topmost paths (`node_modules`, `.venv`). While the worktree is
reset these wait beside it, so a reset stays what it is: exactly the tree. Before they come back every file
and directory is compared with the note: what an attempt added is removed, and where it changed or removed
anything, a mode too, nothing is kept and setup runs again.
"""

import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path

from otto_core.places import below, ensure_directory, fresh_directory, remove, write_new
from otto_core.slots import Slot


@dataclass(frozen=True, slots=True)
class _File:
    """A file or link as setup left it.

    `digest` stands where the stamp alone would not do: a topmost file gets a new change time when it moves,
    a file with several names when another of them goes; one written in the tick of the note could change
    within it.
    """

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """All that setup made under one key, by path from the worktree's root. `directories` gives mode bits."""

    key: str
    roots: tuple[bytes, ...]
    files: dict[bytes, _File]
    directories: dict[bytes, int]


def note_down(slot: Slot, key: str, roots: Iterable[bytes]) -> None:
    """Note what lies at some paths of the worktree (setup's processes are gone) as made under a key."""
    named = tuple(sorted(root.rstrip(b"/") for root in roots))
    ensure_directory(slot.made)
    write_new(slot.made / "tick", b"")
    tick = (slot.made / "tick").stat().st_ctime_ns
    files: dict[bytes, _File] = {}
    directories: dict[bytes, int] = {}
    for root in named:
        for path, place, status in _walk(root, _join(slot.path, root)):
            if stat.S_ISDIR(status.st_mode):
                directories[path] = status.st_mode
            elif (kept := _file(status)) is not None:
                doubtful = path == root or status.st_nlink > 1 or status.st_ctime_ns >= tick
                files[path] = replace(kept, digest=_digest(place, status)) if doubtful else kept
    _write(slot, Note(key, named, files, directories))


def set_apart(slot: Slot, key: str) -> Note | None:
    """Move what was made under a key out of a worktree that is about to be reset; None where nothing holds.

    The processes that used the slot are gone.
    """
    note = _read(slot)
    if note is not None and note.key == key and _park(slot, note.roots):
        return note
    forget(slot)
    return None


def bring_back(slot: Slot, note: Note) -> bool:
    """Put back what was set apart if it is what setup made (True), else remove it and the note."""
    parked = slot.made / "parked"
    whole = _settle(parked, note)
    if whole:
        for number, root in enumerate(note.roots):
            place = below(slot.path, root)
            if place is None:  # the tree has something there now, and it goes first
                whole = False
                break
            (parked / str(number)).rename(place)
            slot.apart[root] = None
    if not whole:
        forget(slot)
    return whole


def _park(slot: Slot, roots: Iterable[bytes]) -> bool:
    parked = slot.made / "parked"
    fresh_directory(parked)
    for number, root in enumerate(roots):
        if not _reachable(slot.path, root):
            return False
        try:
            os.rename(_join(slot.path, root), _join(parked, b"%d" % number))  # noqa: PTH104 - bytes
        except OSError:
            return False
    return True


def forget(slot: Slot) -> None:
    """Drop the note of what setup made, and what is set apart; the rest goes with the next reset."""
    with suppress(OSError):
        remove(slot.made)


def _settle(parked: Path, note: Note) -> bool:
    """Compare what is set apart with the note, and remove what is not in it; False where it is not whole."""
    files, directories = dict(note.files), dict(note.directories)
    for number, root in enumerate(note.roots):
        extra: list[bytes] = []
        try:
            for path, place, status in _walk(root, _join(parked, b"%d" % number), note.directories):
                if stat.S_ISDIR(status.st_mode) and path in directories:
                    if directories.pop(path) != status.st_mode:
                        return False
                elif path not in files:
                    extra.append(place)
                elif not _is_same(files.pop(path), place, status):
                    return False
            for place in extra:
                remove(Path(os.fsdecode(place)))
        except (OSError, RecursionError):
            return False
    return not files and not directories


def _walk(
    path: bytes, place: bytes, only: Collection[bytes] | None = None
) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """Walk a file or directory, itself included; enter only the directories of `only` (default: all).

    Raises:
        OSError: something cannot be read or is gone.

    """
    waiting = [(path, place, os.lstat(place))]
    while waiting:
        path, place, status = waiting.pop()
        yield path, place, status
        if stat.S_ISDIR(status.st_mode) and (only is None or path in only):
            with os.scandir(place) as entries:
                waiting += [
                    (b"%s/%s" % (path, entry.name), entry.path, entry.stat(follow_symlinks=False))
                    for entry in entries
                ]


def _file(status: os.stat_result) -> _File | None:
    """Give the stamp of a file or link; None for what is neither, which is not kept."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        return None
    return _File(status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _is_same(noted: _File, place: bytes, status: os.stat_result) -> bool:
    if (noted.mode, noted.size) != (status.st_mode, status.st_size):
        return False
    if noted.digest is not None:
        return _digest(place, status) == noted.digest
    stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return (noted.mtime_ns, noted.ctime_ns, noted.inode) == stamp


def _digest(place: bytes, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(place).hex()  # noqa: PTH115 - bytes
    with open(place, "rb") as file:  # noqa: PTH123 - bytes
        return file_digest(file, "sha256").hexdigest()


def _reachable(root: Path, path: bytes) -> bool:
    """Tell whether only directories lead to a path: an attempt may have put a link there."""
    place = os.fsencode(root)
    for name in [b"", *path.split(b"/")[:-1]]:
        place = b"%s/%s" % (place, name) if name else place
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                return False
        except OSError:
            return False
    return True


def _join(root: Path, path: bytes) -> bytes:
    return b"%s/%s" % (os.fsencode(root), path)


def _write(slot: Slot, note: Note) -> None:
    body = {
        "key": note.key,
        "roots": [os.fsdecode(root) for root in note.roots],
        "files": {
            os.fsdecode(path): [f.mode, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.digest]
            for path, f in note.files.items()
        },
        "directories": {os.fsdecode(path): mode for path, mode in note.directories.items()},
    }
    write_new(slot.made / "note.json", json.dumps(body).encode())


def _read(slot: Slot) -> Note | None:
    """Read the note; None where there is none, or it is not one."""
    place = slot.made / "note.json"
    if slot.made.is_symlink() or place.is_symlink():
        return None
    try:
        body = json.loads(place.read_bytes())
        return Note(
            key=body["key"],
            roots=tuple(os.fsencode(root) for root in body["roots"]),
            files={os.fsencode(path): _File(*file) for path, file in body["files"].items()},
            directories={os.fsencode(path): mode for path, mode in body["directories"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
