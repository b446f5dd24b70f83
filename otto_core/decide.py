"""Journal what a person decided, and do at once what of it no driver will do."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from otto_core import events as ev
from otto_core.build import require_place
from otto_core.decisions import Decision, Refused
from otto_core.errors import Locked, UsageError
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Appended, Journal
from otto_core.model import Outcome
from otto_core.reconcile import reconcile
from otto_core.recovery import tip_after
from otto_core.refusals import refusals
from otto_core.runlock import hold, is_driven
from otto_core.state import Run


@dataclass(frozen=True, slots=True)
class Decided:
    """What was journalled of a decision and of what followed at once, with the state after it."""

    events: tuple[ev.Event, ...]
    run: Run


def decide_on(repository: GitRepository, run_id: str, decision: Callable[[Run], Decision]) -> Decided:
    """Journal a decision about a run.

    A driver that lives finds it within a second. Where it is about a landing that nobody could determine, the
    tip is set accordingly before this returns, unless a driver is at it.

    Raises:
        UsageError: the state forbids it.
        RepositoryUnusable: the store or the refs cannot be written.

    """
    require_place(repository)
    with refusals("do this again"), Journal.open(repository.store / STORE) as journal:
        decided = _journalled(repository, journal, run_id, decision)
        if tip_after(decided.run) is None:
            return decided
        before = decided.run.seq
        with suppress(Locked), hold(repository.store, run_id):
            run = reconcile(repository, journal, decided.run)
            followed = tuple(stored.event for stored in journal.events(run_id, after=before))
            return Decided((*decided.events, *followed), run)
        return decided


def _journalled(
    repository: GitRepository, journal: Journal, run_id: str, decision: Callable[[Run], Decision]
) -> Decided:
    """Append what the decision comes to; where someone else was faster, it is decided anew."""
    run = journal.load(run_id)
    while True:
        events = decision(run)
        if isinstance(events, Refused):
            left = run.outcome is Outcome.RUNNING and not is_driven(repository.store, run_id)
            settle = f"nobody drives {run_id} any more: `otto resume {run_id}` settles what was left, first"
            raise UsageError(events.message, hint=settle if left else events.hint)
        if not events:
            return Decided((), run)
        outcome = journal.append(run, events)
        if isinstance(outcome, Appended):
            return Decided(events, outcome.run)
        run = outcome.run
