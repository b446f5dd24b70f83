"""What Git itself says has landed: a task has if a commit with its trailers stands between base and tip."""

from merge.trailers import parse
from otto_core.git.view import RepositoryView
from otto_core.refnames import run_ref
from otto_core.state import Run


def landed_in_git(repository: RepositoryView, run: Run) -> frozenset[str]:
    """Name the tasks whose commits are on the first-parent chain of the run's tip, as it is now.

    Empty where the tip is gone, or does not stand on the run's base. The ref of a run that was cleaned is
    gone on purpose: its commits are asked, which are on a branch.
    """
    tip = run.tip if run.cleaned else repository.ref(run_ref(run.id, "tip"))
    messages = repository.messages_since(run.start.base, str(tip)) if tip else None
    landings = [said for said in map(parse, messages or ()) if said and said.run == run.id]
    return frozenset(task for said in landings for task in (said.task, *said.for_))
