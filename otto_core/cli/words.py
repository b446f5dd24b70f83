"""An event in one sentence for a person: the same in the live view, the journal and a task's history."""

from collections.abc import Sequence

from merge.paths import show
from otto_core import events as ev
from otto_core.agents import AGENTS
from otto_core.model import Telemetry, path_text
from otto_core.report import SHORT, format_elapsed
from otto_core.state import Run
from planner.durations import format_duration

_NAMED = 5
"""How many names stand in one line; the rest is counted."""


def introduction(run: Run) -> tuple[str, ...]:
    """Say what a run is about to do, and what with (P12)."""
    settings, verify = run.settings, run.plan.verify
    checks, final = ([command.text for command in commands] for commands in (verify.each, verify.final))
    checked = [task.id for task in run.plan.tasks if task.verify]
    budget = "none" if settings.wall_s is None else format_duration(settings.wall_s)
    tasks = "1 task" if len(run.tasks) == 1 else f"{len(run.tasks)} tasks"
    agents = ", ".join(map(_agent, sorted({task.agent for task in run.plan.tasks})))
    return (
        f"{run.id}: {tasks} on base {run.start.base[:SHORT]}, {settings.concurrency} at once",
        f"  agent {agents}; locks {settings.locks}; sandbox {settings.sandbox}; wall budget {budget}",
        f"  checks before every landing: {'; '.join(checks) or 'none for the whole run'}",
        *([f"  tasks with checks of their own: {_some(checked, len(checked))}"] if checked else []),
        *([f"  checks of the result: {'; '.join(final)}"] if final else []),
        *_made_fit(run),
        *_dirty(run.start),
        f"  results land on branch {run.branch}; your checkout is left alone",
        *_worktrees(settings),
    )


def _agent(name: str) -> str:
    """Name an agent and its model."""
    agent = AGENTS.get(name)
    return name if agent is None else f"{name} ({agent.model or 'no model'})"


def _made_fit(run: Run) -> list[str]:
    """Say what comes to a worktree beside the files of a commit, if anything."""
    commands = [command.text for command in run.plan.setup.commands] if run.plan.setup else []
    copied = run.settings.copied
    return [
        *([f"  setup of a worktree: {'; '.join(commands)}"] if commands else []),
        *([f"  copied into worktrees: {', '.join(copied)}"] if copied else []),
    ]


def _dirty(start: ev.RunStarted) -> list[str]:
    """Say what of the checkout is not in the base, if anything; never a reason to stop."""
    if not start.dirty_count:
        return []
    named = _some([show(path) for path in start.dirty], start.dirty_count)
    return [f"  not committed, so not part of this run: {named}"]


def _worktrees(settings: ev.RunSettings) -> list[str]:
    """Say where attempts work, and that they share your Git directory if they do."""
    if not settings.worktrees:
        return []
    shared = ", linked to your repository: its config, hooks, stash and refs are theirs too"
    return [f"  worktrees below {settings.worktrees}{shared if settings.isolation == 'linked' else ''}"]


def _some(names: Sequence[str], count: int) -> str:
    """Name the first of `count` things, and count the others."""
    told = ", ".join(names[:_NAMED])
    return told if count <= len(names[:_NAMED]) else f"{told} and {count - len(names[:_NAMED])} more"


def subject(event: ev.Event) -> str:
    """Name what an event is about: a task, or the run."""
    about = ev.TaskEvent | ev.Checked | ev.SetupEnded | ev.LockContended | ev.LockFreed
    name = event.task if isinstance(event, about) else None
    return name or "run"


def sentence(event: ev.Event, run: Run) -> str:
    """Say what happened, without its subject; `run` is any state of the run that knows the plan."""
    if isinstance(event, ev.AttemptStarted | ev.AttemptEnd):
        return _of_attempt(event, run)
    if isinstance(event, ev.DecisionEvent):
        return _of_decision(event)
    if isinstance(event, ev.LandingStep | ev.TaskFailed):
        return _of_landing(event)
    return _of_run(event, run)


def _of_attempt(event: ev.AttemptStarted | ev.AttemptEnd, run: Run) -> str:
    match event:
        case ev.AttemptStarted():
            limit = run.tasks[event.task].attempts_allowed(run.spec(event.task))
            return f"attempt {event.attempt} of {limit} starts from {event.base[:SHORT]}"
        case ev.AttemptProduced(changed=changed):
            files = "1 file" if changed == 1 else f"{changed} files"
            return f"attempt {event.attempt} is done{_took(event.telemetry)}: {files} changed"
        case ev.AttemptUnchanged():
            ignored = f" ({len(event.ignored)} of its paths are ignored)" if event.ignored else ""
            return f"attempt {event.attempt} is done{_took(event.telemetry)}: no change, as it may{ignored}"
        case ev.AttemptFailed():
            refused = f"attempt {event.attempt} failed{_took(event.telemetry)}"
            return f"{refused} ({event.reason.kind}): {event.reason.message}{_then(event.then)}"
        case ev.AttemptInterrupted():
            how = "was lost with its driver" if event.lost else "was interrupted"
            kept = f"; what it wrote is kept at {event.snapshot[:SHORT]}" if event.snapshot else ""
            return f"attempt {event.attempt} {how} and does not count{kept}"


def _of_landing(event: ev.LandingStep | ev.TaskFailed) -> str:
    match event:
        case ev.LandingStarted():
            note = f" ({event.note})" if event.note else ""
            return f"lands on {event.expected_tip[:SHORT]} by strategy {event.strategy}{note}"
        case ev.LandingApplied():
            return f"landed as {event.commit[:SHORT]}"
        case ev.LandingLost():
            return "the landing did not happen: the tip was not where it was expected"
        case ev.LandingUndetermined():
            return f"nobody can tell whether it landed: {event.why}"
        case ev.LandingRejected():
            return f"refused ({event.reason.kind}): {event.reason.message}{_then(event.then)}"
        case ev.TaskFailed():
            return f"failed for good ({event.reason.kind}): {event.reason.message}"


