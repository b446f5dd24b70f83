"""The refs that Otto writes for a run, and how a commit is pinned by one."""

from merge.objects import Oid
from merge.swap import Lost, SwapBusy, SwapRefused, swap
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository


def run_ref(run: str, *parts: str) -> str:
    """Name a ref of a run; `/` of a task id is written `.`."""
    return "/".join(("refs/otto/runs", run, *(part.replace("/", ".") for part in parts)))


def task_ref(run: str, task: str, name: str) -> str:
    """Name a ref of a task of a run."""
    return run_ref(run, "tasks", task, name)


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
