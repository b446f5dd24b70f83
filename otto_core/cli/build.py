"""`otto build`: run a plan to its end and land the results."""

import sys
from pathlib import Path

import click

from otto_core.build import build as run_to_the_end
from otto_core.build import require_place
from otto_core.cli import live, output
from otto_core.cli.ending import end
from otto_core.cli.plan import require_plan, show_plan, tell_warnings
from otto_core.cli.waiting import wait_option
from otto_core.compose import Composed, Locking, compose
from otto_core.delivery import require_branch
from otto_core.errors import Interrupted, UsageError
from otto_core.execution import claim_orphans
from otto_core.git.repository import GitRepository
from otto_core.kernel import spare_memory


@click.command()
@click.argument("intent", required=False)
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="The plan file (YAML or JSON).")
@click.option("--base", help="Start from this revision (default: the plan's `base`, else HEAD).")
@click.option("--concurrency", type=click.IntRange(1, 256), help="How many tasks run at once.")
@click.option("--dry-run", is_flag=True, help="Check the plan and show what would run; write nothing.")
@wait_option
@click.option(
    "--no-locks", is_flag=True, help="Run beside others that write the same paths, and unseen by them."
)
@click.option("--approve", is_flag=True, help="Show the plan and ask before anything is written.")
@click.option("--into", metavar="BRANCH", help="When all is well, land the result on this branch.")
@click.option("--keep-worktrees", is_flag=True, help="Keep every attempt's worktree as it was left.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error."
)
@click.pass_context
def build(  # noqa: PLR0913 -- a parameter for each option
    context: click.Context,
    *,
    intent: str | None,
    plan_file: Path | None,
    base: str | None,
    concurrency: int | None,
    dry_run: bool,
    wait_s: float | None,
    no_locks: bool,
    approve: bool,
    into: str | None,
    keep_worktrees: bool,
    as_json: bool,
) -> None:
    """Run a plan: execute its tasks, check and land their results on a branch of their own."""
    given = require_plan("build", intent, plan_file)
    if no_locks and wait_s != 0:
        raise UsageError(
            "`--wait` waits for locks, and `--no-locks` takes none", hint="leave one of them out"
        )
    if approve and not dry_run and not sys.stdin.isatty():
        raise UsageError(
            "`--approve` needs a terminal to ask on",
            hint="look with `--dry-run`, then build without it",
        )
    repository = GitRepository.discover(Path.cwd())
    target = require_branch(repository, into) if into else None
    overrides = {} if concurrency is None else {"concurrency": concurrency}
    composed = compose(repository, given, base=base, overrides=overrides)
    locking = Locking(held=not no_locks, wait_s=wait_s)
    tell_warnings(composed)
    if dry_run:
        show_plan(composed, locking, as_json=as_json)
        return
    require_place(repository)
    if approve:
        _ask(composed, locking)
    spare_memory()
    if context.obj:
        claim_orphans()
    with live.choose() as view:
        run = run_to_the_end(
            repository,
            composed,
            keep_worktrees=keep_worktrees,
            locking=locking,
            observe=view,
            warn=output.warn,
        )
    context.exit(end(repository, run, into, target, as_json=as_json))


def _ask(composed: Composed, locking: Locking) -> None:
    """Show the plan on standard error and ask. What is approved is what executes: nothing is read again.

    Raises:
        Interrupted: the answer was no; nothing was written.

    """
    show_plan(composed, locking, as_json=False, err=True)
    if not click.confirm("Run this plan?", err=True):
        raise Interrupted("not approved; nothing was written", hint="change the plan, then build again")
