"""Versions of contracts: the id of the tree that holds just a contract's files."""

from collections.abc import Iterable, Mapping

from merge.objects import Oid
from merge.patterns import PathSet
from merge.trees import Change, apply, walk
from otto_core.git.repository import GitRepository
from otto_core.state import Run
from planner.model import Contract


def versions(repository: GitRepository, contracts: Iterable[Contract], tree: Oid) -> dict[str, str | None]:
    """Give each contract's version in a tree; None where a pattern of it has no file there."""
    wanted = {contract.id: [PathSet.parse([path]) for path in contract.paths] for contract in contracts}
    if not wanted:
        return {}
    held: dict[str, list[Change]] = {name: [] for name in wanted}
    absent = {name: set(range(len(patterns))) for name, patterns in wanted.items()}
    for path, entry in walk(repository.repo, tree):
        for name, patterns in wanted.items():
            matching = {n for n, pattern in enumerate(patterns) if pattern.matches(path)}
            if matching:
                absent[name] -= matching
                held[name].append(Change(path, None, entry))
    empty = repository.repo.TreeBuilder().write()
    return {name: None if absent[name] else str(apply(repository.repo, empty, held[name])) for name in wanted}


def versions_after(
    repository: GitRepository, run: Run, tree: Oid, changes: Iterable[Change]
) -> dict[str, str | None]:
    """Give the versions after a landing; only contracts that it touches are looked at again."""
    paths = [change.path for change in changes]
    touched = [c for c in run.plan.contracts if any(map(PathSet.parse(c.paths).matches, paths))]
    known: Mapping[str, str | None] = run.contracts
    return {**known, **versions(repository, touched, tree)}
