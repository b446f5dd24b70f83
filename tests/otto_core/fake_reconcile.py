"""What `otto_core.reconcile` and `otto_core.publish` do to Git, made up; it can be cut off where they can.

What is a driver's in steps gives a condition for each next one: `free` where the event loop may turn to other
effects first, `instant` where none of this driver's own can come in between.
"""

from collections.abc import Callable, Generator
from typing import Any, cast

from otto_core import events as ev
from otto_core.reconcile import _has_more, append
from otto_core.recovery import resolve, tip_after
from otto_core.state import Run
from tests.otto_core.world import TIP, Git, Journal, World

Condition = Callable[[], bool]


def free() -> bool:
    """Go on at any time; other effects may go on first."""
    return True


def instant() -> bool:
    """Go on at any time; nothing else of this driver comes in between."""
    return True


def reconcile(world: World, journal: Journal, run: Run) -> Generator[Condition, None, Run]:
    """Settle a started landing from the tip, and publish what landed; gives the state then."""
    git, writer = world.git, cast(Any, journal)
    run = journal.refresh(run)
    if run.landing is not None:
        landing = run.tasks[run.landing].landing
        candidate = git.commits[landing.candidate if landing else run.tip]
        if decided := tip_after(run):
            git.move(TIP, decided)
            yield instant
        run = append(writer, run, *resolve(run, git.tip_of(run), candidate.contracts))
    if _has_more(run) and run.landing is None:
        yield instant
        published = publish(git, run, run.tip)
        yield instant
        why = published.why if isinstance(published, ev.BranchWithheld) else None
        if why is None or run.withheld is None or why != run.withheld.why:
            run = append(writer, run, published)
    return run


def publish(git: Git, run: Run, commit: str) -> ev.BranchPublished | ev.BranchWithheld:
    """Move the result branch, unless it is checked out or somebody moved it; gives what to journal."""
    branch = run.branch
    expected = run.published.commit if run.published else None
    if git.refs.get(f"refs/heads/{branch}") == commit:
        return ev.BranchPublished(branch=branch, commit=commit)
    if git.checked_out == branch:
        return ev.BranchWithheld(branch=branch, why="it is checked out")
    number = 1
    while expected is None and f"refs/heads/{branch}" in git.refs:
        number += 1
        branch = f"otto/test-{number}"
    if not git.swap(f"refs/heads/{branch}", expected, commit):
        return ev.BranchWithheld(branch=branch, why="someone moved it")
    return ev.BranchPublished(branch=branch, commit=commit)
