"""Who uses a slot: noted beside it before its processes start, until the journal knows how they ended.

Whoever borrows the slot after a crash learns from the note which processes to end, and what to keep before
anything is written there. It lies in Otto's own place of the pool and is replaced in one step.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from otto_core.events import AttemptStarted
from otto_core.model import GitPath, json_of, path_in
from otto_core.places import identity, remove, write_new
from otto_core.slots import Slot
from otto_core.state import Run
from planner.record import Record

_SUFFIX = ".occupant"


class Work(Record, frozen=True, kw_only=True):
    """All that it takes to keep what an attempt wrote, without the driver that began it."""

    run: str
    task: str
    attempt: int
    base: str
    owns: tuple[str, ...]
    max_file_bytes: int
    worktree: tuple[int, int]
    """Device and inode of the worktree that was handed out."""
    linked: bool = False
    apart: tuple[GitPath, ...] = ()
    """What Otto itself put beside the tree, such as copied files: no snapshot holds it."""


class Occupant(Record, frozen=True, kw_only=True):
    """The marker of the processes in a slot, and the attempt's work where it is an attempt's."""

    marker: str
    work: Work | None = None

    def __str__(self) -> str:
        """Name it for a person: the run, and what of it."""
        return self.marker.partition("@")[0] or "another Otto"


def work_of(run: Run, started: AttemptStarted, slot: Slot) -> Work:
    """Give all that it takes to keep what an attempt writes in a slot.

    Raises:
        OSError: the slot has no worktree.

    """
    return Work(
        run=run.id,
        task=started.task,
        attempt=started.attempt,
        base=started.base,
        owns=run.spec(started.task).owns,
        max_file_bytes=run.settings.max_file_bytes,
        worktree=identity(slot.path),
        linked=slot.linked,
        apart=tuple(slot.apart),
    )


def occupy(slot: Slot, occupant: Occupant) -> None:
    """Note who is about to use a slot.

    Raises:
        OSError: the note cannot be written.

    """
    note = note_of(slot)
    fresh = note.with_name(f"{note.name}.new")
    write_new(fresh, json.dumps(json_of(occupant)).encode())
    fresh.replace(note)


def leave(slot: Slot) -> None:
    """Note that nothing of the occupant is alive, and that what it wrote is kept."""
    with suppress(OSError):  # then it is ended and kept once more, which changes nothing
        remove(note_of(slot))


def occupant_of(slot: Slot) -> Occupant | None:
    """Say who uses a slot, or was using it when its driver died; None where nobody was.

    A note that cannot be read was not written by this version of Otto; of its occupant nothing is known.
    """
    try:
        text = os.fsdecode(note_of(slot).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Occupant(marker="")
    try:
        return msgspec.convert(json.loads(text), Occupant, dec_hook=path_in)
    except (ValueError, TypeError):
        return Occupant(marker="")


def occupied(root: Path) -> Iterator[tuple[Slot, Occupant]]:
    """List the slots of a pool that somebody uses, or was using when its driver died."""
    for note in sorted((root / ".otto").glob(f"*{_SUFFIX}")):
        slot = Slot.below(root, note.name.removesuffix(_SUFFIX))
        if (occupant := occupant_of(slot)) is not None:
            yield slot, occupant


def note_of(slot: Slot) -> Path:
    """Say where the note of a slot's occupant lies."""
    return slot.own.with_name(f"{slot.own.name}{_SUFFIX}")
