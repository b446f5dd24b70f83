"""`otto build`: run a plan to its end and land the results."""

from pathlib import Path

import click

from otto_core.build import build as run_to_the_end
from otto_core.cli import live, output, select
from otto_core.cli.plan import show_plan, tell_warnings
from otto_core.compose import compose
from otto_core.errors import UsageError
from otto_core.freshness import record_shown
from otto_core.git.repository import GitRepository
from otto_core.presence import landed_in_git
from otto_core.report import document, summary
from otto_core.scheduler import EXIT_CODES


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
    tell_warnings(composed)
    if dry_run:
        show_plan(composed, as_json=as_json)
        return
    with live.choose() as view:
        run = run_to_the_end(
            repository, composed, keep_worktrees=keep_worktrees, observe=view, warn=output.warn
        )
    with select.opened() as (_, journal):
        run = record_shown(repository, journal, run)
    if as_json:
        output.json_document(document(run, landed_in_git(repository, run)))
    else:
        output.lines(summary(run))
    context.exit(EXIT_CODES[run.outcome])
