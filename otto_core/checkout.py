"""What the user's checkout holds that is not committed, and so is no part of a run. Read, never written."""

from dataclasses import dataclass

from otto_core.errors import RepositoryUnusable
from otto_core.git.program import git
from otto_core.git.repository import GitRepository

TOLD = 5
"""How many paths are named."""


@dataclass(frozen=True, slots=True)
class Dirty:
    """The first paths (at most `TOLD`) with changes that are not committed, and the count of all."""

    paths: tuple[bytes, ...]
    count: int


def dirty_files(repository: GitRepository) -> Dirty | None:
    """List what `git status` lists: changed, staged and untracked paths, a whole new directory as one.

    None where there is no checkout, or it cannot be read: no run depends on it. Git is told to take no
    optional locks, so it does not refresh the index either.
    """
    place = repository.workdir
    if place is None:
        return None
    asked = ("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal")
    try:
        done = git(*asked, git_dir=repository.git_dir, work_tree=place)
    except RepositoryUnusable:  # git hangs or is missing: told where it is needed
        return None
    if done.code != 0:
        return None
    paths = [entry[3:] for entry in done.out.split(b"\0") if entry]  # two letters and a blank go before it
    return Dirty(tuple(paths[:TOLD]), len(paths))
