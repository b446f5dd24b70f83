"""Partial clones: what a commit needs and only a promisor remote has (partial-clone(7)).

Otto's own Git directories have no remote, so nothing that is missing is fetched where a worktree is made.
A repository with the extension that older versions of git mark a partial clone by is not opened by libgit2.
"""

import re
from shlex import quote

import pygit2

from merge.objects import GITLINK, Oid
from merge.paths import show
from merge.trees import walk
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository

_PROMISOR = re.compile(r"remote\.(.+)\.promisor")
_FALSE = ("false", "no", "off", "0")


def require_fetched(repository: GitRepository, commit: Oid) -> None:
    """Refuse a commit of a partial clone whose files are not all here. Looks only where there is a promisor.

    Raises:
        RepositoryUnusable: one is not; the first is named.

    """
    remotes = promisors(repository)
    if not remotes:
        return
    try:
        files = (
            item for item in walk(repository.repo, repository.tree_of(commit)) if item[1].mode != GITLINK
        )
        missing = next((show(path) for path, entry in files if entry.oid not in repository.repo), None)
    except (KeyError, pygit2.GitError):
        missing = "a directory"
    if missing is not None:
        of = " and ".join(repr(remote) for remote in remotes)
        fetch = " && ".join(f"git fetch --refetch --no-filter {quote(remote)}" for remote in remotes)
        raise RepositoryUnusable(
            f"{missing} of {str(commit)[:12]} is not here: the repository is a partial clone of {of}",
            hint=f"fetch what is missing: {fetch}",
        )


def promisors(repository: GitRepository) -> list[str]:
    """Name the remotes that promise to have what is missing."""
    named = ((_PROMISOR.fullmatch(entry.name), entry.value) for entry in repository.repo.config)
    return sorted({match[1] for match, value in named if match is not None and value not in _FALSE})
