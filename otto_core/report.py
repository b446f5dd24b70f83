"""What a run's state says to those outside: a JSON document for programs, words for a person. Pure."""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from otto_core.errors import OttoError
from otto_core.model import Outcome, Reason, TaskStatus, Telemetry, json_of
from otto_core.state import Run, TaskState
from planner.durations import format_duration

JsonObject = dict[str, object]

SHORT = 12
"""Digits of an object id that a person is shown."""

_STATE_WORDS: Mapping[TaskStatus, str] = {
    TaskStatus.LANDED: "landed",
    TaskStatus.UNCHANGED: "unchanged",
    TaskStatus.RUNNING: "running",
    TaskStatus.PRODUCED: "waiting to land",
    TaskStatus.LANDING: "landing",
    TaskStatus.HELD: "held",
    TaskStatus.FAILED: "failed",
    TaskStatus.SKIPPED: "skipped",
    TaskStatus.PENDING: "pending",
}


def document(run: Run, on_branch: Collection[str], warnings: Sequence[str] = ()) -> JsonObject:
    """Give what `otto build --json` and `otto status --json` print; tasks in the order of the plan.

    `on_branch` are the tasks that Git itself says have landed, `warnings` where Git and journal differ.
    """
    settings = run.settings
    return {
        "run": run.id,
        "outcome": run.outcome.value,
        "base": run.start.base,
        "branch": run.branch,
        "tip": run.tip,
        "plan": {"id": run.stored[0].plan_id, "revision": run.revision},
        "tasks": [task_document(run, task.id, on_branch) for task in run.plan.tasks],
        "pilot": [],
        "budget": {"wall_s": run.elapsed_s, "cost_usd": _cost_usd(run)},
        "locks": settings.locks,
        "sandbox": settings.sandbox,
        "paused": None if run.paused is None else {"message": run.paused.message, "hint": run.paused.hint},
        "warnings": list(warnings),
    }


def task_document(run: Run, name: str, on_branch: Collection[str]) -> JsonObject:
    """Give one task's part of the document (KeyError if the plan has no such task)."""
    task = run.tasks[name]
    telemetry = last_telemetry(task)
    return {
        "id": name,
        "role": run.spec(name).role,
        "state": task.status.value,
        "on_result": name in on_branch,
        "commit": task.commit,
        "attempts": len(task.attempts),
        "reason": None if task.reason is None else json_of(task.reason),
        "strategy": task.landing.strategy if task.landing else None,
        "checks": "passed" if _checked(task) else "none",
        "waits_for": waits_for(run, name),
        "telemetry": None if telemetry is None else json_of(telemetry),
    }


def error_document(error: OttoError) -> JsonObject:
    """Give what `--json` prints instead of an answer."""
    return {
        "error": {
            "kind": error.kind,
            "message": error.message,
            "hint": error.hint,
            "violations": [
                {"file": f.file, "line": f.line, "message": f.message, "hint": f.hint} for f in error.findings
            ],
        }
    }


def waits_for(run: Run, name: str) -> str | None:
    """Say what a task waits for: tasks before it, another run's lock, a free place, or a person.

    None if it can start at once.
    """
    task = run.tasks[name]
    if task.undetermined is not None and task.decided is None:
        return "a person, who knows whether it landed"
    if task.status is not TaskStatus.PENDING:
        return None
    unmet = [before for before in run.spec(name).after if not run.tasks[before].status.satisfies]
    if unmet:
        return ", ".join(unmet)
    if (met := run.contended.get(name)) is not None:
        return (
            f"{met.holder_task!r} of {met.holder_run} ({met.holder}), which is writing {met.holder_pattern}"
        )
    limit = run.settings.concurrency
    full = run.outcome is Outcome.RUNNING and len(run.running) >= limit
    return f"a free place (`concurrency` is {limit})" if full else None


def last_telemetry(task: TaskState) -> Telemetry | None:
    """Give what the last attempt cost; None while it runs and where there was none."""
    end = task.attempts[-1].end if task.attempts else None
    return end.telemetry if end else None


def _checked(task: TaskState) -> bool:
    """Whether a check passed on the very tree that landed (`apply` saw to it that all required ones did)."""
    landed = task.landing.tree if task.landing and task.status is TaskStatus.LANDED else None
    return any(v.tree == landed and v.result == "passed" for v in task.verdicts)


def _cost_usd(run: Run) -> float:
    ends = (attempt.end for task in run.tasks.values() for attempt in task.attempts)
    return sum((end.telemetry.cost_usd or 0.0 for end in ends if end), start=0.0)


class Trouble(Struct, frozen=True):
    """A task that did not land, or is held, and why."""

    task: str
    reason: Reason


class NextStep(Struct, frozen=True):
    """A command to type, and what it is good for."""

    command: str
    purpose: str


def summary(run: Run) -> tuple[str, ...]:
    """Tell a person how a run stands: counts, result, every reason with its hint, what to type next."""
    told = [headline(run), *_result(run), *_notes(run)]
    for trouble in troubles(run):
        told.append(f"  {trouble.task}: {trouble.reason.message} ({trouble.reason.kind})")
        if trouble.reason.hint:
            told.append(f"    hint: {trouble.reason.hint}")
    steps = next_steps(run)
    width = max((len(step.command) for step in steps), default=0)
    for place, step in enumerate(steps):
        told.append(f"{'next:' if place == 0 else '     '} {step.command:<{width}}  {step.purpose}")
    return tuple(told)


