"""`otto build`: run a plan to its end and land the results."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from otto_core.cli import live, output
from otto_core.cli.plan import show_plan
from otto_core.compose import Composed, compose, run_settings, slug_of
from otto_core.driver import Driver, create_run, new_run_id
from otto_core.errors import UsageError
from otto_core.freshness import record_shown
from otto_core.git import GitRepository
from otto_core.journal import Journal
from otto_core.reconcile import reconcile_all
from otto_core.report import document, summary
from otto_core.runlock import hold
from otto_core.scheduler import EXIT_CODES
from otto_core.session import Observer, Session
from otto_core.state import Run
from otto_core.worktrees import worktree_root


@click.command()
@click.argument("intent", required=False)
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="The plan file (YAML or JSON).")
@click.option("--base", help="Start from this revision (default: the plan's `base`, else HEAD).")
@click.option("--concurrency", type=click.IntRange(1, 256), help="How many tasks run at once.")
@click.option("--dry-run", is_flag=True, help="Check the plan and show what would run; write nothing.")
@click.option("--keep-worktrees", is_flag=True, help="Keep every attempt's worktree as it was left.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error."
)
@click.pass_context
def build(
    context: click.Context,
    *,
    intent: str | None,
    plan_file: Path | None,
    base: str | None,
    concurrency: int | None,
    dry_run: bool,
    keep_worktrees: bool,
    as_json: bool,
) -> None:
    """Run a plan: execute its tasks, check and land their results on a branch of their own."""
    if plan_file is None:
        raise UsageError(
            "a plan file is needed"
            if intent is None
            else "planning from an intent is not part of this version",
            hint="otto build --plan FILE",
        )
    repository = GitRepository.discover(Path.cwd())
    overrides = {} if concurrency is None else {"concurrency": concurrency}
    composed = compose(repository, plan_file, base=base, overrides=overrides)
    if dry_run:
        show_plan(composed, as_json=as_json)
        return
    run = run_plan(repository, composed, keep_worktrees=keep_worktrees, observe=live.choose())
    if as_json:
        output.json_document(document(run))
    else:
        output.lines(summary(run))
    context.exit(EXIT_CODES[run.outcome])


def run_plan(
    repository: GitRepository, composed: Composed, *, keep_worktrees: bool = False, observe: live.View
) -> Run:
    """Start a run and drive it to its end or a pause; gives its last state.

    Raises:
        RepositoryUnusable: the repository, its store or the worktrees cannot be used.

    """
    with ExitStack() as stack:
        journal = stack.enter_context(Journal.open(repository.store / "otto.db"))
        reconcile_all(repository, journal)
        run_id = new_run_id(datetime.now(UTC), journal.run_ids())
        stack.enter_context(hold(repository.store, run_id))
        run = create_run(
            repository,
            journal,
            composed.plan,
            run_settings(composed.settings, composed.plan, keep_worktrees=keep_worktrees),
            run_id=run_id,
            prefix=composed.settings.branch_prefix,
            slug=slug_of(composed.plan.intent),
        )
        stack.enter_context(observe)
        worktrees = worktree_root(repository, composed.settings.worktrees.root)
        run = asyncio.run(_drive(run, journal, repository, composed, worktrees, observe))
        return record_shown(repository, journal, run)


async def _drive(
    run: Run,
    journal: Journal,
    repository: GitRepository,
    composed: Composed,
    worktrees: Path,
    observe: Observer,
) -> Run:
    session = Session(run, journal, repository, composed.settings, worktrees, observe)
    return await Driver(session).drive()
