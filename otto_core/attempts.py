"""The life of an attempt: the one module that writes its transitions.

compile -> start (journalled) -> execute through the gate -> snapshot -> end (journalled). Whatever the end,
what the attempt wrote is a commit under a ref before the journal speaks of it, and its worktree goes back
to the pool.
"""

from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from planner.canonical import plan_id
from planner.durations import format_duration
from planner.model import Task
from planner.retry import compile_retry

from merge.gate import Admitted, Refused, Scope, admit
from merge.objects import Oid
from merge.paths import show
from otto_core import events as ev
from otto_core.admission import refusal, scope_of, told
from otto_core.agents import AGENTS
from otto_core.feedback import after_failure, tail
from otto_core.gate import AttemptStep, ExecutionGate, Place
from otto_core.git import GitRepository, commit_tree
from otto_core.model import Reason, ReasonKind, Telemetry
from otto_core.process import Ending, Exited, NotStarted, Stopped, Survived, TimedOut
from otto_core.scheduler import retry_or_hold
from otto_core.session import Session, pin, task_ref
from otto_core.snapshot import Captured, capture
from otto_core.worktrees import Slot, borrow, reset

NOT_EXECUTABLE = (126, 127)
"""Exit codes by which a POSIX shell says that a command could not be executed (XCU 2.8.2)."""


async def attempt(session: Session, gate: ExecutionGate, name: str) -> None:
    """Execute a task once and journal how it ended."""
    with borrow(session.worktrees, "slot") as slot:
        base = Oid(hex=session.run.tip)
        await session.in_thread(partial(_reset, session.repository, slot, base))
        started, task = _start(session, name, str(base))
        if started is None:
            return
        slot.prompt_file.write_text(task.prompt, encoding="utf-8")
        ending = await gate.execute(
            AttemptStep(started.revision, started.plan_id, name), _place(session, slot, started)
        )
        telemetry = AGENTS[task.agent].telemetry(getattr(ending, "duration_s", 0.0))
        if isinstance(ending, Survived):
            session.append(_survived(session, started, ending, telemetry))
            return
        settle = partial(_settle, session, slot, started, task, ending, telemetry)
        session.append(await session.in_thread(settle))


def _reset(repository: GitRepository, slot: Slot, base: Oid) -> None:
    reset(slot, repository.reopen(), base)


def _start(session: Session, name: str, base: str) -> tuple[ev.AttemptStarted | None, Task]:
    """Store the plan of the attempt, if it is not the first, and journal its start, both at once."""
    run = session.run
    state, stored = run.tasks[name], run.stored[0]
    number = len(state.attempts) + 1
    events: list[ev.Event] = []
    revision, identity, plan = stored.revision, stored.plan_id, stored.plan
    if state.attempts:
        feedback = after_failure(state, session.logs)
        plan = compile_retry(stored.plan, name, base=base, feedback=feedback)
        revision, identity = run.revision + 1, plan_id(plan)
        events.append(ev.PlanStored(revision=revision, plan_id=identity, plan=plan))
    task = plan.task(name)
    started = ev.AttemptStarted(
        task=name,
        attempt=number,
        revision=revision,
        plan_id=identity,
        base=base,
        contracts=dict(run.contracts),
        prompt_digest=sha256(task.prompt.encode()).hexdigest(),
        agent=task.agent,
        log=f"{name.replace('/', '.')}.{number}.log",
    )
    return (started if session.append(*events, started) else None), task


