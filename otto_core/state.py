"""The state of a run and the one function that changes it.

`apply(run, event)` is pure: no clock, disk, Git or random. Illegal transitions raise here and nowhere else.
A `Run` is never changed in place; dictionaries are copied where they differ, so an old state stays valid
beside the new one. Its parts are no dataclasses: each event copies some, which these do twenty times as fast.
"""

from bisect import insort
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from otto_core import events as ev
from otto_core.errors import IllegalTransition
from otto_core.model import Outcome, Reason, TaskStatus, Verdict
from planner.model import Plan, Task

S = TaskStatus

TRANSITIONS: Mapping[type[ev.TaskEvent], tuple[frozenset[S], frozenset[S]]] = {
    ev.AttemptStarted: (frozenset({S.PENDING}), frozenset({S.RUNNING})),
    ev.AttemptProduced: (frozenset({S.RUNNING}), frozenset({S.PRODUCED})),
    ev.AttemptUnchanged: (frozenset({S.RUNNING}), frozenset({S.UNCHANGED})),
    ev.AttemptFailed: (frozenset({S.RUNNING}), frozenset({S.PENDING, S.HELD})),
    ev.AttemptInterrupted: (frozenset({S.RUNNING}), frozenset({S.PENDING})),
    ev.LandingStarted: (frozenset({S.PRODUCED}), frozenset({S.LANDING})),
    ev.LandingApplied: (frozenset({S.LANDING}), frozenset({S.LANDED})),
    ev.LandingLost: (frozenset({S.LANDING}), frozenset({S.PRODUCED})),
    ev.LandingRejected: (frozenset({S.PRODUCED, S.LANDING}), frozenset({S.PENDING, S.HELD})),
    ev.TaskFailed: (frozenset({S.PENDING, S.HELD}), frozenset({S.FAILED})),
}
"""For each event of a task: the states it may find the task in, and those it may leave it in."""


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
    reason: Reason | None = None
    verdicts: tuple[Verdict, ...] = ()
    landing: ev.LandingStarted | None = None
    commit: str | None = None

    @property
    def produced(self) -> ev.AttemptProduced | None:
        """The result that is to land, if the last attempt gave one."""
        end = self.attempts[-1].end if self.attempts else None
        return end if isinstance(end, ev.AttemptProduced) else None

    def attempts_left(self, task: Task) -> int:
        """How many further attempts the plan allows; interrupted ones do not count."""
        return task.max_attempts - (len(self.attempts) - self.interrupted)


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
    outcome: Outcome = Outcome.RUNNING
    paused: str = ""
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
    def branch(self) -> str:
        """The result branch without `refs/heads/`."""
        return self.published.branch if self.published else self.start.branch

    def spec(self, task: str) -> Task:
        """Give the compiled task by its full id (KeyError if the plan has none)."""
        return self.plan.task(task)


def apply(run: Run, event: ev.Event) -> Run:
    """Give the state after `event`.

    Raises:
        IllegalTransition: the event does not fit the state.

    """
    after = _apply_to_task(run, event) if isinstance(event, ev.TaskEvent) else _apply_to_run(run, event)
    return after if event.elapsed_s is None else replace(after, elapsed_s=event.elapsed_s)


def fold(run: Run, events: Iterable[ev.Event]) -> Run:
    """Apply events in order."""
    for event in events:
        run = apply(run, event)
    return run


def _apply_to_run(run: Run, event: ev.RunEvent) -> Run:
    match event:
        case ev.RunStarted():
            _require(run.started is None, run, event, "the run has already started")
            return replace(run, started=event, tip=event.base, contracts=event.contracts)
        case ev.PlanStored():
            return _store_plan(run, event)
        case ev.Checked():
            return _record_verdict(run, event)
        case ev.SetupEnded():
            return run
        case ev.BranchPublished():
            return replace(run, published=event, withheld=None)
        case ev.BranchWithheld():
            return replace(run, withheld=event)
        case ev.FinalChecked():
            return replace(run, final=event)
        case ev.LockContended() | ev.LockFreed():
            return _record_contention(run, event)
        case ev.RunPaused():
            return replace(run, outcome=event.outcome, paused=event.message)
        case ev.RunFinished():
            _require(run.unsettled == 0, run, event, f"{run.unsettled} tasks are not settled")
            return replace(run, outcome=event.outcome, paused="")
        case ev.Shown():
            return replace(run, shown=event)
        case ev.DeliveryStarted() | ev.DeliveryWriting() | ev.DeliveryApplied() | ev.DeliveryUndone():
            return _record_delivery(run, event)


