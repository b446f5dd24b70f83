"""Which commits are safe: what a branch, a tag or a remote's branch reaches, Git itself never collects."""

from collections.abc import Collection

from merge.objects import Oid
from otto_core.git.program import git, must
from otto_core.git.repository import GitRepository


def on_branches(repository: GitRepository, commits: Collection[str]) -> frozenset[str]:
    """Name those of some commits that a branch, a tag or a remote's branch reaches, as git tells.

    Raises:
        RepositoryUnusable: git cannot tell, such as where an object of a branch is missing.

    """
    there = {commit for commit in commits if repository.has(Oid(hex=commit))}
    if not there:
        return frozenset()
    beyond = git(
        *("rev-list", "--stdin", "--not", "--branches", "--tags", "--remotes"),
        git_dir=repository.common_dir,
        stdin="".join(f"{commit}\n" for commit in sorted(there)).encode(),
        env={"GIT_NO_REPLACE_OBJECTS": "1"},
    )
    return frozenset(there.difference(must(beyond, "looking for what branches reach").decode().split()))