def _place(session: Session, slot: Slot, started: ev.AttemptStarted) -> Place:
    session.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Place(
        cwd=slot.path,
        env=session.environment(
            TMPDIR=str(slot.temporary),
            OTTO_RUN=session.run.id,
            OTTO_TASK=started.task,
            OTTO_ATTEMPT=str(started.attempt),
            OTTO_WORKTREE=str(slot.path),
            OTTO_PROMPT_FILE=str(slot.prompt_file),
            OTTO_RESULT_FILE=str(slot.result_file),
        ),
        log=session.logs / started.log,
        marker=f"{session.run.id}/{started.task}/{started.attempt}",
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What an attempt wrote, as far as a tree can hold it, pinned by a ref."""

    captured: Captured
    commit: Oid


def _settle(
    session: Session, slot: Slot, started: ev.AttemptStarted, task: Task, ending: Ending, telemetry: Telemetry
) -> ev.AttemptEnd:
    """Take the snapshot, pin it, judge it; gives the event that ends the attempt. Runs off the event loop."""
    repository = session.repository.reopen()
    scope = scope_of(session.run.plan, task)
    kept = _keep(session, repository, slot, started, scope)
    snapshot = str(kept.commit) if kept.captured.changes else None
    if isinstance(ending, Stopped):
        return ev.AttemptInterrupted(
            task=task.id, attempt=started.attempt, snapshot=snapshot, telemetry=telemetry
        )
    verdict = admit(repository.repo, repository.tree_of(Oid(hex=started.base)), kept.captured.tree, scope)
    reason = _why_not(session, started, task, ending, kept.captured, verdict)
    if reason is None and not kept.captured.changes:
        return ev.AttemptUnchanged(task=task.id, attempt=started.attempt, telemetry=telemetry)
    if reason is None:
        return ev.AttemptProduced(
            task=task.id,
            attempt=started.attempt,
            snapshot=str(kept.commit),
            tree=str(kept.captured.tree),
            changed=len(kept.captured.changes),
            ignored=kept.captured.ignored,
            telemetry=telemetry,
        )
    hopeless = isinstance(ending, NotStarted) or (
        isinstance(ending, Exited) and ending.code in NOT_EXECUTABLE
    )
    return ev.AttemptFailed(
        task=task.id,
        attempt=started.attempt,
        reason=reason,
        then=retry_or_hold(session.run.tasks[task.id], session.run, repeatable=not hopeless),
        snapshot=snapshot,
        ignored=kept.captured.ignored,
        exit_code=ending.code if isinstance(ending, Exited) else None,
        telemetry=telemetry,
    )


def _keep(
    session: Session, repository: GitRepository, slot: Slot, started: ev.AttemptStarted, scope: Scope
) -> _Kept:
    captured = capture(slot, repository, scope.owns, session.run.start.settings.max_file_bytes)
    commit = commit_tree(
        repository,
        tree=captured.tree,
        parents=[Oid(hex=started.base)],
        message=f"{started.task}: attempt {started.attempt} of {session.run.id}\n",
        committer=repository.author(),
    )
    pin(repository, task_ref(session.run.id, started.task, f"attempt-{started.attempt}"), commit)
    return _Kept(captured, commit)


def _why_not(
    session: Session,
    started: ev.AttemptStarted,
    task: Task,
    ending: Ending,
    captured: Captured,
    verdict: Admitted | Refused,
) -> Reason | None:
    """Say why an attempt's result may not go on, in the order in which a person would want to know."""
    if reason := _bad_ending(session, started, task, ending):
        return reason
    if captured.odd:
        what = told(f"{show(oddity.path)} is {oddity.what}" for oddity in captured.odd)
        return Reason(
            kind=ReasonKind.UNSAFE_CONTENT,
            message=f"the attempt left what cannot be committed: {what}",
            hint="remove it before the command ends, or have the base's .gitignore ignore it",
            paths=tuple(oddity.path for oddity in captured.odd),
            evidence=started.log,
        )
    if isinstance(verdict, Refused):
        return refusal(verdict, started.log)
    if not captured.changes and not task.allow_empty:
        return _no_change(task, started, captured)
    return None


def _bad_ending(session: Session, started: ev.AttemptStarted, task: Task, ending: Ending) -> Reason | None:
    match ending:
        case Exited(code=0) | Stopped() | Survived():
            return None
        case Exited(code=code):
            what = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
            last = tail(session.logs / started.log, lines=1)
            return Reason(
                kind=ReasonKind.AGENT_FAILED,
                message=f"the command {what}" + (f": {last}" if last else ""),
                hint=f"otto logs {task.id}",
                evidence=started.log,
            )
        case TimedOut():
            return Reason(
                kind=ReasonKind.AGENT_TIMEOUT,
                message=f"the task's `timeout` of {format_duration(task.timeout_s)} fired",
                hint=f"raise `timeout` of {task.id!r} in the plan, or see `otto logs {task.id}`",
                evidence=started.log,
            )
        case NotStarted(message=message):
            return Reason(
                kind=ReasonKind.AGENT_FAILED,
                message=message,
                hint="install the program, or correct `run` in the plan",
                evidence=started.log,
            )


def _no_change(task: Task, started: ev.AttemptStarted, captured: Captured) -> Reason:
    ignored = told(map(show, captured.ignored), ", ")
    return Reason(
        kind=ReasonKind.NO_CHANGE,
        message="the command succeeded but changed no file"
        + (f" that Git would record; ignored by .gitignore: {ignored}" if ignored else ""),
        hint=f"see `otto logs {task.id}`; a task that may change nothing says `allow_empty: true`",
        paths=captured.ignored,
        evidence=started.log,
    )


def _survived(
    session: Session, started: ev.AttemptStarted, ending: Survived, telemetry: Telemetry
) -> ev.AttemptFailed:
    """End an attempt whose processes could not be ended.

    Its worktree proves nothing, so no snapshot is taken.
    """
    pids = ", ".join(map(str, ending.pids))
    return ev.AttemptFailed(
        task=started.task,
        attempt=started.attempt,
        reason=Reason(
            kind=ReasonKind.AGENT_FAILED,
            message=f"processes of the attempt could not be ended: {pids}",
            hint="end them, then build again",
            evidence=started.log,
        ),
        then=retry_or_hold(session.run.tasks[started.task], session.run, repeatable=False),
        snapshot=None,
        telemetry=telemetry,
    )
