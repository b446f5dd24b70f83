"""Remove what finished runs left: worktrees, refs, logs. Decided in `otto_core.cleaning`; here it is done.

A run is cleaned under its own lock, so nobody drives it meanwhile, and under that of landings. It is
journalled first; a crash in between leaves the rest to the next `otto clean`. A slot is removed while its
lock is held, and so is nobody's; the files of the locks stay, since a deleted one would let two in. Refs are
deleted by compare-and-swap from where they were seen.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from merge.objects import Oid
from merge.swap import Lost, SwapBusy, SwapRefused, delete
from otto_core import events as ev
from otto_core.build import require_place
from otto_core.bystanders import bystander
from otto_core.cleaning import (
    Kept,
    KeptFacts,
    RunFacts,
    RunGoes,
    Salvage,
    SlotFacts,
    SlotGoes,
    WorktreeGoes,
    of_kept,
    of_run,
    of_slot,
)
from otto_core.compose import configuration_at
from otto_core.disk import taken_bytes
from otto_core.errors import IllegalTransition, OttoError, RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.inventory import (
    OWN,
    abandoned_merge_places,
    intruder,
    is_directory,
    kept_worktrees,
    logs_of,
    look_at_run,
    look_at_slot,
    orphaned_pools,
    pools,
    seconds_since,
    slots,
    with_refs_or_logs,
)
from otto_core.journal import STORE, Appended, Journal
from otto_core.linked import entry_of, unregister
from otto_core.mending import remove_merge_place
from otto_core.occupancy import Work, occupant_of
from otto_core.places import identity, remove
from otto_core.recover import unlock_refs
from otto_core.refnames import run_ref
from otto_core.runlock import hold, hold_cleaning, hold_delivery, is_driven
from otto_core.salvage import is_held_by, place_of_kept, salvage, salvaged
from otto_core.slots import Slot, claim, is_borrowed, worktree_root
from otto_core.state import Run

Before = Callable[[str], None]
"""Told of each step, by the name of what it removes, before it is done."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asked for. A dry run only says what would be done."""

    by: str
    older_than_s: float = 0.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that went, and how many bytes it took; `how` says what had to be done first, if anything."""

    what: str
    taken_bytes: int
    how: str = ""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What went, or in a dry run would go, and what stays."""

    removed: tuple[Removed, ...]
    kept: tuple[Kept, ...]

    @property
    def freed_bytes(self) -> int:
        """How much room that makes."""
        return sum(one.taken_bytes for one in self.removed)


def clean(repository: GitRepository, order: Order, *, before: Before = lambda _: None) -> Cleaned:
    """Remove what runs that are over left, as far as nothing is lost by it.

    Raises:
        Locked: another process cleans.
        UsageError: the settings are not valid.
        RepositoryUnusable: the repository or its store cannot be used.

    """
    settings = configuration_at(repository, repository.resolve("HEAD")).configuration.settings
    root = worktree_root(repository, settings.worktrees.root)
    store = repository.store / STORE
    if not store.exists() and not root.exists():
        return Cleaned((), ())
    with ExitStack() as stack:
        if order.dry_run:
            journal = Journal.read(store)
        else:
            require_place(repository)
            stack.enter_context(hold_cleaning(repository.store))
            journal = Journal.open(store)
        if journal is not None:
            stack.enter_context(journal)
        cleaning = _Cleaning(repository, journal, order, before)
        cleaning.do(settings.worktrees.root)
        return Cleaned(tuple(cleaning.removed), tuple(cleaning.kept))


