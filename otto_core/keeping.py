"""Keep what an attempt wrote, before the journal speaks of its end.

Two things are told apart. That a worktree cannot be read as a tree is the attempt's own doing, and its end.
That the machine refuses, or that Otto cannot make a commit of what was read, is not: it stops the run, the
worktree and its note stay as they are, and the next driver salvages them.
"""

from dataclasses import dataclass
from pathlib import Path

from merge.objects import Oid
from otto_core import events as ev
from otto_core.admission import scope_of
from otto_core.aside import put_aside
from otto_core.errors import RepositoryUnusable
from otto_core.evidence import keep_history, summary_of
from otto_core.git.repository import GitRepository, commit_tree
from otto_core.judgement import beyond_capture
from otto_core.model import Reason
from otto_core.refnames import task_ref
from otto_core.refs import pin
from otto_core.refusals import is_of_the_machine
from otto_core.session import Session
from otto_core.slots import Slot
from otto_core.snapshot import Captured, capture
from planner.model import Task


@dataclass(frozen=True, slots=True)
class Kept:
    """What an attempt wrote, as it was captured, and the commit that a ref of its own holds it by."""

    captured: Captured
    commit: Oid
    aside: Path | None
    """Where its worktree was set aside, if it was: not all that is in it is in the commit."""
    summary: tuple[str, ...]
    """What the attempt says of itself."""


def keep(session: Session, slot: Slot, started: ev.AttemptStarted, task: Task) -> Kept | Reason:
    """Keep what an attempt wrote; gives why its worktree cannot be read where it is the attempt's own doing.

    The attempt's processes must be gone. Runs off the event loop.

    Raises:
        OSError, GitError, RepositoryUnusable: the machine refused something, or no commit of it could be
            made or pinned.

    """
    run, repository = session.run, session.repository.here()
    owns = scope_of(run.plan, task).owns
    evidence = task_ref(run.id, task.id, f"evidence-{started.attempt}")
    subjects = keep_history(repository, slot, Oid(hex=started.base), evidence)
    try:
        captured = capture(slot, repository, owns, run.settings.max_file_bytes)
    except (OSError, RecursionError, ValueError, KeyError, RepositoryUnusable) as error:
        if is_of_the_machine(error):
            raise
        return beyond_capture(started, error)
    commit = _pinned(run.id, repository, started, captured)
    summary = (*summary_of(slot), *(subjects or ()))
    aside = None
    if captured.odd or subjects is None or run.settings.keep_worktrees:
        aside = put_aside(slot, run.id, task.id, started.attempt)
    return Kept(captured, commit, aside, summary)


def _pinned(run: str, repository: GitRepository, started: ev.AttemptStarted, captured: Captured) -> Oid:
    """Make what the attempt wrote a commit under a ref of its own."""
    commit = commit_tree(
        repository,
        tree=captured.tree,
        parents=[Oid(hex=started.base)],
        message=f"{started.task}: attempt {started.attempt} of {run}\n",
        committer=repository.author(),
    )
    pin(repository, task_ref(run, started.task, f"attempt-{started.attempt}"), commit)
    return commit
