"""What a person was shown: the branch to land on, and the result. `otto land` refuses when either moved."""

from msgspec import Struct

from otto_core import events as ev
from otto_core.errors import RepositoryUnusable, Stale
from otto_core.git.view import RepositoryView
from otto_core.journal import STORE, Appended, Journal
from otto_core.state import Run


class Expectation(Struct, frozen=True):
    """The commits last shown; None where nothing was."""

    target_commit: str | None
    commit: str | None


def target_of(repository: RepositoryView) -> str | None:
    """Name the branch (full ref) that a result would land on: the one checked out.

    None where there is none: in a bare repository, on a detached HEAD, before the first commit.
    """
    return repository.branch_in_use()


def record_shown(repository: RepositoryView, journal: Journal, run: Run) -> Run:
    """Journal what a person is being shown, unless the same was shown last; gives the state after it.

    `journal` may be open for reading only. Best effort: where the store cannot be written, looking must work
    all the same, and `otto land` then expects what was shown before.
    """
    run = journal.refresh(run)
    shown = _shown_now(repository, run)
    if _same(run.shown, shown):
        return run
    try:
        durability = run.settings.durability
        with Journal.open(repository.store / STORE, durability=durability) as writing:
            outcome = writing.append(run, [shown])
    except RepositoryUnusable:
        return run
    return outcome.run if isinstance(outcome, Appended) else run


def expectation(run: Run, target: str) -> Expectation:
    """Give what `otto land` onto a target (full ref) has to find; a target never shown may be anywhere."""
    if run.shown is None:
        return Expectation(None, None)
    return Expectation(run.shown.target_commit if run.shown.target == target else None, run.shown.commit)


def require_fresh(
    run: Run,
    target: str,
    at: object,
    result: object,
    *,
    expect_target: str | None = None,
    expect_branch: str | None = None,
) -> None:
    """Make sure that target (full ref, now `at`) and result are where they were shown, or given, to be.

    What is given are ids of commits; ids are compared as text.

    Raises:
        Stale: either moved; the message shows both ids.

    """
    seen = expectation(run, target)
    for what, given, shown, now in (
        (target.removeprefix("refs/heads/"), expect_target, seen.target_commit, at),
        (run.branch, expect_branch, seen.commit, result),
    ):
        expected = given or shown
        if expected is not None and expected != str(now):
            raise Stale(
                f"{what} is expected at {expected[:12]}, as it was shown, and is at {str(now)[:12]} now",
                hint=f"look again with `otto status {run.id}`, then `otto land {run.id}`",
            )


def _shown_now(repository: RepositoryView, run: Run) -> ev.Shown:
    target = target_of(repository)
    at = repository.ref(target) if target else None
    return ev.Shown(target=target or "", target_commit=str(at) if at else None, commit=run.tip)


def _same(before: ev.Shown | None, now: ev.Shown) -> bool:
    if before is None:
        return False
    return (before.target, before.target_commit, before.commit) == (now.target, now.target_commit, now.commit)
