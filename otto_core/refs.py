"""How a commit is pinned by a ref of a run."""

from merge.objects import Oid
from merge.swap import Lost, SwapBusy, SwapRefused, swap
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository


def pin(repository: GitRepository, ref: str, commit: Oid) -> None:
    """Make a commit reachable under a name of its own, before anything speaks of it.

    A name that exists is moved.

    Raises:
        RepositoryUnusable: the ref cannot be written, or something else writes it at the same time.

    """
    try:
        outcome = swap(repository.repo, ref, repository.ref(ref), commit)
    except (SwapBusy, SwapRefused, ValueError) as error:
        raise RepositoryUnusable(
            str(error), hint="check `git fsck` and `git for-each-ref refs/otto`"
        ) from error
    match outcome:
        case Lost(actual):
            raise RepositoryUnusable(
                f"{ref} was moved to {actual} while Otto wrote it",
                hint="is another program writing below refs/otto?",
            )
        case _:
            return
