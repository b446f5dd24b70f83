"""What the next attempt is told about the last one."""

from pathlib import Path

from otto_core.events import AttemptFailed
from otto_core.state import TaskState

_TAIL_BYTES = 16_384
_TAIL_LINES = 60


def tail(log: Path, *, lines: int = _TAIL_LINES) -> str:
    """Give the last lines of a log (bytes that are not UTF-8 replaced), or nothing where there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def after_failure(state: TaskState, logs: Path) -> str:
    """Put the last failure, and the end of the output it points to, into words for the next attempt."""
    reason = state.reason
    if reason is None:
        end = state.attempts[-1].end
        return end.reason.message if isinstance(end, AttemptFailed) else "The last attempt was interrupted."
    parts = [f"Attempt {state.attempts[-1].number} was not accepted ({reason.kind}): {reason.message}"]
    if reason.evidence and (output := tail(logs / reason.evidence)):
        parts.append(f"The end of its output:\n\n{output}")
    return "\n\n".join(parts)
