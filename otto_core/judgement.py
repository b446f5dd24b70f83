"""Whether an attempt's result may go on to landing, and if not, why.

A decision over what is known of its end.
"""

import os
from pathlib import Path

from merge.gate import Admitted, Refused
from merge.paths import show
from otto_core import events as ev
from otto_core.admission import refusal, told
from otto_core.errors import RepositoryUnusable
from otto_core.execution import Ending, Exited, NotStarted, Overgrown, Stopped, Survived, TimedOut, Unconfined
from otto_core.feedback import tail
from otto_core.model import Reason, ReasonKind
from otto_core.snapshot import Captured
from planner.durations import format_duration
from planner.model import Task

NOT_EXECUTABLE = (126, 127)
"""Exit codes by which a POSIX shell says that a command could not be executed (XCU 2.8.2)."""


def too_many(limit: int) -> str:
    """Name the limit that fired on a command that forks without end."""
    return f"`defaults.max_processes` of {limit} fired: the command had more processes at once"


def is_hopeless(ending: Ending) -> bool:
    """Tell whether the same command cannot do better next time: it could not be executed at all."""
    return isinstance(ending, NotStarted) or (isinstance(ending, Exited) and ending.code in NOT_EXECUTABLE)


def unprovable(run: str, started: ev.AttemptStarted, ending: Ending) -> Reason | None:
    """Say why a worktree proves nothing: processes that could still write to it are alive."""
    if not isinstance(ending, Survived):
        return None
    return Reason(
        kind=ReasonKind.AGENT_FAILED,
        message=f"processes of the attempt could not be ended: {', '.join(map(str, ending.pids))}",
        hint=f"end them, then: otto retry {started.task} --run {run}",
        evidence=started.log,
    )


def beyond_capture(started: ev.AttemptStarted, error: Exception) -> Reason:
    """Say that what an attempt left cannot be read as a tree at all."""
    match error:
        case RepositoryUnusable(message=message):
            why = message
        case RecursionError():
            why = "its directories are nested too deeply"
        case OSError(strerror=str(strerror)):
            why = strerror
        case _:
            why = str(error)
    return Reason(
        kind=ReasonKind.UNSAFE_CONTENT,
        message=f"what the attempt left cannot be captured: {show(os.fsencode(why))}",
        hint="leave the worktree in its place, with files that Git can hold",
        evidence=started.log,
    )


def why_not(
    run: str,
    logs: Path,
    started: ev.AttemptStarted,
    task: Task,
    ending: Ending,
    captured: Captured,
    verdict: Admitted | Refused,
) -> Reason | None:
    """Say why an attempt's result may not go on, in the order in which a person would want to know."""
    if reason := _bad_ending(run, logs, started, task, ending):
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
        return refusal(verdict, run, task, started.log)
    if not captured.changes and not task.allow_empty:
        return _no_change(run, started, captured)
    return None


def _bad_ending(
    run: str, logs: Path, started: ev.AttemptStarted, task: Task, ending: Ending
) -> Reason | None:
    output = f"otto logs {task.id} --attempt {started.attempt} --run {run}"
    match ending:
        case Exited(code=0) | Stopped() | Survived():
            return None
        case Exited(code=code):
            what = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
            last = tail(logs / started.log, lines=1)
            return Reason(
                kind=ReasonKind.AGENT_FAILED,
                message=f"the command {what}" + (f": {last}" if last else ""),
                hint=output,
                evidence=started.log,
            )
        case TimedOut():
            return Reason(
                kind=ReasonKind.AGENT_TIMEOUT,
                message=f"the task's `timeout` of {format_duration(task.timeout_s)} fired",
                hint=f"raise `timeout` of {task.id!r} in the plan, or see `{output}`",
                evidence=started.log,
            )
        case Overgrown(limit=limit):
            return Reason(
                kind=ReasonKind.AGENT_FAILED,
                message=too_many(limit),
                hint=f"raise `defaults.max_processes`, or see `{output}`",
                evidence=started.log,
            )
        case Unconfined(message=message):
            last = tail(logs / started.log, lines=1)
            return Reason(
                kind=ReasonKind.AGENT_FAILED,
                message=message + (f": {last}" if last else ""),
                hint="see `otto doctor`; `home_pass` shows parts of your home in the sandbox",
                evidence=started.log,
            )
        case NotStarted(message=message):
            return Reason(
                kind=ReasonKind.AGENT_FAILED,
                message=message,
                hint="install the program, or correct `run` in the plan",
                evidence=started.log,
            )


def _no_change(run: str, started: ev.AttemptStarted, captured: Captured) -> Reason:
    ignored = told(map(show, captured.ignored), ", ")
    return Reason(
        kind=ReasonKind.NO_CHANGE,
        message="the command succeeded but changed no file"
        + (f" that Git would record; ignored by .gitignore: {ignored}" if ignored else ""),
        hint=f"see `otto logs {started.task} --attempt {started.attempt} --run {run}`;"
        " a task that may change nothing says `allow_empty: true`",
        paths=captured.ignored,
        evidence=started.log,
    )
