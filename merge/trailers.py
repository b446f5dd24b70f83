"""What a landing's commit says of itself: text in, text out.

The last paragraph of its message holds trailers as git-interpret-trailers(1) reads them: they, on the
first-parent chain, are the only proof that a task has landed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_RUN, _TASK, _ATTEMPT, _PLAN, _FOR = "Otto-Run", "Otto-Task", "Otto-Attempt", "Otto-Plan", "Otto-For"
_REQUIRED = {_RUN, _TASK, _ATTEMPT, _PLAN}
_TRAILER = re.compile(r"([A-Za-z0-9-]+): (\S.*)")
_WORD = re.compile(r"[!-~]+")  # a value without blanks or control characters survives any reader of trailers
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Trailers:
    """What a landing says of itself: run, task (full id), attempt (from 1), plan id, requesters it covers."""

    run: str
    task: str
    attempt: int
    plan: str
    for_: tuple[str, ...] = ()


def message(subject: str, body: str, trailers: Trailers) -> str:
    """Write a commit message whose only trailers are the given ones.

    `subject` and `body` may hold anything, an agent's words included: control characters become blanks, an
    empty subject gives way to the task's id, and the body is indented, so no line of it can pass for
    a trailer even where a reader looks beyond the last paragraph. Raises ValueError for trailers that
    cannot be written on one line each.
    """
    paragraphs = [_line(subject).lstrip("-# ") or trailers.task]
    quoted = "\n".join(_INDENT + line if line else "" for line in map(_line, body.splitlines())).strip("\n")
    if quoted:
        paragraphs.append(quoted)
    paragraphs.append("\n".join(f"{key}: {value}" for key, value in _pairs(trailers)))
    return "\n\n".join(paragraphs) + "\n"


def delivery_message(intent: str, run: str, plan: str) -> str:
    """Write the message of a commit that merges a run's result into a person's branch.

    Its trailers name run and plan but no task, so it is never taken for a landing. Raises ValueError as
    `message` does.
    """
    if not (_WORD.fullmatch(run) and _WORD.fullmatch(plan)):
        raise ValueError(f"not a run and a plan: {run!r}, {plan!r}")
    subject = _line(intent.strip().partition("\n")[0]).lstrip("-# ") or f"Land {run}"
    return f"{subject}\n\n{_RUN}: {run}\n{_PLAN}: {plan}\n"


def parse(message: str) -> Trailers | None:
    """Read the trailers back, or `None` if this is not the message of a landing.

    Only the last paragraph counts, all of it must be trailers, and each of Otto's keys stands at most once.
    """
    subject, separator, last = message.rstrip("\n").rpartition("\n\n")
    lines = [_TRAILER.fullmatch(line) for line in last.split("\n")]
    if not separator or not subject:
        return None
    pairs = [(match[1], match[2]) for match in lines if match]
    values = dict(pairs)
    ours = [key for key, _ in pairs if key in _REQUIRED or key == _FOR]
    if len(pairs) < len(lines) or len(ours) != len(set(ours)) or not values.keys() >= _REQUIRED:
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", values[_ATTEMPT]):
        return None
    covered = tuple(values.get(_FOR, "").split())
    return Trailers(values[_RUN], values[_TASK], int(values[_ATTEMPT]), values[_PLAN], covered)


def _pairs(trailers: Trailers) -> Iterable[tuple[str, str]]:
    words = [trailers.run, trailers.task, trailers.plan, *trailers.for_]
    if trailers.attempt < 1 or not all(map(_WORD.fullmatch, words)):
        raise ValueError(f"not a landing's trailers: {trailers}")
    yield _RUN, trailers.run
    yield _TASK, trailers.task
    yield _ATTEMPT, str(trailers.attempt)
    yield _PLAN, trailers.plan
    if trailers.for_:
        yield _FOR, " ".join(trailers.for_)


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()
