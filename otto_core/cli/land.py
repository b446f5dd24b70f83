"""`otto land`: bring a run's result into the user's branch, by fast-forward."""

import click

from merge.objects import Oid
from merge.swap import Lost, swap
from otto_core.cli import output, select
from otto_core.errors import RepositoryUnusable, Stale, UsageError
from otto_core.freshness import expectation, record_shown, target_of
from otto_core.git.repository import GitRepository, fast_forward_checkout
from otto_core.refnames import run_ref
from otto_core.state import Run


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--into", "into", help="The branch to move (default: the one that HEAD is on).")
@click.option("--expect-target", help="Refuse unless the target branch is at this commit.")
@click.option("--expect-branch", help="Refuse unless the result is this commit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def land(
    *,
    run_name: str | None,
    into: str | None,
    expect_target: str | None,
    expect_branch: str | None,
    as_json: bool,
) -> None:
    """Bring a run's result into a branch.

    Only a fast-forward is done; anything else is refused with a hint.
    """
    with select.opened() as (view, journal):
        repository = GitRepository.at(view.git_dir)
        run = select.run(journal, run_name)
        result = repository.ref(run_ref(run.id, "tip"))
        if result is None or str(result) == run.start.base:
            raise UsageError(f"{run.id} has landed nothing", hint=f"otto status {run.id}")
        target = f"refs/heads/{into}" if into else target_of(repository)
        if target is None:
            raise UsageError(
                "HEAD is on no branch, so there is no default target", hint="otto land --into BRANCH"
            )
        before = repository.ref(target)
        if before is None:
            raise UsageError(
                f"there is no branch {target.removeprefix('refs/heads/')!r}", hint="git branch --list"
            )
        _require_fresh(repository, run, target, before, result, expect_target, expect_branch)
        _fast_forward(repository, run, target, before, result)
        record_shown(repository, journal, run)
    name = target.removeprefix("refs/heads/")
    if as_json:
        output.json_document({"run": run.id, "target": name, "from": str(before), "to": str(result)})
    else:
        at = str(result)[:12]
        output.line(
            f"{name} is at {at} already" if before == result else f"{name}: {str(before)[:12]} -> {at}"
        )


def _require_fresh(
    repository: GitRepository,
    run: Run,
    target: str,
    at: Oid,
    result: Oid,
    expect_target: str | None,
    expect_branch: str | None,
) -> None:
    """Refuse if target or result moved since a person saw them, or since the given ids."""
    seen = expectation(run, target)
    for what, given, shown, now in (
        (target.removeprefix("refs/heads/"), expect_target, seen.target_commit, at),
        (run.branch, expect_branch, seen.commit, result),
    ):
        expected = _commit(repository, given) if given else shown
        if expected is not None and expected != str(now):
            raise Stale(
                f"{what} is expected at {expected[:12]}, as it was shown, and is at {str(now)[:12]} now",
                hint=f"look again with `otto status {run.id}`, then `otto land {run.id}`",
            )


def _commit(repository: GitRepository, given: str) -> str:
    """Give the id that a revision means; one that names nothing here is an expectation that cannot be met."""
    try:
        return str(repository.resolve(given))
    except RepositoryUnusable:
        return given


def _fast_forward(repository: GitRepository, run: Run, target: str, before: Oid, result: Oid) -> None:
    name = target.removeprefix("refs/heads/")
    if before == result:
        return
    if not repository.repo.descendant_of(result, before):
        raise RepositoryUnusable(
            f"{name} has commits that the result does not stand on, so it cannot be fast-forwarded",
            hint=f"git switch {name} && git merge {run.branch}",
        )
    checkout = repository.checked_out().get(target)
    if checkout is not None:
        fast_forward_checkout(checkout, result)
        return
    match swap(repository.repo, target, before, result):
        case Lost(actual):
            raise Stale(
                f"{name} was moved from {str(before)[:12]} to {str(actual)[:12]} meanwhile",
                hint="otto land again",
            )
        case _:
            return
