"""Bring a worktree that is nearly right to a tree, in process.

What was found in it is compared with what Otto noted when it filled it last. Only what differs is removed
or written; where that is too much, or something is odd, git has to do it (`plan` says None).
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from merge.objects import EXECUTABLE, GITLINK, SYMLINK, Oid
from merge.trees import Entry
from otto_core import places
from otto_core.scan import Scan, Stamp, stamp
from otto_core.slots import Filling

MOST_FILES = 1_000
"""How many files are written in process at most; git is faster at more."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Refill:
    """What to do to a worktree: paths to remove with all that is below, files to compare, files to write."""

    remove: tuple[bytes, ...]
    compare: tuple[bytes, ...]
    write: tuple[bytes, ...]


@dataclass(slots=True)
class Written:
    """What was written: files with their stamps, directories with their mode bits."""

    files: dict[bytes, Stamp] = field(default_factory=dict)
    directories: dict[bytes, int] = field(default_factory=dict)


def plan(before: Filling, found: Scan, entries: Mapping[bytes, Entry]) -> Refill | None:
    """Decide what makes a worktree hold exactly `entries`; None where git or a new worktree is needed.

    `found` is all that is in it, ignored files included.
    """
    kept = directories_of(entries) & before.directories.keys()
    if any(found.directories.get(at, before.directories[at]) != before.directories[at] for at in kept):
        return None  # its permissions are no longer those that Otto gave
    if any(at in kept and at in found.directories for at in found.odd):
        return None  # a repository within
    strange = found.directories.keys() - kept
    remove = [*strange, *(found.files.keys() - entries.keys()), *(found.odd.keys() - strange)]
    # What is the same entry is the same object: a listing is made of the one before.
    changed = {path for path, entry in entries.items() if before.entries.get(path) is not entry}
    missing = {
        path
        for path in entries.keys() - found.files.keys()
        if entries[path].mode != GITLINK or path not in found.directories
    }
    doubtful = {path for path, now in found.files.items() if before.stamps.get(path) != now} & entries.keys()
    compare = {path for path in doubtful - changed if before.recent.get(path) == found.files[path]}
    write = changed | missing | (doubtful - compare)
    if len(write) > MOST_FILES:
        return None
    return Refill(
        tuple(at for at in remove if not any(above in strange for above in _above(at))),
        tuple(sorted(compare)),
        tuple(sorted(write)),
    )


def directories_of(entries: Mapping[bytes, Entry]) -> set[bytes]:
    """List the directories that hold entries, and those that stand for submodules."""
    found: set[bytes] = set()
    for path, entry in entries.items():
        at = path if entry.mode == GITLINK else path.rpartition(b"/")[0]
        while at and at not in found:
            found.add(at)
            at = at.rpartition(b"/")[0]
    return found


def carry_out(
    refill: Refill,
    root: bytes,
    entries: Mapping[bytes, Entry],
    read: Callable[[Oid], bytes],
    identify: Callable[[bytes], Oid],
) -> Written:
    """Do what was decided. `read` gives a blob's content, `identify` the id of a content.

    Directories are reached one by one from the root's descriptor, so no link is followed on the way.

    Raises:
        OSError, RecursionError: something is in the way; the worktree is neither the old nor the new one.

    """
    for path in refill.remove:
        places.remove(Path(os.fsdecode(root + b"/" + path)))
    written = Written()
    with _Descent(root, written.directories) as descent:
        differing = [
            path
            for path in refill.compare
            if identify(_content(descent, path, entries[path].mode)) != entries[path].oid
        ]
        for path in (*differing, *refill.write):
            entry = entries[path]
            if entry.mode == GITLINK:
                descent.open(path)
            else:
                written.files[path] = _write(descent, path, entry.mode, read(entry.oid))
    return written


@dataclass(slots=True)
class _Descent:
    """Open directories below a root. What is missing is made, and its mode bits are noted in `made`."""

    root: bytes
    made: dict[bytes, int]
    _open: dict[bytes, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._open[b""] = os.open(self.root, _DIRECTORY)
        return self

    def __exit__(self, _type: type[BaseException] | None, _: object, _trace: TracebackType | None) -> None:
        for file in self._open.values():
            os.close(file)

    def open(self, path: bytes) -> int:
        """Give the descriptor of a directory."""
        if path not in self._open:
            above, _, name = path.rpartition(b"/")
            parent = self.open(above)
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
                self.made[path] = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            self._open[path] = os.open(name, _DIRECTORY, dir_fd=parent)
        return self._open[path]


def _content(descent: _Descent, path: bytes, mode: int) -> bytes:
    directory, _, name = path.rpartition(b"/")
    parent = descent.open(directory)
    if mode == SYMLINK:
        return os.readlink(name, dir_fd=parent)
    with os.fdopen(os.open(name, _OLD, dir_fd=parent), "rb") as opened:
        return opened.read()


def _write(descent: _Descent, path: bytes, mode: int, content: bytes) -> Stamp:
    """Write one file anew, in place of whatever has its name; give its stamp."""
    directory, _, name = path.rpartition(b"/")
    parent = descent.open(directory)
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
    if mode == SYMLINK:
        os.symlink(content, name, dir_fd=parent)
    else:
        file = os.open(name, _NEW, 0o777 if mode == EXECUTABLE else 0o666, dir_fd=parent)
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
    return stamp(os.stat(name, dir_fd=parent, follow_symlinks=False))


def _above(path: bytes) -> list[bytes]:
    names = path.split(b"/")[:-1]
    return [b"/".join(names[: end + 1]) for end in range(len(names))]