def _of_decision(event: ev.DecisionEvent) -> str:
    match event:
        case ev.TaskSkipped():
            return f"skipped by {event.by}"
        case ev.TaskReopened(because=None):
            return f"to be tried again, as {event.by} decided"
        case ev.TaskReopened():
            return f"to be tried again, as {event.because} is"
        case ev.LandingDecided(then="landed"):
            return f"did land, as {event.by} decided"
        case ev.LandingDecided():
            return f"did not land, as {event.by} decided: {event.then}"
        case ev.RunCancelled():
            return f"cancelled by {event.by}"
        case ev.RunCleaned():
            return f"its refs and logs are removed, as {event.by} decided"


def _of_run(event: ev.RunStep, run: Run) -> str:
    match event:
        case ev.RunStarted() | ev.RunPaused() | ev.RunResumed() | ev.RunFinished():
            return _of_course(event)
        case ev.PlanStored():
            tasks = len(event.plan.tasks)
            counted = "1 task" if tasks == 1 else f"{tasks} tasks"
            return f"plan {event.plan_id[:SHORT]} is revision {event.revision}: {counted}"
        case ev.Checked():
            return _judged(event, run)
        case ev.SetupEnded():
            return _of_setup(event, run)
        case ev.BranchPublished():
            return f"branch {event.branch} is at {event.commit[:SHORT]}"
        case ev.BranchWithheld():
            return f"branch {event.branch} was left alone: {event.why}"
        case ev.FinalChecked(regressed=regressed):
            return _of_final(regressed)
        case ev.LockContended() | ev.LockFreed():
            return _of_lock(event)
        case ev.Shown():
            target = (
                f"{event.target.removeprefix('refs/heads/') or 'no branch'} at {_short(event.target_commit)}"
            )
            return f"shown: {target}, result at {_short(event.commit)}"
        case ev.DeliveryStarted() | ev.DeliveryWriting() | ev.DeliveryApplied() | ev.DeliveryUndone():
            return _of_delivery(event)


def _of_course(event: ev.RunStarted | ev.RunPaused | ev.RunResumed | ev.RunFinished) -> str:
    match event:
        case ev.RunStarted():
            return f"starts on {event.base[:SHORT]}, driven by {event.driver}: {event.intent}"
        case ev.RunPaused():
            return f"paused ({event.outcome}): {event.message}"
        case ev.RunResumed():
            return f"goes on, driven by {event.driver}"
        case ev.RunFinished():
            return f"finished: {event.outcome}"


def _of_lock(event: ev.LockContended | ev.LockFreed) -> str:
    match event:
        case ev.LockContended(told=told):
            return f"has to wait: {told}"
        case ev.LockFreed():
            return "what it waited for is free"


def _of_delivery(event: ev.DeliveryEvent) -> str:
    name = event.target.removeprefix("refs/heads/")
    match event:
        case ev.DeliveryStarted():
            how = f" by strategy {event.strategy}" if event.strategy else ""
            place = f", with the files in {path_text(event.checkout)}" if event.checkout else ""
            return f"{name} is to move from {event.before[:SHORT]} to {event.after[:SHORT]}{how}{place}"
        case ev.DeliveryWriting():
            return f"the files of {name} are being written"
        case ev.DeliveryApplied():
            return f"{name} is at {event.commit[:SHORT]}"
        case ev.DeliveryUndone():
            return f"{name} was left as it was: {event.why}"


def _of_setup(event: ev.SetupEnded, run: Run) -> str:
    took = format_elapsed(event.duration_s)
    match event.result:
        case "passed":
            return f"worktree {event.slot} is set up in {took}"
        case "failed":
            return f"the setup of worktree {event.slot} failed in {took}"
        case "timeout":
            limit = format_duration(run.plan.setup.timeout_s) if run.plan.setup else "?"
            return f"the setup of worktree {event.slot} exceeded `worktrees.setup_timeout` of {limit}"


def _judged(event: ev.Checked, run: Run) -> str:
    verdict = event.verdict
    judged = "the result" if verdict.scope == "final" else "the merged tree"
    tree = f"{'the base' if event.baseline else judged} {verdict.tree[:SHORT]}"
    took = format_elapsed(verdict.duration_s)
    match verdict.result:
        case "passed":
            how = f"passes on {tree} in {took}"
        case "failed":
            code = "could not be executed" if verdict.exit_code is None else f"exit {verdict.exit_code}"
            how = f"fails on {tree} in {took} ({code})"
        case "timeout":
            limit = format_duration(run.settings.verify_timeout_s)
            how = f"does not end on {tree}: `verify.timeout` of {limit} fired"
    excused = (
        "; so it does not count until it passes" if event.baseline and verdict.result == "failed" else ""
    )
    return f"check {how}: {verdict.command}{excused}"


def _of_final(regressed: tuple[str, ...]) -> str:
    if regressed:
        return f"the result ends otherwise than the base in: {'; '.join(regressed)}"
    return "the result passes every final check that the base passes"


def _took(telemetry: Telemetry) -> str:
    return f" after {format_elapsed(telemetry.duration_s)}"


def _then(then: ev.Then) -> str:
    return "; it will be tried again" if then == "retry" else "; it will not be tried again"


def _short(commit: str | None) -> str:
    return commit[:SHORT] if commit else "no commit"
