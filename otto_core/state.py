"""The state of a run: plain data, the fold of its events. What changes it is in `otto_core.transitions`.

A `Run` is never changed in place; dictionaries are copied where they differ, so an old state stays valid
beside the new one. Its parts are no dataclasses: each event copies some, which these do twenty times as fast.
"""

from collections.abc import Mapping

from msgspec import Struct

from otto_core import events as ev
from otto_core.errors import IllegalTransition
from otto_core.model import Outcome, Reason, TaskStatus, Verdict
from planner.model import Plan, Task


class Attempt(Struct, frozen=True):
    """One execution of a task's command; `end` is None while it runs."""

    start: ev.AttemptStarted
    end: ev.AttemptEnd | None = None

    @property
    def number(self) -> int:
        """Count from 1 within the task."""
        return self.start.attempt


class TaskState(Struct, frozen=True):
    """Where one task stands.

    `version` counts the events that named it: the unit of optimistic concurrency.
    """

    id: str
    status: TaskStatus
    unmet: int
    version: int = 0
    attempts: tuple[Attempt, ...] = ()
    interrupted: int = 0
    forgiven: int = 0
    """How many attempts had counted when a person last had the task tried again."""
    reason: Reason | None = None
    verdicts: tuple[Verdict, ...] = ()
    landing: ev.LandingStarted | None = None
    undetermined: ev.LandingUndetermined | None = None
    decided: ev.LandingDecided | None = None
    commit: str | None = None

    @property
    def counted(self) -> int:
        """How many attempts count; those that were stopped from outside do not."""
        return len(self.attempts) - self.interrupted

    @property
    def latest(self) -> int | None:
        """The number of the latest attempt, if there was one."""
        return len(self.attempts) or None

    @property
    def produced(self) -> ev.AttemptProduced | None:
        """The result that is to land, if the last attempt gave one."""
        end = self.attempts[-1].end if self.attempts else None
        return end if isinstance(end, ev.AttemptProduced) else None

    def attempts_allowed(self, task: Task) -> int:
        """How many attempts there can be in all, those that do not count or are forgiven included."""
        return task.max_attempts + self.interrupted + self.forgiven

    def attempts_left(self, task: Task) -> int:
        """How many further attempts the plan allows."""
        return self.attempts_allowed(task) - len(self.attempts)


class StoredPlan(Struct, frozen=True):
    """A compiled plan with the revision that the journal gave it."""

    revision: int
    plan_id: str
    plan: Plan


class Run(Struct, frozen=True):
    """The fold of a run's events.

    `ready`, `queue`, `doomed` are indexes, so that a decision costs what it decides.
    """

    id: str
    seq: int = 0
    started: ev.RunStarted | None = None
    stored: tuple[StoredPlan, ...] = ()
    tasks: Mapping[str, TaskState] = {}
    dependents: Mapping[str, tuple[str, ...]] = {}
    order: Mapping[str, tuple[int, int]] = {}
    ready: tuple[str, ...] = ()
    running: frozenset[str] = frozenset()
    queue: tuple[str, ...] = ()
    landing: str | None = None
    held: tuple[str, ...] = ()
    doomed: tuple[str, ...] = ()
    unsettled: int = 0
    contracts: Mapping[str, str | None] = {}
    tip: str = ""
    required: frozenset[str] = frozenset()
    excused: Mapping[str, str] = {}
    final: ev.FinalChecked | None = None
    published: ev.BranchPublished | None = None
    withheld: ev.BranchWithheld | None = None
    shown: ev.Shown | None = None
    contended: Mapping[str, ev.LockContended] = {}
    delivery: ev.DeliveryStarted | None = None
    """A landing on a person's branch that was started and has no end yet."""
    delivery_writes: bool = False
    """Whether that landing may have written files."""
    delivered: ev.DeliveryStarted | None = None
    """The last one that came to its end well."""
    resumed: ev.RunResumed | None = None
    drives: int = 0
    """How many drivers the run has had. What an earlier one decides does not count any more."""
    cancelled: ev.RunCancelled | None = None
    cleaned: ev.RunCleaned | None = None
    """What was removed of the run, or is about to be."""
    outcome: Outcome = Outcome.RUNNING
    paused: ev.RunPaused | None = None
    elapsed_s: float = 0.0

    @property
    def plan(self) -> Plan:
        """The plan of the whole run (revision 1)."""
        return self.stored[0].plan

    @property
    def revision(self) -> int:
        """The highest revision stored so far."""
        return self.stored[-1].revision if self.stored else 0

    @property
    def start(self) -> ev.RunStarted:
        """How the run began; every journalled run has it."""
        if self.started is None:
            raise IllegalTransition(f"run {self.id} has no run_started event")
        return self.started

    @property
    def settings(self) -> ev.RunSettings:
        """What the run runs with, as its last driver journalled."""
        return self.resumed.settings if self.resumed else self.start.settings

    @property
    def driver(self) -> str:
        """Who drives the run, or drove it last: `pid@host`."""
        return self.resumed.driver if self.resumed else self.start.driver

    @property
    def branch(self) -> str:
        """The result branch without `refs/heads/`."""
        return self.published.branch if self.published else self.start.branch

    def spec(self, task: str) -> Task:
        """Give the compiled task by its full id (KeyError if the plan has none)."""
        return self.plan.task(task)


def bad_predecessors(run: Run, name: str) -> list[str]:
    """Name the tasks before this one that are over without a result, in the order of the plan."""
    return [before for before in run.spec(name).after if run.tasks[before].status.ended_badly]


def is_excused(run: Run, verdict: Verdict) -> bool:
    """Tell whether a bad verdict does not count: the check ends alike on the base and never passed since."""
    return verdict.command not in run.required and run.excused.get(verdict.command) == verdict.result
