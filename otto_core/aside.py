"""Worktrees that are set aside, as they are, where no commit holds all that is in them.

Each lies below `kept` of its pool, by run. Where it cannot be put there, such as on a full disk, it lies
beside the slots: to rename it within one directory takes next to no room. Neither is ever a place of which
anything is discarded; only `otto clean` removes one, by evidence.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from merge.paths import show
from otto_core.errors import RepositoryUnusable
from otto_core.machine import remedy
from otto_core.places import thaw
from otto_core.slots import Slot
from otto_core.worktrees import set_aside

KEPT: Final = "kept"
"""Where a pool has the worktrees that were set aside; what those beside the slots begin with."""


def places_of(root: Path, run: str, task: str, attempt: int) -> tuple[Path, Path]:
    """Say where an attempt's worktree is set aside in a pool: the second where the first cannot be made."""
    name = f"{task.replace('/', '.')}.{attempt}"
    return root / KEPT / run / name, root / f"{KEPT}.{run}.{name}"


def put_aside(slot: Slot, run: str, task: str, attempt: int) -> Path | None:
    """Set the worktree of an attempt aside; gives where it is now, None where it is gone.

    One that its task froze is thawed: it could not be moved, now or at any resume.

    Raises:
        RepositoryUnusable: it cannot be moved; it is left where it is.

    """
    root = slot.path.parent
    kept, beside = places_of(root, run, task, attempt)
    wanted = (beside,) if (root / KEPT).is_symlink() else (kept, beside)  # a link leads to where no one looks
    thaw(slot.path)
    try:
        return set_aside(slot, *wanted)
    except OSError as error:
        where = show(os.fsencode(slot.path))
        raise RepositoryUnusable(
            f"what {task!r} of {run} wrote is in {where} and cannot be kept: {error.strerror or error}",
            hint=f"{remedy(error)}, or move {where} away; then do this again",
        ) from error


def find_aside(roots: Iterable[Path], run: str, task: str, attempt: int) -> Path | None:
    """Find the worktree of an attempt that was set aside in one of some pools."""
    every = (place for root in roots for place in places_of(root, run, task, attempt))
    return next((place for place in every if place.is_dir()), None)


def run_of_aside(root: Path, place: Path) -> str:
    """Name the run that a place of a pool is of where a worktree was set aside, as the place is called."""
    if place.parent != root:
        return place.parent.name
    return place.name.removeprefix(f"{KEPT}.").partition(".")[0]
