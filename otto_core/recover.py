"""Settle what a dead driver left of a run, in the order of `otto_core.recovery.plan`, before it goes on.

The caller holds the run's lock, so nobody else does any of this. Every step may be cut off and done again:
what is done is seen in Git, in the journal or by the absence of a note.
"""

import time
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from os import fsencode
from pathlib import Path

from merge.objects import Oid
from merge.paths import show
from otto_core import events as ev
from otto_core.aside import find_aside
from otto_core.attempts import lost
from otto_core.bystanders import bystander
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.journal import Journal
from otto_core.leftovers import end_all
from otto_core.linked import entries, slot_of, unregister
from otto_core.marker import marker_of, run_of
from otto_core.occupancy import occupant_of, occupied
from otto_core.reconcile import append, reconcile
from otto_core.recovery import unfinished
from otto_core.refnames import run_ref
from otto_core.refs import locks_below, pin
from otto_core.report import SHORT
from otto_core.salvage import salvage, salvaged
from otto_core.slots import Slot, claim
from otto_core.state import Run

_STALE_S = 2.0
"""How long the lock file of a ref that nobody else may write has to stay to be a dead driver's: Git holds one
for milliseconds, also when it packs refs."""

_PATIENCE_S = 30.0
"""How long another driver, which borrowed a slot and is about to keep what it finds there, is waited for."""

_POLL_S = 0.05


def recover(repository: GitRepository, journal: Journal, run: Run, roots: Collection[Path]) -> Run:
    """Bring a run to where the next driver can go on; `roots` are the pools that its slots may lie in.

    Nothing changes where its last driver left nothing half done.

    Raises:
        RepositoryUnusable: a process would not end, or refs or the store cannot be written.

    """
    run = journal.refresh(run)
    unlock_refs(repository, run.id)
    attempts = unfinished(run)
    _end_processes(repository, run, attempts)
    for root in roots:
        for slot, occupant in occupied(root):
            if not occupant.marker or run_of(occupant.marker, repository.store) == run.id:
                _salvage(slot, repository)
    _unregister(repository, roots)
    for attempt in attempts:
        run = append(journal, run, _end(repository, run, attempt, roots))
    return reconcile(repository, journal, run)


def unlock_refs(repository: GitRepository, run: str) -> list[Path]:
    """Remove the lock files that a dead driver left on the run's refs; gives those removed.

    The caller holds the run's lock: nobody but Git's own upkeep takes one of these for a moment.
    """
    place = repository.common_dir / run_ref(run)
    before = {lock: inode for lock in locks_below(place) if (inode := _inode(lock)) is not None}
    if not before:
        return []
    time.sleep(_STALE_S)
    stale = [lock for lock, inode in before.items() if _inode(lock) == inode]
    for lock in stale:
        lock.unlink(missing_ok=True)
    return stale


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return None


def has_commits(repository: GitRepository, run: Run) -> bool:
    """Tell whether the commits are there that a run stands on and has come to."""
    return all(repository.has(Oid(hex=commit)) for commit in (run.start.base, run.tip))


def require_base(repository: GitRepository, run: Run) -> None:
    """Make sure of the commit that the run stands on, and of the ref that keeps it; and of what it came to.

    Raises:
        RepositoryUnusable: one of both is gone.

    """
    base, ref = Oid(hex=run.start.base), run_ref(run.id, "base")
    for commit, what in ((base, "stands on"), (Oid(hex=run.tip), "has come to")):
        if not repository.has(commit):
            raise RepositoryUnusable(
                f"{run.id} {what} the commit {commit}, which is gone",
                hint=f"fetch that commit from where it still is, then `otto resume {run.id}`; or build anew",
            )
    if repository.ref(ref) != base:
        pin(repository, ref, base)


def _end_processes(repository: GitRepository, run: Run, attempts: Iterable[ev.AttemptStarted]) -> None:
    """End what the attempts of the dead driver left running, all of it in one look.

    Raises:
        RepositoryUnusable: something would not end.

    """
    names = [f"{attempt.task}/{attempt.attempt}" for attempt in attempts]
    markers = {marker_of(repository.store, run.id, name) for name in names}
    end_all(markers, f"processes of {run.id}, which its driver left,", then=f"otto resume {run.id}")


def _salvage(slot: Slot, repository: GitRepository) -> None:
    """Keep what is in a slot, unless its present borrower does that."""
    deadline = time.monotonic() + _PATIENCE_S
    before = occupant_of(slot)
    if before is not None and before.work is None and _is_in_use(slot):
        return  # the checks of a landing that a living `otto land` is about
    while before is not None and occupant_of(slot) == before:
        with claim(slot) as ours:
            if ours:
                salvage(slot, repository)
                return
        if time.monotonic() >= deadline:
            who = bystander([slot.lock_file]) or "another process"
            raise RepositoryUnusable(
                f"{who} uses {show(fsencode(slot.path))}, where an attempt was left unfinished",
                hint="wait for it, or end it; then do this again",
            )
        time.sleep(_POLL_S)


def _unregister(repository: GitRepository, roots: Collection[Path]) -> None:
    """Take back what made slots linked worktrees of which nobody has noted to be at work in them.

    A driver that died as an attempt began or had just ended left it, and perhaps no attempt follows there.
    """
    for entry in entries(repository):
        slot = slot_of(entry, roots, repository)
        if slot is None:
            continue
        with claim(slot) if slot.own.parent.is_dir() else nullcontext(True) as ours:
            if ours and occupant_of(slot) is None:
                unregister(slot, repository)


def _is_in_use(slot: Slot) -> bool:
    with claim(slot) as ours:
        return not ours


def _end(
    repository: GitRepository, run: Run, started: ev.AttemptStarted, roots: Collection[Path]
) -> ev.AttemptInterrupted:
    """Give the end of an attempt whose driver died: nothing of it is alive, and what it wrote is kept."""
    commit = salvaged(repository, run.id, started.task, started.attempt)
    there = find_aside(roots, run.id, started.task, started.attempt)
    if there is not None:
        words = f"its worktree is kept at {show(fsencode(there))}"
    else:
        words = f"what it wrote is kept as {str(commit)[:SHORT]}" if commit else "it left nothing behind"
    return lost(run, started, str(commit) if commit else None, words)
