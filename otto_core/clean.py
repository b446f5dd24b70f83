"""Remove what finished runs left: worktrees, refs, logs. Decided in `otto_core.cleaning`; here it is done.

A run is cleaned under its own lock, so nobody drives it meanwhile, and under that of landings. It is
journalled first; a crash in between leaves the rest to the next `otto clean`. Refs are deleted by
compare-and-swap from where they were seen.
"""

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from otto_core import events as ev
from otto_core.build import require_place
from otto_core.cleaning import Kept, RunFacts, RunGoes, of_run
from otto_core.compose import configuration_of_head
from otto_core.disk import taken_bytes
from otto_core.errors import IllegalTransition, RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.inventory import (
    abandoned_merge_places,
    logs_of,
    look_at_run,
    orphaned_pools,
    pools,
    with_refs_or_logs,
)
from otto_core.journal import STORE, Appended, Journal
from otto_core.mending import remove_merge_place
from otto_core.recover import unlock_refs
from otto_core.refnames import run_ref
from otto_core.refs import unpin
from otto_core.refusals import refusals
from otto_core.runlock import hold, hold_cleaning, hold_delivery, is_driven
from otto_core.slots import worktree_root
from otto_core.state import Run
from otto_core.sweep import Before, Cleaned, Order, Removed, Sweep
from otto_core.vacate import Vacating


def clean(repository: GitRepository, order: Order, *, before: Before = lambda _: None) -> Cleaned:
    """Remove what runs that are over left, as far as nothing is lost by it.

    Raises:
        Locked: another process cleans.
        UsageError: the settings are not valid.
        RepositoryUnusable: the repository or its store cannot be used.

    """
    settings = configuration_of_head(repository).configuration.settings
    root = worktree_root(repository, settings.worktrees.root)
    store = repository.store / STORE
    if not store.exists() and not root.exists():
        return Cleaned((), ())
    with refusals("otto clean"), ExitStack() as stack:
        if order.dry_run:
            journal = Journal.read(store)
        else:
            require_place(repository)
            stack.enter_context(hold_cleaning(repository.store))
            journal = Journal.open(store)
        if journal is not None:
            stack.enter_context(journal)
        sweep = Sweep(order, before)
        _Cleaning(sweep, repository, journal).do(settings.worktrees.root)
        return Cleaned(tuple(sweep.removed), tuple(sweep.kept))


@dataclass(slots=True)
class _Cleaning:
    """One `otto clean` under way, and what has come of it so far."""

    sweep: Sweep
    repository: GitRepository
    opened: Journal | None
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
                self.sweep.kept.append(Kept(name, f"it cannot be read: {error}", "otto doctor"))
        vacating = Vacating(self.sweep, self.repository, self.opened, self.runs)
        for root in pools(self.repository, configured, self.runs.values()):
            vacating.pool(root)
        for root, gone in orphaned_pools(self.repository, self.runs.values()):
            words = f"these worktrees are of the repository at {gone}, which is not there any more"
            self.sweep.kept.append(Kept(str(root), words, f"look at them; then rm -r {quote(str(root))}"))
        for run in self.runs.values():
            with self.sweep.telling(run.id):
                self._run(run)
        self._strangers()
        for place in abandoned_merge_places(self.repository.store):
            with self.sweep.telling(str(place)):
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
                self.sweep.kept.append(Kept(name, words, f"git for-each-ref {run_ref(name)}; ls {logs}"))

    # --- runs

    def _run(self, run: Run) -> None:
        """Clean a run, or say why not. It is looked at once more when its locks are held."""
        if is_driven(self.repository.store, run.id):
            self.sweep.kept.append(Kept(run.id, f"it is driven by {run.driver}"))
            return
        facts = look_at_run(self.repository, self.journal, run)
        decided = of_run(facts, self.sweep.order.older_than_s)
        if isinstance(decided, tuple):
            self.sweep.kept.extend(decided)
        elif self.sweep.order.dry_run:
            self._say_gone(facts, self._logs(run))
        else:
            with hold_delivery(self.repository.store), hold(self.repository.store, run.id):
                self._run_held(self.journal.refresh(run))

    def _run_held(self, run: Run) -> None:
        unlock_refs(self.repository, run.id)
        facts = look_at_run(self.repository, self.journal, run)
        decided = of_run(facts, self.sweep.order.older_than_s)
        if not isinstance(decided, RunGoes):
            self.sweep.kept.extend(decided)
            return
        if run.cleaned is None:
            self.sweep.before(f"noting that {run.id} is cleaned")
            event = ev.RunCleaned(by=self.sweep.order.by, refs=dict(decided.refs))
            if not isinstance(self.journal.append(run, [event]), Appended):
                self.sweep.kept.append(
                    Kept(run.id, "somebody decided something about it meanwhile", "clean again")
                )
                return
        taken = self._logs(run)
        self.sweep.before(f"removing the refs of {run.id}")
        for ref in unpin(self.repository, decided.refs):
            self.sweep.kept.append(Kept(ref, "somebody moved it meanwhile", f"git update-ref -d {ref}"))
        _prune(self.repository.common_dir / run_ref(run.id))
        self._say_gone(facts, taken)

    def _logs(self, run: Run) -> int:
        logs = logs_of(self.repository.store, run.id)
        return 0 if logs is None else self.sweep.take(logs)

    def _say_gone(self, facts: RunFacts, taken: int) -> None:
        refs = "1 ref" if len(facts.refs) == 1 else f"{len(facts.refs)} refs"
        self.sweep.removed.append(
            Removed(facts.run.id, taken, f"{refs}{' and its logs' if facts.files else ''}")
        )

    # --- merging

    def _merge_place(self, place: Path) -> None:
        """Remove a place for merging that a dead process left."""
        taken = taken_bytes(place)
        if not self.sweep.order.dry_run:
            self.sweep.before(f"removing {place}")
            remove_merge_place(self.repository, place)
        self.sweep.removed.append(Removed(str(place), taken))


def _prune(place: Path) -> None:
    """Remove the directories of a run's refs that are empty now."""
    for directory, _, _ in os.walk(place, topdown=False):
        with suppress(OSError):  # something is in it, or git was faster
            Path(directory).rmdir()
