"""How a commit is pinned by a ref of a run, and how it is let go."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from merge.objects import Oid
from merge.swap import Lost, SwapBusy, SwapRefused, swap, value
from otto_core.errors import RepositoryUnusable
from otto_core.git.program import git, unless_killed
from otto_core.git.repository import GitRepository


def pin(repository: GitRepository, ref: str, commit: Oid) -> None:
    """Make a commit reachable under a name of its own, before anything speaks of it.

    A name that exists is moved.

    Raises:
        RepositoryUnusable: the ref cannot be written, or something else writes it at the same time.

    """
    try:
        outcome = swap(repository.repo, ref, value(repository.repo, ref), commit)
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


def unpin(repository: GitRepository, refs: Mapping[str, str]) -> list[str]:
    """Delete refs, each only from the commit where it was seen; gives those that have moved from there.

    Git does it, under its lock of the packed refs, from what it reads under that lock. Of a symbolic ref, the
    ref itself goes, and not what it names.

    Raises:
        RepositoryUnusable: one cannot be deleted.

    """
    if _refusal_to_delete(repository, refs) is None:
        return []
    moved = []
    for ref, at in refs.items():
        if (why := _refusal_to_delete(repository, {ref: at})) is None:
            continue
        now = repository.ref(ref)
        if str(now) == at:
            raise RepositoryUnusable(f"{ref} cannot be deleted: {why}", hint=f"git update-ref -d {ref} {at}")
        if now is not None:
            moved.append(ref)
    return moved


def _refusal_to_delete(repository: GitRepository, refs: Mapping[str, str]) -> str | None:
    """Delete refs, all or none; gives what git says against it."""
    orders = "".join(f"option no-deref\0delete {ref}\0{at}\0" for ref, at in refs.items())
    done = git("update-ref", "-z", "--stdin", git_dir=repository.common_dir, stdin=orders.encode())
    unless_killed(done, "the git that deleted refs")
    return None if done.code == 0 else done.err.decode("utf-8", "replace").strip()


def locks_below(place: Path) -> Iterator[Path]:
    """List the lock files of the refs below a directory, if there is one.

    Git makes and removes both lock files and directories at any time: what goes meanwhile is left out.
    """
    for directory, _, names in os.walk(place):
        yield from (Path(directory, name) for name in names if name.endswith(".lock"))
