"""Remove what nobody needs of a pool of worktrees: slots, and worktrees that were set aside.

A slot is removed while its lock is held, and so is nobody's; the files of the locks stay, since a deleted one
would let two in. The directories of worktrees set aside stay, too: whoever sets one aside may just have made
them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from otto_core import events as ev
from otto_core.aside import places_of, run_of_aside
from otto_core.bystanders import bystander
from otto_core.cleaning import Kept, KeptFacts, Salvage, SlotFacts, SlotGoes, WorktreeGoes, of_kept, of_slot
from otto_core.git.repository import GitRepository
from otto_core.inventory import (
    OWN,
    intruder,
    is_directory,
    kept_worktrees,
    look_at_slot,
    seconds_since,
    slots,
)
from otto_core.journal import Journal
from otto_core.linked import entry_of, unregister
from otto_core.occupancy import occupant_of, work_of
from otto_core.places import remove
from otto_core.runlock import as_left, as_seen, hold
from otto_core.salvage import is_held_by, salvage, salvaged
from otto_core.slots import Slot, claim, is_borrowed
from otto_core.state import Run
from otto_core.sweep import Removed, Sweep


@dataclass(frozen=True, slots=True)
class Vacating:
    """The pools of a repository, as an `otto clean` goes through them. `runs` are those of the journal."""

    sweep: Sweep
    repository: GitRepository
    journal: Journal | None
    runs: Mapping[str, Run]

    def pool(self, root: Path) -> None:
        """Remove what nobody needs of a pool."""
        if (there := intruder(root)) is not None:
            words = "it is no directory of Otto's, so nothing there is touched"
            self.sweep.kept.append(Kept(str(there), words, f"look at it; then rm {quote(str(there))}"))
            return
        for slot in slots(root):
            with self.sweep.telling(str(slot.path)):
                self._slot(slot)
        for place in kept_worktrees(root):
            with self.sweep.telling(str(place)):
                self._kept_worktree(root, place)

    def _slot(self, slot: Slot) -> None:
        if self.sweep.order.dry_run:
            facts = look_at_slot(slot, _borrower(slot) if is_borrowed(slot) else None)
            self._slot_as(slot, facts)
            return
        with claim(slot) as ours:
            self._slot_as(slot, look_at_slot(slot, None if ours else _borrower(slot)))

    def _slot_as(self, slot: Slot, facts: SlotFacts, how: str = "") -> None:
        match of_slot(facts, self.sweep.order.older_than_s):
            case Kept() as kept:
                self.sweep.kept.append(kept)
            case Salvage() if self.sweep.order.dry_run:
                how = f"what {facts.unfinished} left there would be kept first"
                self.sweep.removed.append(Removed(facts.name, self._remove_slot(slot), how))
            case Salvage():
                self.sweep.before(f"keeping what was left in {slot.path}")
                salvage(slot, self.repository)
                after = replace(look_at_slot(slot), unused_s=facts.unused_s)
                self._slot_as(slot, after, f"what {facts.unfinished} left there was kept first")
            case SlotGoes():
                self.sweep.removed.append(Removed(facts.name, self._remove_slot(slot), how))

    def _remove_slot(self, slot: Slot) -> int:
        """Remove a slot's places, its lock aside.

        First what Otto would take for a description of its files, and last the place by which it knows that
        the worktree is its own: what a crash leaves half removed is filled anew by whoever borrows it next.
        """
        there = is_directory(slot.own) and is_directory(slot.git_dir)
        if not self.sweep.order.dry_run and os.path.lexists(entry_of(slot, self.repository)):
            self.sweep.before(f"removing {entry_of(slot, self.repository)}")
            unregister(slot, self.repository)
        index = slot.git_dir / "index" if there else None
        return self.sweep.take(slot.made, slot.io, slot.path, slot.own, first=index)

    def _kept_worktree(self, root: Path, place: Path) -> None:
        """Remove a worktree that was set aside, if the commit of its attempt holds all of it."""
        run = self.runs.get(run_of_aside(root, place))
        start = None if run is None else _attempt_of(root, place, run)
        if run is None or start is None:
            look = f"look at it; then rm -r {quote(str(place))}"
            self.sweep.kept.append(Kept(str(place), "nobody knows which attempt it is of", look))
        elif self.sweep.order.dry_run:
            self._kept_worktree_of(root, place, as_seen(self.repository.store, run, self._now), start)
        else:
            with hold(self.repository.store, run.id):
                self._kept_worktree_of(root, place, as_left(self._now(run)), start)

    def _now(self, run: Run) -> Run:
        return run if self.journal is None else self.journal.refresh(run)

    def _kept_worktree_of(self, root: Path, place: Path, run: Run, start: ev.AttemptStarted) -> None:
        held = self.sweep.order.dry_run or self._is_held(root, place, run, start)
        there = bystander([place])
        ended = None if self.journal is None else self.journal.ended_at(run.id)
        facts = KeptFacts(
            name=str(place),
            run=run,
            ended_s=None if ended is None else seconds_since(ended),
            bystander=None if there is None else str(there),
            held=held,
        )
        match of_kept(facts, self.sweep.order.older_than_s):
            case Kept() as kept:
                self.sweep.kept.append(kept)
            case WorktreeGoes():
                how = "if the commit of its attempt holds all of it" if self.sweep.order.dry_run else ""
                self.sweep.removed.append(Removed(facts.name, self.sweep.take(place), how))

    def _is_held(self, root: Path, place: Path, run: Run, start: ev.AttemptStarted) -> bool:
        """Compare a worktree that was set aside with the commit of its attempt."""
        commit = salvaged(self.repository, run.id, start.task, start.attempt)
        if commit is None or not is_directory(place):
            return False
        looking = Slot(place, root / OWN[0] / "clean", root / OWN[1] / "clean")
        try:
            return is_held_by(commit, looking, self.repository, work_of(run, start, looking))
        finally:
            remove(looking.own)


def _borrower(slot: Slot) -> str:
    occupant = occupant_of(slot)
    return "another Otto" if occupant is None else str(occupant)


def _attempt_of(root: Path, place: Path, run: Run) -> ev.AttemptStarted | None:
    """Find the attempt whose worktree was set aside at a place, by the place's name."""
    starts = (attempt.start for task in run.tasks.values() for attempt in task.attempts)
    return next((s for s in starts if place in places_of(root, run.id, s.task, s.attempt)), None)
