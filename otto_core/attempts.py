"""The life of an attempt: the one module that writes its transitions.

lock -> compile -> start (journalled) -> execute through the gate -> snapshot -> end (journalled) -> unlock.
Whatever the end, what the attempt wrote is a commit under a ref before the journal speaks of it, and only
then does its worktree go back to the pool.
"""

import os
from functools import partial
from hashlib import sha256
from pathlib import Path

from msgspec import structs

from merge.attributes import flatten
from merge.gate import admit
from merge.objects import GitError, Oid
from merge.paths import show
from merge.strategies import Merged, merge
from otto_core import events as ev
from otto_core.admission import registries_of, scope_of
from otto_core.agents import AGENTS
from otto_core.aside import put_aside
from otto_core.errors import RepositoryUnusable
from otto_core.execution import Ending, Exited, Stopped, Survived
from otto_core.feedback import after_failure
from otto_core.gate import AttemptStep, ExecutionGate, Place
from otto_core.git.private import MergeRepository
from otto_core.judgement import is_hopeless, unprovable, why_not
from otto_core.keeping import Kept, keep
from otto_core.linked import identity, unregistered_after
from otto_core.model import Reason, ReasonKind, Telemetry
from otto_core.occupancy import Occupant, leave, occupy, work_of
from otto_core.places import remove, write_new
from otto_core.refusals import is_of_the_machine
from otto_core.scheduler import retry_or_hold
from otto_core.session import Session
from otto_core.setup import Behalf, Ready, Unfit, broken, furnish, set_up
from otto_core.slots import Slot
from otto_core.state import Run, TaskState
from otto_core.worktrees import overlay
from otto_core.writesets import Contention
from planner.canonical import plan_id
from planner.model import Plan, Task
from planner.retry import compile_retry


async def attempt(session: Session, gate: ExecutionGate, name: str) -> Contention | None:
    """Execute a task once and journal how it ended.

    Gives who is in the way where another run is writing the task's paths; nothing has happened then.
    """
    async with gate.hold(name) as contention:
        if contention is None:
            await _attempt(session, gate, name)
        return contention


async def _attempt(session: Session, gate: ExecutionGate, name: str) -> None:
    with session.pool.lend() as slot, unregistered_after(slot, session.repository):
        slot.linked = session.settings.worktrees.isolation == "linked"
        pinned = session.run
        if name not in pinned.ready:  # a person skipped it while its locks were waited for
            return
        await session.in_thread(partial(_furnish, session, slot, pinned, name))
        if session.stop.is_set():
            return
        started, task = _start(session, name, pinned)
        if started is None:
            return
        place = await _prepare(session, gate, slot, pinned, started)
        if not isinstance(place, Place):
            session.append(_not_begun(session, started, place))
            return
        ending = await gate.execute(AttemptStep(started.revision, started.plan_id, name), place)
        telemetry = AGENTS[task.agent].telemetry(getattr(ending, "duration_s", 0.0))
        end = await session.in_thread(partial(_end, session, slot, started, task, ending, telemetry))
        session.append(end)
        if not isinstance(ending, Survived):
            leave(slot)


# --- before


def _furnish(session: Session, slot: Slot, pinned: Run, name: str) -> None:
    """Bring the slot to what the attempt starts from, unless setup goes first. Runs off the event loop."""
    furnish(slot, session.repository.here(), Oid(hex=pinned.tip), session)
    if slot.stale is None:
        _lay_over(session, slot, pinned, name)


def _lay_over(session: Session, slot: Slot, pinned: Run, name: str) -> None:
    """Put what the last attempt wrote over the base, where the task asks for it and it merges."""
    repository, base = session.repository.here(), Oid(hex=pinned.tip)
    previous = _previous(pinned.tasks[name])
    if previous is None or pinned.spec(name).retry_from == "tip":
        return
    remove(slot.own / "merge")
    merging = MergeRepository(slot.own / "merge", repository)
    merging.use_attributes(flatten(repository.repo, repository.tree_of(base)))
    start = repository.parents_of(previous)[0]
    registries = registries_of(pinned.plan)
    merged = merge(merging.repo, base, previous, registries=registries, port=merging, base=start)
    if isinstance(merged, Merged) and not overlay(slot, repository, merged.tree):
        furnish(slot, repository, base, session)


