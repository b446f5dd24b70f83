"""What landing a run's result on a branch would make of that branch: decided in memory, nothing moves."""

from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from merge.attributes import flatten
from merge.audit import Unsound, audit
from merge.gate import Refused, admit
from merge.objects import Oid
from merge.paths import show
from merge.strategies import Conflicted, merge
from merge.trailers import delivery_message
from otto_core.admission import registries_of, scope_of_run, told
from otto_core.git.private import MergeRepository
from otto_core.git.repository import GitRepository, commit_tree
from otto_core.landing import recorded
from otto_core.model import BothChanged, Reason, ReasonKind
from otto_core.places import remove
from otto_core.refnames import run_ref
from otto_core.refs import pin
from otto_core.report import SHORT
from otto_core.state import Run


@dataclass(frozen=True, slots=True)
class Contained:
    """The branch has the result already."""


@dataclass(frozen=True, slots=True)
class FastForward:
    """The result stands on the branch: its commit becomes the branch's."""

    commit: Oid


@dataclass(frozen=True, slots=True)
class MergeCommit:
    """The branch has moved on: a commit that joins both, pinned by a ref; its tree is yet to be checked."""

    commit: Oid
    strategy: str
    note: str
    both_changed: tuple[BothChanged, ...]


Proposal = Contained | FastForward | MergeCommit | Reason


def contains(repository: GitRepository, at: Oid, result: Oid) -> bool:
    """Tell whether a branch that is at a commit has a result, or what else another commit names."""
    return at == result or repository.repo.descendant_of(at, result)


def propose(repository: GitRepository, run: Run, target: str, at: Oid, result: Oid) -> Proposal:
    """Say what would land on the branch `target` (full ref), which is at `at`; a Reason is a refusal.

    Raises:
        RepositoryUnusable: objects or refs cannot be written.

    """
    repo = repository.repo
    if contains(repository, at, result):
        return Contained()
    if repo.descendant_of(result, at):
        return FastForward(result)
    name = target.removeprefix("refs/heads/")
    base = cast("Oid | None", repo.merge_base(at, result))  # unrelated histories have none
    if base is None or not contains(repository, at, Oid(hex=run.start.base)):
        return _foreign_base(run, name)
    place = repository.store / "merge" / f"{run.id}.delivery.git"
    remove(place)
    merging = MergeRepository(place, repository)
    try:
        return _merge(repository, merging, run, name, base, at, result)
    finally:
        with suppress(OSError):  # what is left there is removed before its next use
            remove(place)


def _merge(
    repository: GitRepository, merging: MergeRepository, run: Run, name: str, base: Oid, at: Oid, result: Oid
) -> MergeCommit | Reason:
    scope = scope_of_run(run.plan)
    base_tree, target_tree, result_tree = (repository.tree_of(oid) for oid in (base, at, result))
    if isinstance(refused := admit(repository.repo, base_tree, result_tree, scope), Refused):
        return _refusal(refused, run, "the result")
    merging.use_attributes(flatten(repository.repo, target_tree))
    merged = merge(merging.repo, at, result, registries=registries_of(run.plan), port=merging)
    if isinstance(merged, Conflicted):
        return _conflict(merged, run, name)
    if isinstance(refused := admit(repository.repo, target_tree, merged.tree, scope), Refused):
        return _refusal(refused, run, f"its merge into {name}")
    audited = audit(merging.repo, base_tree, target_tree, result_tree, merged.tree)
    if isinstance(audited, Unsound):
        return _unsound(audited, run, name, merged.strategy)
    made = commit_tree(
        repository,
        tree=merged.tree,
        parents=[at, result],
        message=delivery_message(run.plan.intent, run.id, run.stored[0].plan_id),
        committer=repository.author(),
    )
    pin(repository, run_ref(run.id, "delivery"), made)
    return MergeCommit(made, merged.strategy, merged.note, recorded(audited))


def _foreign_base(run: Run, name: str) -> Reason:
    base = run.start.base[:SHORT]
    return Reason(
        kind=ReasonKind.WRITE_GATE,
        message=f"{run.id} was built on {base}, which {name} does not have: landing would bring along"
        " commits that no task of the run made",
        hint=f"otto land {run.id} --into the branch that it was built on, or: git merge {run.branch}",
    )


def _refusal(refused: Refused, run: Run, what: str) -> Reason:
    return Reason(
        kind=ReasonKind(refused.kind),
        message=f"the write gate refused {what}: no task of {run.id} may do this: "
        + told(violation.message for violation in refused.violations),
        hint=f"git log -p {run.start.base[:SHORT]}..{run.branch} shows it; take what is right by hand",
        paths=tuple(dict.fromkeys(violation.path for violation in refused.violations)),
    )


def _conflict(conflicted: Conflicted, run: Run, name: str) -> Reason:
    where = told(map(show, conflicted.paths), ", ") or conflicted.message
    return Reason(
        kind=ReasonKind.CONFLICT,
        message=f"the result does not merge with what {name} has now ({conflicted.strategy}): {where}",
        hint=f"git switch {name} && git merge {run.branch}, or build again on {name}",
        paths=conflicted.paths,
    )


def _unsound(audited: Unsound, run: Run, name: str, strategy: str) -> Reason:
    where = told((show(violation.path) for violation in audited.violations), ", ")
    return Reason(
        kind=ReasonKind.CONFLICT,
        message=f"the audit refused the merge into {name} by strategy {strategy}: a side would be lost at"
        f" {where}",
        hint=f"git switch {name} && git merge {run.branch}; please report this merge",
        paths=tuple(violation.path for violation in audited.violations),
    )