def headline(run: Run) -> str:
    """Put a run into one line."""
    return f"{run.id}: {run.outcome}, {counts(run)}, in {format_elapsed(run.elapsed_s)}"


def landed_count(run: Run) -> int:
    """Count the tasks that landed."""
    return sum(task.status is TaskStatus.LANDED for task in run.tasks.values())


def counts(run: Run) -> str:
    """Count the tasks by state, as in `3 of 5 tasks landed, 1 failed, 1 pending`."""
    by_state = dict.fromkeys(_STATE_WORDS, 0)
    for task in run.tasks.values():
        by_state[task.status] += 1
    landed = by_state.pop(TaskStatus.LANDED)
    rest = [f"{count} {_STATE_WORDS[state]}" for state, count in by_state.items() if count]
    total = len(run.tasks)
    return ", ".join([f"{landed} of {total} {'task' if total == 1 else 'tasks'} landed", *rest])


def troubles(run: Run) -> tuple[Trouble, ...]:
    """List the tasks that ended badly or are held, in the order of the plan."""
    tasks = (run.tasks[task.id] for task in run.plan.tasks)
    bad = (task for task in tasks if task.status.ended_badly or task.status is TaskStatus.HELD)
    return tuple(Trouble(task.id, task.reason) for task in bad if task.reason is not None)


def next_steps(run: Run) -> tuple[NextStep, ...]:
    """Name the commands that make sense now, the most useful first."""
    stopped = troubles(run)
    look = tuple(
        NextStep(f"otto show {trouble.task} --run {run.id}", "what happened, attempt by attempt")
        for trouble in stopped[:1]
    )
    again = tuple(
        NextStep(f"otto retry {trouble.task} --run {run.id}", "have it tried again, then `otto resume`")
        for trouble in stopped
        if not trouble.reason.kind.is_consequence
    )[:1]
    resume = NextStep(f"otto resume {run.id}", "go on where it stopped")
    take = (NextStep(f"otto land {run.id}", "bring what landed into your branch"),)
    delivered = run.delivered is not None and run.delivered.result == run.tip
    landed = take if run.tip != run.start.base and not delivered else ()
    if run.cleaned is not None:
        return ()
    match run.outcome:
        case Outcome.RUNNING:
            return (NextStep(f"otto log {run.id}", f"what happened so far (driven by {run.driver})"),)
        case Outcome.LANDED:
            return landed
        case Outcome.PARTIAL | Outcome.FAILED:
            return (*look, *again, *landed)
        case Outcome.REGRESSION:
            return (NextStep(f"otto logs --check --run {run.id}", "what the failing check printed"),)
        case Outcome.BUDGET:
            larger = NextStep(f"otto resume {run.id} --wall DURATION", "go on with a larger budget")
            return (larger, *landed)
        case Outcome.INTERRUPTED:
            return (resume, *landed)
        case Outcome.WAITING:
            others = dict.fromkeys(met.holder_run for met in run.contended.values())
            return (
                *(NextStep(f"otto status {name}", "the run that is in the way") for name in others),
                *_answers(run),
                resume,
                *landed,
            )


def _answers(run: Run) -> tuple[NextStep, ...]:
    """Name what a person can say of a landing that nobody can determine (X6, X10)."""
    task = run.tasks[run.landing] if run.landing else None
    if task is None or task.undetermined is None or task.decided is not None:
        return ()
    return (
        NextStep(f"otto approve {task.id} --run {run.id}", "it did land"),
        NextStep(f"otto retry {task.id} --run {run.id}", "it did not: land it anew"),
        NextStep(f"otto skip {task.id} --run {run.id}", "it did not, and need not"),
    )


def format_elapsed(seconds: float) -> str:
    """Write a measured time: `0.4s` below a minute, then as durations are written in a plan."""
    tenths = round(seconds, 1)
    return f"{tenths:.1f}s" if tenths < 60 else format_duration(round(seconds))


def _result(run: Run) -> list[str]:
    if run.tip == run.start.base:
        return [f"nothing landed; the base is {run.start.base[:SHORT]}"]
    if run.withheld:
        told = [f"the branch {run.withheld.branch} was left alone: {run.withheld.why}"]
        return [*told, f"the result is {run.tip[:SHORT]} (refs/otto/runs/{run.id}/tip)"]
    return [f"result: branch {run.branch} at {run.tip[:SHORT]}, on base {run.start.base[:SHORT]}"]


def _notes(run: Run) -> list[str]:
    told = [f"paused: {run.paused.message}"] if run.paused else []
    if run.cleaned:
        told.append(f"cleaned by {run.cleaned.by}: its refs and logs are removed; the journal is kept")
    if run.paused and run.paused.hint:
        told.append(f"  hint: {run.paused.hint}")
    final = {command.text for command in run.plan.verify.final}
    told += [
        f"fails on the base, so it did not count: {c}"
        for c in sorted(run.excused.keys() - run.required - final)
    ]
    if run.final:
        told += [f"fails on the result, passes on the base: {command}" for command in run.final.regressed]
        told += [f"fails on the result, as on the base: {command}" for command in run.final.known]
    return told
