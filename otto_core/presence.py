"""What Git itself says has landed: a task has if a commit with its trailers stands between base and tip."""

from merge.candidate import Landed
from merge.objects import Oid
from otto_core.git.repository import GitRepository
from otto_core.refs import run_ref
from otto_core.state import Run


def landed_in_git(repository: GitRepository, run: Run) -> frozenset[str]:
    """Name the tasks whose commits are on the first-parent chain of the run's tip, as it is now.

    Empty where the tip is gone, or does not stand on the run's base.
    """
    tip = repository.ref(run_ref(run.id, "tip"))
    if tip is None:
        return frozenset()
    landed = Landed(Oid(hex=run.start.base))
    try:
        landed.update(repository.repo, tip)
    except ValueError:
        return frozenset()
    return frozenset(landed.tasks(run.id))