async def _prepare(
    session: Session, gate: ExecutionGate, slot: Slot, pinned: Run, started: ev.AttemptStarted
) -> Place | Unfit | Stopped:
    """Run the slot's setup and write what the attempt is to find; what fails here is the attempt's end."""
    name, base = started.task, Oid(hex=started.base)
    behalf = Behalf(session.run.id, f"{started.log.removesuffix('.log')}.setup.log", name, started.attempt)
    stored = next(p for p in session.run.stored if p.revision == started.revision)
    try:
        if slot.stale is not None:
            fitness = await set_up(session, gate, slot, base, behalf)
            if not isinstance(fitness, Ready):
                return fitness
            await session.in_thread(partial(_lay_over, session, slot, pinned, name))
        write_new(slot.prompt_file, stored.plan.task(name).prompt.encode())
        place = _place(session, slot, started)
        occupy(slot, Occupant(marker=place.marker, work=work_of(pinned, started, slot)))
    except (OSError, RepositoryUnusable, GitError) as error:
        if is_of_the_machine(error):
            raise  # the command was not executed, and is when the run goes on
        return broken(error, behalf)
    return place


def _not_begun(session: Session, started: ev.AttemptStarted, fitness: Unfit | Stopped) -> ev.AttemptEnd:
    """Give the end of an attempt whose worktree did not become fit for use."""
    task, missing = started.task, "the command was not executed"
    if isinstance(fitness, Stopped):
        telemetry = Telemetry(duration_s=fitness.duration_s, missing=missing)
        return ev.AttemptInterrupted(task=task, attempt=started.attempt, snapshot=None, telemetry=telemetry)
    state = session.run.tasks[task]
    return ev.AttemptFailed(
        task=task,
        attempt=started.attempt,
        reason=fitness.reason,
        then=retry_or_hold(state, session.run, repeatable=fitness.repeatable),
        snapshot=None,
        telemetry=Telemetry(duration_s=0.0, missing=missing),
    )


def _previous(state: TaskState) -> Oid | None:
    """Give the snapshot of the last attempt that came so far as to write, if it left one."""
    ends = [attempt.end for attempt in reversed(state.attempts)]
    end = next((end for end in ends if not _wrote_nothing(end)), None)
    snapshot = getattr(end, "snapshot", None)
    return Oid(hex=snapshot) if snapshot else None


def _wrote_nothing(end: ev.AttemptEnd | None) -> bool:
    """Tell whether an attempt was cut off, or its worktree unfit, before it wrote anything."""
    match end:
        case ev.AttemptInterrupted(snapshot=None):
            return True
        case ev.AttemptFailed(reason=Reason(kind=ReasonKind.SETUP_FAILED)):
            return True
        case _:
            return False


def _start(session: Session, name: str, pinned: Run) -> tuple[ev.AttemptStarted | None, Task]:
    """Store the plan of the attempt, if it is not the first, and journal its start, both at once.

    Base and contracts are those of the state that the worktree was furnished from.
    """
    run = session.run
    state, stored = run.tasks[name], run.stored[0]
    events: list[ev.Event] = []
    revision, identity, plan = stored.revision, stored.plan_id, stored.plan
    if state.attempts:
        plan = _retry(plan, state, pinned.tip, session)
        revision, identity = run.revision + 1, plan_id(plan)
        events.append(ev.PlanStored(revision=revision, plan_id=identity, plan=plan))
    task, number = plan.task(name), len(state.attempts) + 1
    started = ev.AttemptStarted(
        task=name,
        attempt=number,
        revision=revision,
        plan_id=identity,
        base=pinned.tip,
        contracts=dict(pinned.contracts),
        prompt_digest=sha256(task.prompt.encode()).hexdigest(),
        agent=task.agent,
        log=f"{name.replace('/', '.')}.{number}.log",
    )
    return (started if session.append(*events, started, seen=pinned) else None), task


def _retry(plan: Plan, state: TaskState, base: str, session: Session) -> Plan:
    return compile_retry(plan, state.id, base=base, feedback=after_failure(state, session.logs))