def _record_delivery(run: Run, event: ev.DeliveryEvent) -> Run:
    if isinstance(event, ev.DeliveryStarted):
        _require(run.delivery is None, run, event, "another delivery has no end yet")
        return replace(run, delivery=event)
    target = run.delivery.target if run.delivery else None
    _require(target == event.target, run, event, f"the delivery started is to {target}")
    if isinstance(event, ev.DeliveryWriting):
        return replace(run, delivery_writes=True)
    applied = isinstance(event, ev.DeliveryApplied)
    delivered = run.delivery if applied else run.delivered
    return replace(run, delivery=None, delivery_writes=False, delivered=delivered)


def _store_plan(run: Run, event: ev.PlanStored) -> Run:
    _require(
        event.revision == run.revision + 1, run, event, f"revision {event.revision} after {run.revision}"
    )
    stored = (*run.stored, StoredPlan(event.revision, event.plan_id, event.plan))
    if run.stored:
        return replace(run, stored=stored)
    tasks = {t.id: TaskState(t.id, S.PENDING, unmet=len(t.after)) for t in event.plan.tasks}
    dependents: dict[str, list[str]] = {t.id: [] for t in event.plan.tasks}
    for task in event.plan.tasks:
        for before in task.after:
            dependents[before].append(task.id)
    order = {t.id: (-t.priority, place) for place, t in enumerate(event.plan.tasks)}
    return replace(
        run,
        stored=stored,
        tasks=tasks,
        dependents={name: tuple(names) for name, names in dependents.items()},
        order=order,
        ready=tuple(sorted((t.id for t in tasks.values() if t.unmet == 0), key=order.__getitem__)),
        unsettled=len(tasks),
    )


def _record_verdict(run: Run, event: ev.Checked) -> Run:
    verdict = event.verdict
    if event.baseline:
        if verdict.result == "passed":
            return replace(run, required=run.required | {verdict.command})
        return replace(run, excused={**run.excused, verdict.command: verdict.result})
    if event.task is None:
        return run
    task = run.tasks[event.task]
    return replace(run, tasks={**run.tasks, task.id: replace(task, verdicts=(*task.verdicts, verdict))})


def _record_contention(run: Run, event: ev.LockContended | ev.LockFreed) -> Run:
    task = run.tasks.get(event.task)
    if task is None or task.status is not S.PENDING:  # someone else settled it meanwhile
        return run
    others = _apart(run.contended, event.task)
    return replace(
        run, contended={**others, event.task: event} if isinstance(event, ev.LockContended) else others
    )


def _apply_to_task(run: Run, event: ev.TaskEvent) -> Run:
    task = run.tasks.get(event.task)
    if task is None:
        raise IllegalTransition(f"run {run.id} has no task {event.task!r} ({event.type})")
    sources, targets = TRANSITIONS[type(event)]
    _require(task.status in sources, run, event, f"the task is {task.status}")
    after = _next(run, task, event)
    _require(after.status in targets, run, event, f"it would become {after.status}")
    after = replace(after, version=task.version + 1)
    run = replace(run, tasks={**run.tasks, task.id: after})
    if isinstance(event, ev.LandingApplied):
        run = _advance_tip(run, task, event)
    return _reindex(run, task.status, after)


def _next(run: Run, task: TaskState, event: ev.TaskEvent) -> TaskState:
    match event:
        case ev.AttemptStarted():
            _require(event.attempt == len(task.attempts) + 1, run, event, "attempts are numbered from 1")
            _require(
                any(p.revision == event.revision and p.plan_id == event.plan_id for p in run.stored),
                run,
                event,
                f"revision {event.revision} of plan {event.plan_id[:12]} is not stored",
            )
            return replace(
                task, status=S.RUNNING, attempts=(*task.attempts, Attempt(event)), verdicts=(), landing=None
            )
        case ev.AttemptProduced():
            return replace(_ended(run, task, event), status=S.PRODUCED, reason=None)
        case ev.AttemptUnchanged():
            _require(run.spec(task.id).allow_empty, run, event, "the task may not end without a change")
            return replace(_ended(run, task, event), status=S.UNCHANGED, reason=None)
        case ev.AttemptFailed():
            return replace(_ended(run, task, event), status=_then(run, task, event), reason=event.reason)
        case ev.AttemptInterrupted():
            return replace(_ended(run, task, event), status=S.PENDING, interrupted=task.interrupted + 1)
        case ev.LandingStarted():
            _require_coverage(run, task, event)
            return replace(task, status=S.LANDING, landing=event)
        case ev.LandingApplied():
            expected = task.landing.candidate if task.landing else None
            _require(event.commit == expected, run, event, f"the landing started was of {expected}")
            return replace(task, status=S.LANDED, commit=event.commit)
        case ev.LandingLost():
            return replace(task, status=S.PRODUCED, landing=None)
        case ev.LandingRejected():
            return replace(task, status=_then(run, task, event), reason=event.reason, landing=None)
        case ev.TaskFailed():
            return replace(task, status=S.FAILED, reason=event.reason)