@dataclass(slots=True)
class _Cleaning:
    """One `otto clean` under way, and what has come of it so far."""

    repository: GitRepository
    opened: Journal | None
    order: Order
    before: Before
    removed: list[Removed] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)

    @property
    def journal(self) -> Journal:
        """The store (ValueError where there is none, and so no run)."""
        if self.opened is None:
            raise ValueError("there is no store")
        return self.opened

    def do(self, configured: Path | None) -> None:
        """Clean. Slots go first: what is salvaged there becomes a ref by which its run is judged."""
        for name in self._run_ids():
            try:
                self.runs[name] = self.journal.load(name)
            except (RepositoryUnusable, IllegalTransition, KeyError) as error:
                self.kept.append(Kept(name, f"it cannot be read: {error}", "otto doctor"))
        for root in pools(self.repository, configured, self.runs.values()):
            self._pool(root)
        for root, gone in orphaned_pools(self.repository, self.runs.values()):
            words = f"these worktrees are of the repository at {gone}, which is not there any more"
            self.kept.append(Kept(str(root), words, f"look at them; then rm -r {quote(str(root))}"))
        for run in self.runs.values():
            with self._telling(run.id):
                self._run(run)
        self._strangers()
        for place in abandoned_merge_places(self.repository.store):
            with self._telling(str(place)):
                self._merge_place(place)

    def _run_ids(self) -> list[str]:
        return [] if self.opened is None else self.opened.run_ids()

    def _strangers(self) -> None:
        """Name what is left of runs that the journal does not know."""
        there = with_refs_or_logs(self.repository)
        known = self._run_ids()
        for name in there:
            if name not in known:
                logs = quote(str(self.repository.store / "logs" / name))
                words = "it has refs or logs, and the journal knows no such run"
                self.kept.append(Kept(name, words, f"git for-each-ref {run_ref(name)}; ls {logs}"))

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Keep what cannot be removed, and say why; it hides nothing else."""
        try:
            yield
        except OttoError as error:
            self.kept.append(Kept(what, error.message, error.hint))
        except (OSError, RecursionError, ValueError, SwapBusy, SwapRefused) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.kept.append(Kept(what, f"it cannot be removed: {why}", "see why, then clean again"))

    def _take(self, *places: Path, first: Path | None = None) -> int:
        """Remove places in this order, `first` being in one of them; gives how many bytes they took."""
        taken = taken_bytes(*places)
        for place in (first, *places):
            if place is not None and os.path.lexists(place) and not self.order.dry_run:
                self.before(str(place))
                remove(place)
        return taken

    # --- runs

    def _run(self, run: Run) -> None:
        """Clean a run, or say why not. It is looked at once more when its locks are held."""
        if is_driven(self.repository.store, run.id):
            self.kept.append(Kept(run.id, f"it is driven by {run.driver}"))
            return
        facts = look_at_run(self.repository, self.journal, run)
        decided = of_run(facts, self.order.older_than_s)
        if isinstance(decided, tuple):
            self.kept += decided
        elif self.order.dry_run:
            self._say_gone(facts, self._logs(run))
        else:
            with hold_delivery(self.repository.store), hold(self.repository.store, run.id):
                self._run_held(self.journal.refresh(run))

    def _run_held(self, run: Run) -> None:
        unlock_refs(self.repository, run.id)
        facts = look_at_run(self.repository, self.journal, run)
        decided = of_run(facts, self.order.older_than_s)
        if not isinstance(decided, RunGoes):
            self.kept += decided
            return
        if run.cleaned is None:
            self.before(f"the journal of {run.id}")
            event = ev.RunCleaned(by=self.order.by, refs=dict(decided.refs))
            if not isinstance(self.journal.append(run, [event]), Appended):
                self.kept.append(Kept(run.id, "somebody decided something about it meanwhile", "clean again"))
                return
        taken = self._logs(run)
        for ref, at in decided.refs.items():
            self.before(ref)
            if isinstance(delete(self.repository.repo, ref, Oid(hex=at)), Lost):
                self.kept.append(Kept(ref, "somebody moved it meanwhile", f"git update-ref -d {ref}"))
        _prune(self.repository.common_dir / run_ref(run.id))
        self._say_gone(facts, taken)

    def _logs(self, run: Run) -> int:
        logs = logs_of(self.repository.store, run.id)
        return 0 if logs is None else self._take(logs)

    def _say_gone(self, facts: RunFacts, taken: int) -> None:
        refs = "1 ref" if len(facts.refs) == 1 else f"{len(facts.refs)} refs"
        self.removed.append(Removed(facts.run.id, taken, f"{refs}{' and its logs' if facts.files else ''}"))

    # --- worktrees

    def _pool(self, root: Path) -> None:
        if (there := intruder(root)) is not None:
            words = "it is no directory of Otto's, so nothing there is touched"
            self.kept.append(Kept(str(there), words, f"look at it; then rm {quote(str(there))}"))
            return
        for slot in slots(root):
            with self._telling(str(slot.path)):
                self._slot(slot)
        for place in kept_worktrees(root):
            with self._telling(str(place)):
                self._kept_worktree(root, place)

    def _slot(self, slot: Slot) -> None:
        if self.order.dry_run:
            facts = look_at_slot(slot, _borrower(slot) if is_borrowed(slot) else None)
            self._slot_as(slot, facts)
            return
        with claim(slot) as ours:
            self._slot_as(slot, look_at_slot(slot, None if ours else _borrower(slot)))

    def _slot_as(self, slot: Slot, facts: SlotFacts, how: str = "") -> None:
        match of_slot(facts, self.order.older_than_s):
            case Kept() as kept:
                self.kept.append(kept)
            case Salvage() if self.order.dry_run:
                how = f"what {facts.unfinished} left there would be kept first"
                self.removed.append(Removed(facts.name, self._remove_slot(slot), how))
            case Salvage():
                self.before(f"the occupant of {slot.path}")
                salvage(slot, self.repository)
                after = replace(look_at_slot(slot), unused_s=facts.unused_s)
                self._slot_as(slot, after, f"what {facts.unfinished} left there was kept first")
            case SlotGoes():
                self.removed.append(Removed(facts.name, self._remove_slot(slot), how))

    def _remove_slot(self, slot: Slot) -> int:
        """Remove a slot's places, its lock aside.

        First what Otto would take for a description of its files, and last the place by which it knows that
        the worktree is its own: what a crash leaves half removed is filled anew by whoever borrows it next.
        """
        there = is_directory(slot.own) and is_directory(slot.git_dir)
        if not self.order.dry_run and os.path.lexists(entry_of(slot, self.repository)):
            self.before(str(entry_of(slot, self.repository)))
            unregister(slot, self.repository)
        index = slot.git_dir / "index" if there else None
        return self._take(slot.made, slot.io, slot.path, slot.own, first=index)

    def _kept_worktree(self, root: Path, place: Path) -> None:
        """Remove a worktree that was set aside, if the commit of its attempt holds all of it."""
        run = self.runs.get(place.parent.name)
        start = None if run is None else _attempt_of(root, place, run)
        if run is None or start is None:
            look = f"look at it; then rm -r {quote(str(place))}"
            self.kept.append(Kept(str(place), "nobody knows which attempt it is of", look))
        elif self.order.dry_run:
            self._kept_worktree_of(root, place, run, start)
        else:
            with hold(self.repository.store, run.id):
                self._kept_worktree_of(root, place, self.journal.refresh(run), start)

    def _kept_worktree_of(self, root: Path, place: Path, run: Run, start: ev.AttemptStarted) -> None:
        there, ended = bystander([place]), self.journal.ended_at(run.id)
        facts = KeptFacts(
            name=str(place),
            run=run,
            ended_s=None if ended is None else seconds_since(ended),
            bystander=None if there is None else str(there),
            held=self.order.dry_run or self._is_held(root, place, run, start),
        )
        match of_kept(facts, self.order.older_than_s):
            case Kept() as kept:
                self.kept.append(kept)
            case WorktreeGoes():
                how = "if the commit of its attempt holds all of it" if self.order.dry_run else ""
                self.removed.append(Removed(facts.name, self._take(place), how))

    def _is_held(self, root: Path, place: Path, run: Run, start: ev.AttemptStarted) -> bool:
        """Compare a worktree that was set aside with the commit of its attempt."""
        commit = salvaged(self.repository, run.id, start.task, start.attempt)
        if commit is None or not is_directory(place):
            return False
        work = Work(
            run=run.id,
            task=start.task,
            attempt=start.attempt,
            base=start.base,
            owns=run.spec(start.task).owns,
            max_file_bytes=run.settings.max_file_bytes,
            worktree=identity(place),
        )
        looking = Slot(place, root / OWN[0] / "clean", root / OWN[1] / "clean")
        try:
            return is_held_by(commit, looking, self.repository, work)
        finally:
            remove(looking.own)

    # --- merging

    def _merge_place(self, place: Path) -> None:
        """Remove a place for merging that a dead process left."""
        taken = taken_bytes(place)
        if not self.order.dry_run:
            self.before(str(place))
            remove_merge_place(self.repository, place)
        self.removed.append(Removed(str(place), taken))


def _prune(place: Path) -> None:
    """Remove the directories of a run's refs that are empty now."""
    directories = [found for found in place.rglob("*") if is_directory(found)]
    for directory in (*sorted(directories, reverse=True), place):
        with suppress(OSError):  # something is in it
            directory.rmdir()


def _borrower(slot: Slot) -> str:
    occupant = occupant_of(slot)
    return "another Otto" if occupant is None else str(occupant)


def _attempt_of(root: Path, place: Path, run: Run) -> ev.AttemptStarted | None:
    """Find the attempt whose worktree was set aside at a place, by the place's name."""
    starts = (attempt.start for task in run.tasks.values() for attempt in task.attempts)
    return next((s for s in starts if place_of_kept(root, run.id, s.task, s.attempt) == place), None)
