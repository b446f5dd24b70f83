"""`otto cancel`: bring a run to its end as it is."""

from functools import partial
from pathlib import Path

import click

from otto_core.cli import live, output, select
from otto_core.cli.deciding import tell
from otto_core.cli.ending import tell_end
from otto_core.decide import decide_on
from otto_core.decisions import cancel as decision
from otto_core.environment import person
from otto_core.errors import ExitCode
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.resume import Limits, resume
from otto_core.runlock import is_driven
from otto_core.scheduler import exit_code


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def cancel(context: click.Context, *, run_name: str | None, as_json: bool) -> None:
    """End a run as it is: what executes is ended gently and kept, nothing else begins, what landed stays.

    A driver that lives does it within a second; where there is none, it is done here. RUN is a unique prefix;
    the newest run is the default.
    """
    with select.opened() as (_, journal):
        run_id = select.run_id(journal.run_ids(), run_name)
    repository = GitRepository.discover(Path.cwd())
    decided = decide_on(repository, run_id, partial(decision, by=person()))
    if decided.run.outcome is Outcome.RUNNING and is_driven(repository.store, run_id):
        tell(repository, decided, as_json=as_json)
        return
    with live.choose() as view:
        run = resume(repository, run_id, Limits(), observe=view, warn=output.warn)
    tell_end(repository, run, {}, as_json=as_json)
    context.exit(ExitCode.OK if run.outcome.is_final else exit_code(run))
