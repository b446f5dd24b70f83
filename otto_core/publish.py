"""The result branch.

Moved as the run grows, by compare-and-swap from the value last published, never under a checkout.
"""

import os
from typing import Final

from merge.objects import Oid
from merge.paths import show
from merge.swap import Lost, SwapBusy, Swapped, SwapRefused, swap
from otto_core import events as ev
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.state import Run

_PATIENCE_S: Final = 1.0
"""How long the lock of the branch is waited for: a landing does not depend on it. One that was left by a kill
in the very moment nobody but a person may remove: it is not provably Otto's."""


def free_branch(repository: GitRepository, prefix: str, slug: str) -> str:
    """Give the first of `<prefix>/<slug>`, `-2`, `-3` ... that no branch has.

    Raises:
        RepositoryUnusable: a branch stands where the prefix's directory would be.

    """
    parts = prefix.split("/")
    for depth in range(1, len(parts) + 1):
        taken = "/".join(parts[:depth])
        if repository.ref(f"refs/heads/{taken}") is not None:
            raise RepositoryUnusable(
                f"the branch {taken!r} stands in the way of branches named {prefix}/...",
                hint=f"git branch -m {taken} {taken}-old, or set `branch_prefix` in otto.yaml",
            )
    branch, number = f"{prefix}/{slug}", 1
    while repository.ref(f"refs/heads/{branch}") is not None or repository.refs(f"refs/heads/{branch}/"):
        number += 1
        branch = f"{prefix}/{slug}-{number}"
    return branch


def publish(repository: GitRepository, run: Run, commit: Oid) -> ev.BranchPublished | ev.BranchWithheld:
    """Move the result branch to a commit, unless it is checked out or someone else moved it.

    Gives what to journal.
    """
    if not repository.has(commit):
        return ev.BranchWithheld(branch=run.branch, why=f"the commit {commit} is gone")
    branch, expected = run.branch, Oid(hex=run.published.commit) if run.published else None
    if repository.ref(f"refs/heads/{branch}") == commit:  # a crash came between the swap and its journalling
        return ev.BranchPublished(branch=branch, commit=str(commit))
    place = repository.checked_out().get(f"refs/heads/{branch}")
    if place is not None:
        return ev.BranchWithheld(branch=branch, why=f"it is checked out in {show(os.fsencode(place))}")
    if expected is None and repository.ref(f"refs/heads/{branch}") is not None:
        branch = free_branch(repository, branch.rpartition("/")[0], run.start.slug)
    wait_s = 0.0 if run.withheld else _PATIENCE_S
    try:
        outcome = swap(repository.repo, f"refs/heads/{branch}", expected, commit, wait=wait_s)
    except SwapBusy:
        lock = show(os.fsencode(repository.common_dir / f"refs/heads/{branch}.lock"))
        why = f"it is locked; if no git and no otto is at work, remove {lock}"
        return ev.BranchWithheld(branch=branch, why=why)
    except SwapRefused as error:
        return ev.BranchWithheld(branch=branch, why=str(error))
    match outcome:
        case Lost(actual):
            did = f"moved it to {actual}" if actual else "deleted it"
            return ev.BranchWithheld(branch=branch, why=f"someone {did}")
        case Swapped():
            return ev.BranchPublished(branch=branch, commit=str(commit))
