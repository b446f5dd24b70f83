"""Candidate commits: what a landing would make the tip, and how landed tasks are found again in the history.

A candidate's first parent is the tip it was made for, its second the admitted snapshot. The last paragraph of
its message holds trailers as git-interpret-trailers(1) reads them: they, on the first-parent chain, are
the only proof that a task has landed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pygit2 import Commit

from merge.objects import Oid, Repository, Signature

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


def commit(
    repo: Repository,
    *,
    tree: Oid,
    tip: Oid,
    snapshot: Oid,
    message: str,
    author: Signature,
    committer: Signature,
) -> Oid:
    """Write a candidate: no ref moves. First parent is the tip, second the admitted snapshot."""
    return repo.create_commit(None, author, committer, message, tree, [tip, snapshot])


class Landed:
    """Which tasks have landed between a base (excluded) and the tip of an integration branch.

    An index over the first-parent chain: each commit is read once, however often the tip moves on.
    """

    def __init__(self, base: Oid) -> None:
        self._base = base
        self._tip = base
        self._commits: dict[tuple[str, str], Oid] = {}

    def update(self, repo: Repository, tip: Oid) -> None:
        """Index up to `tip`. A tip that does not stand on what was indexed discards the index first.

        Raises ValueError, and keeps the index, if the base is not on the tip's first-parent chain.
        """
        fresh: list[tuple[Oid, Trailers]] = []
        for commit in _first_parents(repo, tip):
            if commit.id in (self._tip, self._base):
                break
            trailers = parse(commit.raw_message.decode("utf-8", "replace"))
            if trailers:
                fresh.append((commit.id, trailers))
        else:
            raise ValueError(f"{self._base} is not on the first-parent chain of {tip}")
        if commit.id != self._tip:
            self._commits = {}
        for oid, trailers in reversed(fresh):
            for task in (trailers.task, *trailers.for_):
                self._commits.setdefault((trailers.run, task), oid)
        self._tip = tip

    def find(self, run: str, task: str) -> Oid | None:
        """Return the commit by which a task landed, as itself or as a requester an amendment covers."""
        return self._commits.get((run, task))

    def tasks(self, run: str) -> dict[str, Oid]:
        """Return the landed tasks of a run, oldest first, each with its commit."""
        return {task: oid for (landed_in, task), oid in self._commits.items() if landed_in == run}


def _first_parents(repo: Repository, tip: Oid) -> Iterator[Commit]:
    oids = [tip]
    while oids:
        found = repo[oids[0]]
        if not isinstance(found, Commit):
            raise TypeError(f"{oids[0]} is not a commit")
        yield found
        oids = found.parent_ids[:1]


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
