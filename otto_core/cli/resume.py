"""`otto resume`: go on with a run."""

from pathlib import Path
from typing import Final

import click

from otto_core.cli import live, output, select
from otto_core.cli.ending import end
from otto_core.cli.waiting import wait_option
from otto_core.delivery import require_branch
from otto_core.execution import claim_orphans
from otto_core.git.repository import GitRepository
from otto_core.kernel import spare_memory
from otto_core.resume import Limits
from otto_core.resume import resume as go_on
from planner.durations import parse_duration

_NONE: Final = "none"


def _read_wall(_context: click.Context, _option: click.Parameter, value: str | None) -> float | str | None:
    """Give the new budget in seconds, or the word for no limit; None where nothing is said."""
    try:
        return value if value in (None, _NONE) else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--wall",
    metavar="DUR",
    callback=_read_wall,
    help="A new `budget.wall` for the whole run, such as `4h`, or `none`.",
)
@click.option("--concurrency", type=click.IntRange(1, 256), help="How many tasks run at once from now on.")
@wait_option
@click.option("--into", metavar="BRANCH", help="When all is well, land the result on this branch.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error."
)
@click.pass_context
def resume(
    context: click.Context,
    *,
    run_name: str | None,
    wall: float | str | None,
    concurrency: int | None,
    wait_s: float | None,
    into: str | None,
    as_json: bool,
) -> None:
    """Continue a run after a crash, an interrupt, an exhausted budget or a wait.

    What its last driver left half done is settled first: landings from Git, processes ended, unfinished work
    kept. A run that is over stays as it is. RUN is a unique prefix; the newest run is the default.
    """
    with select.opened() as (_, journal):
        run_id = select.run_id(journal.run_ids(), run_name)
    repository = GitRepository.discover(Path.cwd())
    target = require_branch(repository, into) if into else None
    spare_memory()
    if context.obj:
        claim_orphans()
    limits = Limits(
        concurrency=concurrency,
        wall_s=wall if isinstance(wall, float) else None,
        unlimited=wall == _NONE,
        lock_wait_s=wait_s,
    )
    with live.choose() as view:
        run = go_on(repository, run_id, limits, observe=view, warn=output.warn)
    context.exit(end(repository, run, into, target, as_json=as_json))
