"""What runs have left in a repository and its pools of worktrees, as `otto clean` finds it. Writes nothing.

Only pools that bear this very repository's name count: a copy of a repository has a journal that names the
pools of the original.
"""

import os
import re
import stat
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from merge.objects import GitError, Oid
from otto_core.aside import KEPT
from otto_core.bystanders import bystander
from otto_core.cleaning import RunFacts, SlotFacts
from otto_core.git.reach import on_branches, refs_below
from otto_core.git.repository import GitRepository
from otto_core.journal import Journal
from otto_core.occupancy import note_of, occupant_of
from otto_core.refnames import run_ref
from otto_core.runlock import as_seen, is_delivering, is_driven
from otto_core.slots import Slot, worktree_root
from otto_core.state import Run

OWN = (".otto", ".io", ".made")
"""Otto's own places of a pool, which hold something of each slot."""

_SLOT = re.compile(r"(?:slot|check)-[0-9]+")


def pools(repository: GitRepository, configured: Path | None, runs: Iterable[Run]) -> list[Path]:
    """List this repository's pools of worktrees: of the place that is configured now, and of its runs.

    Raises:
        UsageError: that place is not possible.

    """
    now = worktree_root(repository, configured)
    of_runs = {Path(run.settings.worktrees) for run in runs if run.started and run.settings.worktrees}
    return sorted({now, *(root for root in of_runs if root.name == now.name)})


def orphaned_pools(repository: GitRepository, runs: Iterable[Run]) -> list[tuple[Path, Path]]:
    """List the pools of this repository's runs that were made when it was at another place, with that place.

    Only those whose objects are not there any more: else this repository is a copy of the one that is there.
    """
    now = worktree_root(repository, None).name
    found = []
    for root in sorted({Path(run.settings.worktrees) for run in runs if run.settings.worktrees}):
        pointers = root.glob(".otto/*/git/objects/info/alternates")
        objects = {Path(os.fsdecode(pointer.read_bytes().rstrip(b"\n"))) for pointer in pointers}
        if root.name != now and objects and not any(place.exists() for place in objects):
            found.append((root, min(objects).parent))
    return found


def intruder(root: Path) -> Path | None:
    """Name what stands in a pool where a directory of Otto's should, such as a link, if anything does."""
    places = (root, *(root / name for name in (*OWN, KEPT)))
    return next((place for place in places if _exists(place) and not is_directory(place)), None)


def slots(root: Path) -> list[Slot]:
    """List the slots of a pool of which anything is left but the lock, which stays."""
    places = (place for parent in (root, *(root / name for name in OWN)) for place in _entries(parent))
    names = {place.name.removesuffix(".occupant") for place in places}
    return [Slot.below(root, name) for name in sorted(names) if _SLOT.fullmatch(name)]


def kept_worktrees(root: Path) -> list[Path]:
    """List the worktrees of a pool that were set aside, by run; what is no directory too."""
    found = [place for place in _entries(root) if place.name.startswith(f"{KEPT}.")]
    for of_run in _entries(root / KEPT):
        found += _entries(of_run) if is_directory(of_run) else [of_run]
    return found


def abandoned_merge_places(store: Path) -> list[Path]:
    """List the places for merging that dead drivers and landings left."""
    places = (place for place in _entries(store / "merge") if place.suffix == ".git")
    return [place for place in places if not _is_used(store, *user_of(place))]


def user_of(merge_place: Path) -> tuple[str, bool]:
    """Say which run a place for merging is of, and whether it is for a landing on a person's branch."""
    run, _, rest = merge_place.name.partition(".")
    return run, rest == "delivery.git"


def _is_used(store: Path, run: str, lands: bool) -> bool:
    return is_delivering(store) if lands else is_driven(store, run)


def with_refs_or_logs(repository: GitRepository) -> list[str]:
    """Name the runs that have refs or logs and that nobody drives; the journal is asked after this."""
    of_refs = {ref.split("/")[3] for ref in refs_below(repository, "refs/otto/runs")}
    of_logs = {place.name for place in _entries(repository.store / "logs")}
    return [name for name in sorted(of_refs | of_logs) if not is_driven(repository.store, name)]


def logs_of(store: Path, run: str) -> Path | None:
    """Give the place of a run's logs, if it is there, and where Otto put it."""
    place = store / "logs" / run
    return place if is_directory(place.parent) and _exists(place) else None


def look_at_run(repository: GitRepository, journal: Journal, run: Run) -> RunFacts:
    """Look at what is left of a run.

    Raises:
        RepositoryUnusable: git cannot tell what its branches reach.

    """
    run = as_seen(repository.store, run, journal.refresh)
    refs = refs_below(repository, run_ref(run.id))
    ended, logs = journal.ended_at(run.id), logs_of(repository.store, run.id)
    ended_s = None if ended is None else seconds_since(ended)
    if not run.outcome.is_final or run.cleaned is not None:  # what is safe is not asked then
        return RunFacts(run, ended_s, refs, frozenset(), frozenset(), logs is not None)
    landed = [task.commit for task in run.tasks.values() if task.commit is not None]
    unchanging = {at: base for at in refs.values() if (base := _base_of_nothing(repository, at)) is not None}
    asked = {*refs.values(), *landed, *unchanging.values(), run.tip}
    safe = on_branches(repository, asked, less=(run.branch,))  # its own result is not landed by being there
    empty = frozenset(at for at, base in unchanging.items() if base in safe)
    return RunFacts(run, ended_s, refs, safe, empty, logs is not None)


def seconds_since(at: str) -> float:
    """Count the seconds since a time of the journal's."""
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()


def look_at_slot(slot: Slot, borrower: str | None = None) -> SlotFacts:
    """Look at a slot: who is in it is asked only where nobody's unfinished work is."""
    occupant = occupant_of(slot)
    free = borrower is None and occupant is None
    there = bystander((slot.path, slot.io)) if free else None
    aside = next((place for place in _entries(slot.own) if place.name.startswith("unclean")), None)
    return SlotFacts(
        name=str(slot.path),
        borrower=borrower,
        ours=_exists(slot.own) or not _exists(slot.path),
        unreadable=str(note_of(slot)) if occupant is not None and not occupant.marker else None,
        unfinished=str(occupant) if occupant is not None and occupant.marker else None,
        unused_s=unused_s(slot.path, slot.own, slot.own / "note", slot.io),
        aside=None if aside is None else str(aside),
        bystander=None if there is None else str(there),
    )


def unused_s(*places: Path) -> float:
    """Say how long ago anything was written to places, as their own times tell."""
    times = (found.st_mtime for place in places if (found := _status(place)) is not None)
    return time.time() - max(times, default=0.0)


def is_directory(place: Path) -> bool:
    """Tell whether a name stands for a directory itself, not for a link to one."""
    found = _status(place)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _exists(place: Path) -> bool:
    return _status(place) is not None


def _status(place: Path) -> os.stat_result | None:
    """Look at what a name stands for; once, as a driver at work may take it away between two looks."""
    try:
        return place.lstat()
    except OSError:
        return None


def _entries(place: Path) -> list[Path]:
    """List a directory; nothing where it is none, or leads elsewhere."""
    return sorted(place.iterdir()) if is_directory(place) else []


def _base_of_nothing(repository: GitRepository, commit: str) -> str | None:
    """Give the only parent of a commit that changes nothing; None for any other, and for what is none."""
    oid = Oid(hex=commit)
    try:
        [parent] = repository.parents_of(oid)
        return str(parent) if repository.tree_of(parent) == repository.tree_of(oid) else None
    except (KeyError, ValueError, GitError):
        return None
