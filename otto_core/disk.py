"""What worktrees take on disk, and whether those that a run is about to fill find room."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from merge.objects import GITLINK, Oid
from merge.trees import walk
from otto_core.git.repository import GitRepository
from otto_core.scan import files_below

PLENTY: int = 20_000_000_000
"""With this many bytes free for each new worktree, nobody counts what it will take."""

_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Room:
    """What a run needs below a root that is not there yet, and what is free. In bytes."""

    missing: int
    needed_bytes: int
    free_bytes: int

    @property
    def short(self) -> bool:
        """Whether it will not fit."""
        return self.needed_bytes > self.free_bytes


def taken_bytes(*places: Path) -> int:
    """Measure what files take on disk: those places themselves, or all that lies below them.

    Follows no link; a file with several names counts once; what cannot be read does not count.
    """
    taken = 0
    seen: set[tuple[int, int]] = set()
    for file in (file for place in places for file in _files(os.fsencode(place))):
        try:
            status = os.lstat(file)
        except OSError:
            continue
        if status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            taken += status.st_blocks * 512
    return taken


def _files(place: bytes) -> Iterator[bytes]:
    if os.path.islink(place) or not os.path.isdir(place):  # noqa: PTH112, PTH114 - bytes
        yield place
    else:
        yield from files_below(place)


def slots_of(root: Path) -> list[Path]:
    """List the worktrees of a pool, those of attempts and those of checks."""
    try:
        return sorted(entry for entry in root.iterdir() if entry.name.startswith(("slot-", "check-")))
    except OSError:
        return []


def free_bytes(place: Path) -> int:
    """Say how much may still be written at a place, or where it will be made."""
    there = next(one for one in (place, *place.parents) if one.exists())
    return shutil.disk_usage(there).free


def room_for(root: Path, repository: GitRepository, base: Oid, *, attempts: int, checks: int) -> Room:
    """Compare what worktrees will take that a run wants and the pool lacks with what is free.

    Each is taken to need what the base's files take, in whole blocks; what tasks and setup make comes on top.
    """
    there = [slot.name for slot in slots_of(root)]
    missing = max(0, attempts - sum(name.startswith("slot-") for name in there))
    missing += max(0, checks - sum(name.startswith("check-") for name in there))
    free = free_bytes(root)
    if free >= missing * PLENTY:
        return Room(missing, 0, free)
    blobs = (e.oid for _, e in walk(repository.repo, repository.tree_of(base)) if e.mode != GITLINK)
    sizes = (repository.repo.odb.read_header(oid)[1] for oid in blobs)
    return Room(missing, missing * sum(-(-size // _BLOCK) * _BLOCK for size in sizes), free)


def format_bytes(count: int) -> str:
    """Write a number of bytes for a person: `640 kB`, `1.2 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