def _ended(run: Run, task: TaskState, event: ev.AttemptEnd) -> TaskState:
    last = task.attempts[-1]
    _require(
        last.end is None and last.number == event.attempt,
        run,
        event,
        f"attempt {event.attempt} is not running",
    )
    return replace(task, attempts=(*task.attempts[:-1], replace(last, end=event)))


def _then(run: Run, task: TaskState, event: ev.AttemptFailed | ev.LandingRejected) -> TaskStatus:
    if event.then == "hold":
        return S.HELD
    _require(task.attempts_left(run.spec(task.id)) > 0, run, event, "no attempts are left")
    return S.PENDING


def is_excused(run: Run, verdict: Verdict) -> bool:
    """Tell whether a bad verdict does not count: the check ends alike on the base and never passed since."""
    return verdict.command not in run.required and run.excused.get(verdict.command) == verdict.result


def _require_coverage(run: Run, task: TaskState, event: ev.LandingStarted) -> None:
    """Refuse a landing of which any declared check has no good verdict on the very tree (L5)."""
    spec = run.spec(task.id)
    good = {v.command for v in task.verdicts if v.tree == event.tree and v.result == "passed"}
    excused = {v.command for v in task.verdicts if v.tree == event.tree and is_excused(run, v)}
    each = {command.text for command in run.plan.verify.each}
    own = {command.text for command in spec.verify}
    lacking = (own - good) | (each - good - excused)
    _require(not lacking, run, event, f"no passing verdict for {sorted(lacking)} on tree {event.tree[:12]}")
    _require(event.expected_tip == run.tip, run, event, f"the tip is {run.tip[:12]}")


def _advance_tip(run: Run, task: TaskState, event: ev.LandingApplied) -> Run:
    each = {command.text for command in run.plan.verify.each}
    tree = task.landing.tree if task.landing else ""
    passed = {v.command for v in task.verdicts if v.tree == tree and v.result == "passed"} & each
    return replace(run, tip=event.commit, contracts=event.contracts, required=run.required | passed)


def _reindex(run: Run, before: TaskStatus, task: TaskState) -> Run:
    """Move the task between the indexes, and release or doom those that wait for it."""
    name, status = task.id, task.status
    run = replace(
        run,
        ready=_without(run.ready, name) if before is S.PENDING else run.ready,
        doomed=_without(run.doomed, name) if before is S.PENDING else run.doomed,
        queue=_without(run.queue, name) if before is S.PRODUCED else run.queue,
        held=_without(run.held, name) if before is S.HELD else run.held,
        running=run.running - {name} if before is S.RUNNING else run.running,
        landing=None if before is S.LANDING else run.landing,
        contended=_apart(run.contended, name) if name in run.contended else run.contended,
    )
    match status:
        case S.PENDING:
            return replace(run, ready=_placed(run, [name]))
        case S.RUNNING:
            return replace(run, running=run.running | {name})
        case S.PRODUCED:
            at_head = before is S.LANDING
            return replace(run, queue=(name, *run.queue) if at_head else (*run.queue, name))
        case S.LANDING:
            return replace(run, landing=name)
        case S.HELD:
            return replace(run, held=(*run.held, name))
        case S.FAILED:
            waiting = (n for n in run.dependents[name] if run.tasks[n].status is S.PENDING)
            doomed = tuple(n for n in waiting if n not in run.doomed)
            return replace(run, doomed=run.doomed + doomed, unsettled=run.unsettled - 1)
        case S.LANDED | S.UNCHANGED:
            return _release(replace(run, unsettled=run.unsettled - 1), name)


def _release(run: Run, name: str) -> Run:
    tasks = dict(run.tasks)
    freed = []
    for dependent in run.dependents[name]:
        tasks[dependent] = replace(tasks[dependent], unmet=tasks[dependent].unmet - 1)
        if tasks[dependent].unmet == 0 and tasks[dependent].status is S.PENDING:
            freed.append(dependent)
    return replace(run, tasks=tasks, ready=_placed(run, freed))


def _placed(run: Run, names: Iterable[str]) -> tuple[str, ...]:
    ready = list(run.ready)
    for name in names:
        insort(ready, name, key=run.order.__getitem__)
    return tuple(ready)


def _apart(contended: Mapping[str, ev.LockContended], name: str) -> dict[str, ev.LockContended]:
    return {other: event for other, event in contended.items() if other != name}


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(n for n in names if n != name)


def _require(legal: bool, run: Run, event: ev.Event, why: str) -> None:
    if not legal:
        subject = f"{run.id} {event.task}" if isinstance(event, ev.TaskEvent) else run.id
        raise IllegalTransition(f"{event.type} on {subject}: {why}")
