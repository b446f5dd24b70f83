"""A person's decisions: what each of them means for the state, or why the state forbids it. Pure.

Each gives the events to journal, all at once. They are safe beside a driver: the journal refuses them if a
task that they name has moved since, and so does it refuse what a driver decided before them.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from otto_core import events as ev
from otto_core.model import Reason, ReasonKind, TaskStatus
from otto_core.state import Run, bad_predecessors
from otto_core.transitions import fold

S = TaskStatus


@dataclass(frozen=True, slots=True)
class Refused:
    """The state forbids it; `hint` is what can be done instead."""

    message: str
    hint: str


Decision = tuple[ev.Event, ...] | Refused


Verb = Callable[[Run, str, str], Decision]
"""Decides about one task by its full id, on behalf of a person."""


def together(verb: Verb, run: Run, names: Collection[str], by: str) -> Decision:
    """Decide alike about several tasks: all or none, what others stand on first (KeyError: no such task)."""
    decided: list[ev.Event] = []
    for spec in sorted(run.plan.tasks, key=lambda spec: spec.generation):
        touched = {event.task for event in decided if isinstance(event, ev.TaskEvent)}
        if spec.id in touched or spec.id not in names:
            continue
        decision = verb(run, spec.id, by)
        if isinstance(decision, Refused):
            return decision
        decided += decision
        run = fold(run, decision)
    return tuple(decided)


def retry(run: Run, name: str, by: str) -> Decision:
    """Have a task tried again, and with it all that ended only because it did (KeyError: no such task)."""
    task = run.tasks[name]
    match task.status:
        case S.LANDING if task.undetermined is not None:
            return (_decided(task.undetermined, "retry", by),)
        case S.HELD | S.FAILED | S.SKIPPED:
            if run.cleaned is not None:
                return Refused(*cleaned(run))
            if before := bad_predecessors(run, name):
                others = " ".join(before)
                words = f"{name!r} stands on what did not land: {others}"
                return Refused(words, f"otto retry {others} --run {run.id}")
            return tuple(
                ev.TaskReopened(
                    task=each,
                    attempt=run.tasks[each].latest,
                    by=by,
                    because=None if each == name else name,
                )
                for each in (name, *_consequences(run, name))
            )
        case S.LANDED | S.UNCHANGED:
            return Refused(f"{name!r} has {_WORDS[task.status]}: there is nothing to try again", _look(run))
        case _:
            return Refused(f"{name!r} has not ended: it {_WORDS[task.status]}", _look(run))


def skip(run: Run, name: str, by: str) -> Decision:
    """Have a task neither run nor land (KeyError: no such task)."""
    task = run.tasks[name]
    match task.status:
        case S.LANDING if task.undetermined is not None:
            return (_decided(task.undetermined, "skip", by),)
        case S.PENDING | S.PRODUCED | S.HELD:
            return (skip_event(run, name, by),)
        case S.RUNNING | S.LANDING:
            return Refused(f"{name!r} {_WORDS[task.status]} at this moment", f"wait for it, or: {_end(run)}")
        case _:
            return Refused(f"{name!r} has {_WORDS[task.status]}: nothing is left to skip", _look(run))


def approve(run: Run, name: str, by: str) -> Decision:
    """Confirm what only a person can: that a landing did happen (KeyError: no such task)."""
    unknown = run.tasks[name].undetermined
    if unknown is None:
        return Refused(f"nothing of {name!r} waits for an approval", _look(run))
    return (_decided(unknown, "landed", by),)


def cancel(run: Run, by: str) -> Decision:
    """Bring a run to its end as it is; nothing to journal where that has been decided already."""
    if run.outcome.is_final:
        return Refused(f"{run.id} is over: {run.outcome}", _look(run))
    return () if run.cancelled else (ev.RunCancelled(by=by),)


def skip_event(run: Run, name: str, by: str) -> ev.TaskSkipped:
    """Give what to journal of a task that a person skips."""
    reason = Reason(
        kind=ReasonKind.SKIPPED_BY_USER,
        message=f"skipped by {by}",
        hint=f"otto retry {name} --run {run.id}",
    )
    return ev.TaskSkipped(task=name, attempt=run.tasks[name].latest, reason=reason, by=by)


def cleaned(run: Run) -> tuple[str, str]:
    """Say in words that nothing can be done any more with a run that was cleaned, and what can be instead."""
    words = f"{run.id} was cleaned: its refs and logs are removed"
    if run.tip == run.start.base:
        return words, "otto build --plan FILE"
    return f"{words}; its result is {run.tip}", f"git merge {run.tip}, or build anew"


def _consequences(run: Run, name: str) -> list[str]:
    """List what ended only because the task, or one listed before, did."""
    reopened = [name]
    for ended in reopened:
        for waiting in run.dependents[ended]:
            task = run.tasks[waiting]
            alone = task.reason is not None and not task.reason.kind.is_consequence
            if task.status is not S.FAILED or alone or waiting in reopened:
                continue
            if set(reopened).issuperset(bad_predecessors(run, waiting)):
                reopened.append(waiting)
    return reopened[1:]


def _decided(unknown: ev.LandingUndetermined, then: ev.Decided, by: str) -> ev.LandingDecided:
    return ev.LandingDecided(task=unknown.task, attempt=unknown.attempt, then=then, by=by)


def _look(run: Run) -> str:
    return f"otto status {run.id}"


def _end(run: Run) -> str:
    return f"otto cancel {run.id}"


_WORDS = {
    S.PENDING: "waits for its turn",
    S.RUNNING: "is being executed",
    S.PRODUCED: "waits to land",
    S.LANDING: "is landing",
    S.LANDED: "landed",
    S.UNCHANGED: "ended unchanged",
    S.HELD: "is held",
    S.FAILED: "failed",
    S.SKIPPED: "been skipped",
}
