"""Candidate commits: what a landing would make the tip, and how landed tasks are found again in the history.

A candidate's first parent is the tip it was made for, its second the admitted snapshot. What its message says
is in `merge.trailers`.
"""

from collections.abc import Iterator

from pygit2 import Commit

from merge.objects import Oid, Repository, Signature, write_commit
from merge.trailers import Trailers, parse


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
    parents = [tip, snapshot]
    return write_commit(repo, tree=tree, parents=parents, message=message, author=author, committer=committer)


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
