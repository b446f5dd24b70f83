"""The state machine: one table of legal moves, and the one function that changes the state of a run.

`apply(run, event)` is pure: no clock, disk, Git or random. Illegal transitions raise here and nowhere else.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from otto_core import events as ev
from otto_core.errors import IllegalTransition
from otto_core.indexes import apart, reindex
from otto_core.model import Outcome, TaskStatus
from otto_core.state import Attempt, Run, StoredPlan, TaskState, bad_predecessors, is_excused

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
    ev.LandingUndetermined: (frozenset({S.LANDING}), frozenset({S.LANDING})),
    ev.LandingDecided: (frozenset({S.LANDING}), frozenset({S.LANDING})),
    ev.LandingRejected: (frozenset({S.PRODUCED, S.LANDING}), frozenset({S.PENDING, S.HELD})),
    ev.TaskFailed: (frozenset({S.PENDING, S.PRODUCED, S.HELD}), frozenset({S.FAILED})),
    ev.TaskSkipped: (frozenset({S.PENDING, S.PRODUCED, S.HELD}), frozenset({S.SKIPPED})),
    ev.TaskReopened: (frozenset({S.HELD, S.FAILED, S.SKIPPED}), frozenset({S.PENDING})),
}
"""For each event of a task: the states it may find the task in, and those it may leave it in."""


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
        case ev.RunStarted() | ev.RunResumed() | ev.RunCancelled():
            return _record_course(run, event)
        case ev.RunPaused() | ev.RunFinished() | ev.RunCleaned():
            return _record_course(run, event)
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
        case ev.Shown():
            return replace(run, shown=event)
        case _:
            return _record_delivery(run, event)


def _record_course(run: Run, event: ev.CourseEvent) -> Run:
    match event:
        case ev.RunStarted():
            _require(run.started is None, run, event, "the run has already started")
            return replace(run, started=event, tip=event.base, contracts=event.contracts, drives=1)
        case ev.RunResumed():
            return _resume(run, event)
        case ev.RunCancelled():
            _require(not run.outcome.is_final, run, event, "the run is over")
            return replace(run, cancelled=event)
        case ev.RunPaused():
            return replace(run, outcome=event.outcome, paused=event)
        case ev.RunFinished():
            _require(run.unsettled == 0, run, event, f"{run.unsettled} tasks are not settled")
            return replace(run, outcome=event.outcome, paused=None)
        case ev.RunCleaned():
            _require(run.outcome.is_final, run, event, "the run is not over")
            _require(run.delivery is None, run, event, "a landing of it has no end yet")
            return replace(run, cleaned=event)


def _resume(run: Run, event: ev.RunResumed) -> Run:
    _require(not run.outcome.is_final, run, event, "the run is over")
    _require(not run.running, run, event, "what the driver before left running has no end yet")
    return replace(
        run,
        resumed=event,
        drives=run.drives + 1,
        contended={},
        outcome=Outcome.RUNNING,
        paused=None,
    )


def _record_delivery(run: Run, event: ev.DeliveryEvent) -> Run:
    if isinstance(event, ev.DeliveryStarted):
        _require(run.cleaned is None, run, event, "the run was cleaned")
        _require(run.delivery is None, run, event, "another delivery has no end yet")
        return replace(run, delivery=event, delivery_writes=not event.marks_writing)
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
    others = apart(run.contended, event.task)
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
    if isinstance(event, ev.TaskReopened):
        run = replace(run, cancelled=None)
    return reindex(run, task.status, after)


def _next(run: Run, task: TaskState, event: ev.TaskEvent) -> TaskState:
    match event:
        case ev.AttemptStarted():
            return _begun(run, task, event)
        case ev.AttemptProduced():
            return replace(_ended(run, task, event), status=S.PRODUCED, reason=None)
        case ev.AttemptUnchanged():
            _require(run.spec(task.id).allow_empty, run, event, "the task may not end without a change")
            return replace(_ended(run, task, event), status=S.UNCHANGED, reason=None)
        case ev.AttemptFailed():
            return replace(_ended(run, task, event), status=_then(run, task, event), reason=event.reason)
        case ev.AttemptInterrupted():
            return replace(_ended(run, task, event), status=S.PENDING, interrupted=task.interrupted + 1)
        case ev.TaskFailed() | ev.TaskSkipped() | ev.TaskReopened():
            return _settled(run, task, event)
        case _:
            return _next_of_landing(run, task, event)


def _next_of_landing(run: Run, task: TaskState, event: ev.LandingStep | ev.LandingDecided) -> TaskState:
    match event:
        case ev.LandingStarted():
            _require(run.landing is None, run, event, f"{run.landing!r} is landing")
            _require_coverage(run, task, event)
            return replace(task, status=S.LANDING, landing=event)
        case ev.LandingApplied():
            expected = task.landing.candidate if task.landing else None
            _require(event.commit == expected, run, event, f"the landing started was of {expected}")
            return replace(task, status=S.LANDED, commit=event.commit, undetermined=None, decided=None)
        case ev.LandingLost():
            return replace(task, status=S.PRODUCED, landing=None, undetermined=None, decided=None)
        case ev.LandingUndetermined():
            return replace(task, undetermined=event, decided=None)
        case ev.LandingDecided():
            _require(task.undetermined is not None, run, event, "Git tells whether it landed")
            return replace(task, decided=event)
        case ev.LandingRejected():
            return replace(task, status=_then(run, task, event), reason=event.reason, landing=None)


def _settled(run: Run, task: TaskState, event: ev.TaskEnd) -> TaskState:
    match event:
        case ev.TaskFailed():
            legal = task.status is not S.PRODUCED or run.cancelled is not None
            _require(legal, run, event, "what it produced can still land")
            caused = not event.reason.kind.is_consequence or bad_predecessors(run, task.id)
            _require(bool(caused), run, event, "nothing that it stands on has failed")
            return replace(task, status=S.FAILED, reason=event.reason)
        case ev.TaskSkipped():
            return replace(task, status=S.SKIPPED, reason=event.reason)
        case ev.TaskReopened():
            _require(run.cleaned is None, run, event, "the run was cleaned")
            before = bad_predecessors(run, task.id)
            _require(not before, run, event, f"it stands on {', '.join(before)}")
            reason = task.reason if event.because is None else None
            return replace(task, status=S.PENDING, reason=reason, forgiven=task.counted)


def _begun(run: Run, task: TaskState, event: ev.AttemptStarted) -> TaskState:
    _require(event.attempt == len(task.attempts) + 1, run, event, "attempts are numbered from 1")
    _require(
        any(p.revision == event.revision and p.plan_id == event.plan_id for p in run.stored),
        run,
        event,
        f"revision {event.revision} of plan {event.plan_id[:12]} is not stored",
    )
    attempts = (*task.attempts, Attempt(event))
    return replace(task, status=S.RUNNING, attempts=attempts, verdicts=(), landing=None)


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


def _require(legal: bool, run: Run, event: ev.Event, why: str) -> None:
    if not legal:
        subject = f"{run.id} {event.task}" if isinstance(event, ev.TaskEvent) else run.id
        raise IllegalTransition(f"{event.type} on {subject}: {why}")
