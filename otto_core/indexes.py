"""The indexes of a run: who is ready, running, waiting to land or held, kept as tasks change their status."""

from bisect import insort
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from otto_core import events as ev
from otto_core.model import Outcome, TaskStatus
from otto_core.state import Run, TaskState, bad_predecessors

S = TaskStatus


def reindex(run: Run, before: TaskStatus, task: TaskState) -> Run:
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
        contended=apart(run.contended, name) if name in run.contended else run.contended,
    )
    match status:
        case S.PENDING if before.ended_badly:
            return _reopen(run, task)
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
        case S.FAILED | S.SKIPPED:
            waiting = (n for n in run.dependents[name] if run.tasks[n].status is S.PENDING)
            doomed = tuple(n for n in waiting if n not in run.doomed)
            return replace(run, doomed=run.doomed + doomed, unsettled=run.unsettled - 1)
        case S.LANDED | S.UNCHANGED:
            return _release(replace(run, unsettled=run.unsettled - 1), name)


def _reopen(run: Run, task: TaskState) -> Run:
    """Have a settled task count again; those that were about to be settled for it need not be."""
    doomed = tuple(name for name in run.doomed if bad_predecessors(run, name))
    run = replace(run, unsettled=run.unsettled + 1, doomed=doomed)
    if task.unmet == 0:
        run = replace(run, ready=_placed(run, [task.id]))
    if not run.outcome.is_final:
        return run
    told = ev.RunPaused(outcome=Outcome.WAITING, message=f"{task.id!r} is to be tried again")
    return replace(run, outcome=told.outcome, paused=told)


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


def apart(contended: Mapping[str, ev.LockContended], name: str) -> dict[str, ev.LockContended]:
    """Leave a task out of those that met a lock of another run."""
    return {other: event for other, event in contended.items() if other != name}


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    if name not in names:
        return names
    place = names.index(name)
    return names[:place] + names[place + 1 :]
