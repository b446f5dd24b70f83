"""Which commits are safe: what a branch, a tag or a remote's branch reaches, Git itself never collects.

The git program answers: it lists one run's refs, and walks no further than it has to, in any repository.
"""

import os
from collections.abc import Collection

from merge.objects import Oid
from otto_core.git.program import git, must
from otto_core.git.repository import GitRepository


def refs_below(repository: GitRepository, prefix: str) -> dict[str, str]:
    """Give each ref below a prefix (without a slash at its end) with what it points to, by name.

    Raises:
        RepositoryUnusable: git cannot list them.

    """
    told = git("for-each-ref", "--format=%(objectname) %(refname)", prefix, git_dir=repository.common_dir)
    rows = (os.fsdecode(row).split(" ", 1) for row in must(told, "listing refs").splitlines())
    return dict(sorted((name, at) for at, name in rows))


def on_branches(
    repository: GitRepository, commits: Collection[str], less: Collection[str] = ()
) -> frozenset[str]:
    """Name those of some commits that a branch, a tag or a remote's branch reaches, as git tells.

    The branches in `less` do not count.

    Raises:
        RepositoryUnusable: git cannot tell, such as where an object of a branch is missing.

    """
    there = {commit for commit in commits if repository.has(Oid(hex=commit))}
    if not there:
        return frozenset()
    beyond = git(
        *("rev-list", "--stdin", "--not", *(f"--exclude={branch}" for branch in less)),
        *("--branches", "--tags", "--remotes"),
        git_dir=repository.common_dir,
        stdin="".join(f"{commit}\n" for commit in sorted(there)).encode(),
        env={"GIT_NO_REPLACE_OBJECTS": "1"},
    )
    return frozenset(there.difference(must(beyond, "looking for what branches reach").decode().split()))
