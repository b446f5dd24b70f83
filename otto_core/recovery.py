"""What a resume may do, decided from the journal and from what Git says. Pure.

A driver that died left every task in some state. `REPLAY` says for each state what the next driver does about
it first, and `plan` takes its steps from there; what may be repeated after that follows from the state that
these leave the task in, and is proven row by row with real runs. The table in docs/reliability.md is made
from it (X4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from otto_core import events as ev
from otto_core.decisions import skip_event
from otto_core.errors import Waiting
from otto_core.model import Outcome, TaskStatus
from otto_core.refnames import run_ref
from otto_core.scheduler import Pause, ask
from otto_core.state import Run

S = TaskStatus


class First(StrEnum):
    """What a resume does about a task before anything else."""

    NOTHING = "nothing"
    SALVAGE = "end its processes, keep what it wrote, journal it as interrupted"
    RECONCILE = "ask Git whether it landed; where Git cannot tell, ask a person"


class Effect(StrEnum):
    """What may happen once more though it may have happened before."""

    EXECUTE = "the command"
    PREPARE = "merge, gates, audit, candidate"
    CHECK = "checks"
    SWAP = "the swap of the tip, if Git shows that it did not happen"
    PUBLISH = "moving the result branch"


@dataclass(frozen=True, slots=True)
class Replay:
    """What a resume may do about a task that it finds in a state."""

    first: First
    leaves: S
    """The state that `first` leaves the task in, where Git did not already have it."""
    repeats: tuple[Effect, ...]


_LANDS_ANEW = (Effect.PREPARE, Effect.CHECK, Effect.SWAP, Effect.PUBLISH)

REPLAY: Mapping[TaskStatus, Replay] = {
    S.PENDING: Replay(First.NOTHING, S.PENDING, ()),
    S.RUNNING: Replay(First.SALVAGE, S.PENDING, (Effect.EXECUTE,)),
    S.PRODUCED: Replay(First.NOTHING, S.PRODUCED, (Effect.PREPARE, Effect.CHECK)),
    S.LANDING: Replay(First.RECONCILE, S.PRODUCED, _LANDS_ANEW),
    S.LANDED: Replay(First.NOTHING, S.LANDED, (Effect.PUBLISH,)),
    S.UNCHANGED: Replay(First.NOTHING, S.UNCHANGED, ()),
    S.HELD: Replay(First.NOTHING, S.HELD, ()),
    S.FAILED: Replay(First.NOTHING, S.FAILED, ()),
    S.SKIPPED: Replay(First.NOTHING, S.SKIPPED, ()),
}
"""For each state that a resume may find a task in. An attempt that is executed again is a new one."""


def unfinished(run: Run) -> tuple[ev.AttemptStarted, ...]:
    """List the attempts that a dead driver left, in the order of the plan: they are to be salvaged first."""
    tasks = [run.tasks[spec.id] for spec in run.plan.tasks] if run.stored else []
    return tuple(task.attempts[-1].start for task in tasks if REPLAY[task.status].first is First.SALVAGE)


@dataclass(frozen=True, slots=True)
class Tip:
    """What Git has: the commit that the run's tip ref names, and the one with the task's trailers below it.

    `on_base` is whether the chain of first parents leads to the run's base.
    """

    commit: str | None
    landed: str | None = None
    on_base: bool = True


def resolve(
    run: Run, tip: Tip, contracts: Mapping[str, str | None]
) -> tuple[ev.LandingApplied | ev.LandingLost | ev.LandingUndetermined | ev.TaskSkipped, ...]:
    """Give the events that settle the run's started landing.

    `contracts` are their versions at the landing's candidate. The agent is never asked again: what it
    produced is pinned, and lands or is prepared anew. A landing is on the branch or it never happened; where
    the ref shows neither, a person is asked, and what the person said counts (X10).

    Raises:
        ValueError: no landing was started.

    """
    task = run.tasks[run.landing] if run.landing else None
    if task is None or task.landing is None:
        raise ValueError(f"no landing of {run.id} was started")
    started = task.landing
    name, attempt = started.task, started.attempt
    applied = ev.LandingApplied(
        task=name, attempt=attempt, commit=started.candidate, contracts=dict(contracts)
    )
    not_landed = ev.LandingLost(task=name, attempt=attempt)
    if task.decided is not None:
        match task.decided.then:
            case "landed":
                return (applied,)
            case "retry":
                return (not_landed,)
            case "skip":
                return not_landed, skip_event(run, name, task.decided.by)
    if tip.landed == started.candidate:
        return (applied,)
    if tip.landed is None and tip.commit == run.tip:
        return (not_landed,)
    if task.undetermined is not None:
        return ()
    return (ev.LandingUndetermined(task=name, attempt=attempt, why=_why(run, tip, started)),)


def tip_after(run: Run) -> str | None:
    """Give the commit that a person's decision sets the tip to; None where nobody decided, or need have."""
    task = run.tasks[run.landing] if run.landing else None
    if task is None or task.decided is None or task.landing is None:
        return None
    return task.landing.candidate if task.decided.then == "landed" else run.tip


def astray(run: Run, tip: Tip, verb: str = "resume") -> Waiting | None:
    """Say how a run whose tip somebody else moved or deleted can go on; None where it is where it belongs.

    `verb` is what goes on with it then.
    """
    if tip.commit == run.tip:
        return None
    ref = run_ref(run.id, "tip")
    return Waiting(
        f"somebody else {_became(tip, ref)}, and this run had left it at {run.tip}",
        hint=f"`git update-ref {ref} {run.tip}`, then `otto {verb} {run.id}`; or build anew",
    )


def obstacle(run: Run, tip: Tip) -> Pause | None:
    """Say why a recovered run cannot go on without a person; None where it can."""
    unknown = run.tasks[run.landing].undetermined if run.landing else None
    if unknown is not None:
        return ask(run, unknown)
    moved = None if run.cancelled else astray(run, tip)
    return Pause(Outcome.WAITING, moved.message, moved.hint) if moved else None


def _why(run: Run, tip: Tip, started: ev.LandingStarted) -> str:
    ref = run_ref(run.id, "tip")
    between = f"it was to move from {started.expected_tip} to {started.candidate}"
    if tip.commit is not None and not tip.on_base:
        return f"{ref} is at {tip.commit}, which does not stand on the run's base; {between}"
    return f"somebody else {_became(tip, ref)}; {between}"


def _became(tip: Tip, ref: str) -> str:
    return f"deleted {ref}" if tip.commit is None else f"moved {ref} to {tip.commit}"