def _place(session: Session, slot: Slot, started: ev.AttemptStarted) -> Place:
    session.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Place(
        cwd=slot.path,
        env=session.environment(
            OTTO_RUN=session.run.id,
            OTTO_TASK=started.task,
            OTTO_ATTEMPT=str(started.attempt),
            OTTO_PROMPT_FILE=str(slot.prompt_file),
            OTTO_RESULT_FILE=str(slot.result_file),
            **slot.environment,
            **(identity(session.repository) if slot.linked else {}),
        ),
        log=session.logs / started.log,
        marker=session.marker(f"{started.task}/{started.attempt}"),
        cage=session.cage(slot),
        secrets=session.secrets(),
    )


# --- after


def lost(run: Run, started: ev.AttemptStarted, snapshot: str | None, kept: str) -> ev.AttemptInterrupted:
    """Give the end of an attempt whose driver died; `kept` says in words where what it wrote is.

    Its duration is what is known: until the last thing that its driver journalled.
    """
    known_s = max(0.0, run.elapsed_s - (started.elapsed_s or 0.0))
    missing = f"its driver, {run.driver}, ended before it; {kept}; its log is {started.log}"
    telemetry = Telemetry(duration_s=round(known_s, 3), missing=missing)
    return ev.AttemptInterrupted(
        task=started.task, attempt=started.attempt, snapshot=snapshot, telemetry=telemetry, lost=True
    )


def _end(
    session: Session, slot: Slot, started: ev.AttemptStarted, task: Task, ending: Ending, telemetry: Telemetry
) -> ev.AttemptEnd:
    """Give the event that ends the attempt, with what it wrote kept. Runs off the event loop.

    Where no tree can hold all of it, the worktree itself is set aside.

    Raises:
        OSError, GitError, RepositoryUnusable: it could not be kept, by no fault of the attempt; what it wrote
            stays where it is until the run is resumed.

    """
    found = unprovable(session.run.id, started, ending) or keep(session, slot, started, task)
    if isinstance(found, Kept):
        return _judge(session, started, task, ending, telemetry, found)
    place = put_aside(slot, session.run.id, started.task, started.attempt)
    reason = found if place is None else structs.replace(found, hint=_told(place))
    state = session.run.tasks[task.id]
    return ev.AttemptFailed(
        task=task.id,
        attempt=started.attempt,
        reason=reason,
        then=retry_or_hold(state, session.run, repeatable=not isinstance(ending, Survived)),
        snapshot=None,
        telemetry=telemetry,
    )


def _judge(
    session: Session, started: ev.AttemptStarted, task: Task, ending: Ending, telemetry: Telemetry, kept: Kept
) -> ev.AttemptEnd:
    """Let the write gate judge what an attempt wrote."""
    run, repository, captured = session.run, session.repository.here(), kept.captured
    scope = scope_of(run.plan, task)
    snapshot = str(kept.commit) if captured.changes else None
    if isinstance(ending, Stopped):
        return ev.AttemptInterrupted(
            task=task.id, attempt=started.attempt, snapshot=snapshot, telemetry=telemetry
        )
    verdict = admit(repository.repo, repository.tree_of(Oid(hex=started.base)), captured.tree, scope)
    reason = why_not(run.id, session.logs, started, task, ending, captured, verdict)
    if reason is not None:
        if reason.kind is ReasonKind.UNSAFE_CONTENT and kept.aside is not None:
            reason = structs.replace(reason, hint=f"{reason.hint}; {_told(kept.aside)}")
        return ev.AttemptFailed(
            task=task.id,
            attempt=started.attempt,
            reason=reason,
            then=retry_or_hold(run.tasks[task.id], run, repeatable=not is_hopeless(ending)),
            snapshot=snapshot,
            ignored=captured.ignored,
            exit_code=ending.code if isinstance(ending, Exited) else None,
            telemetry=telemetry,
        )
    if not captured.changes:
        return ev.AttemptUnchanged(
            task=task.id, attempt=started.attempt, ignored=captured.ignored, telemetry=telemetry
        )
    return ev.AttemptProduced(
        task=task.id,
        attempt=started.attempt,
        snapshot=str(kept.commit),
        tree=str(captured.tree),
        changed=len(captured.changes),
        ignored=captured.ignored,
        summary=kept.summary,
        telemetry=telemetry,
    )


def _told(aside: Path) -> str:
    return f"the worktree is kept at {show(os.fsencode(aside))}"
