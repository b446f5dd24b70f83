"""`otto log`: the journal of a run, one event a line."""

import click

from otto_core.cli import output, select
from otto_core.cli.looking import POLL_S, patiently
from otto_core.cli.output import Styled
from otto_core.cli.words import sentence, subject
from otto_core.journal import Stored
from otto_core.model import Outcome, json_of
from otto_core.runlock import is_driven
from otto_core.state import Run


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "-f", "--follow", is_flag=True, help="Go on as events come, until the run ends or nobody drives it."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON Lines: seq, at, type and body of each event."
)
def log(*, run_name: str | None, follow: bool, as_json: bool) -> None:
    """Print the journal of a run, one event a line, oldest first."""
    with select.opened() as (repository, journal), patiently() as wait:
        run = select.run(journal, run_name)
        printed = 0
        while True:
            driven = follow and is_driven(repository.store, run.id)
            run = journal.refresh(run)
            for stored in journal.events(run.id, after=printed):
                _print(stored, run, as_json=as_json)
                printed = stored.seq
                wait(0)
            if not driven or run.outcome is not Outcome.RUNNING:
                break
            wait(POLL_S)
    if follow and run.outcome is Outcome.RUNNING:
        output.warn(f"nobody drives {run.id} any more; it was driven by {run.driver}")


def _print(stored: Stored, run: Run, *, as_json: bool) -> None:
    if as_json:
        output.json_line(event_document(stored))
        return
    about = Styled(subject(stored.event).ljust(max(map(len, ("run", *run.tasks)))), "cyan")
    output.line(f"{stored.seq:>5}  {clock(stored.at)}  ", about, f"  {sentence(stored.event, run)}")


def event_document(stored: Stored) -> dict[str, object]:
    """Give a journalled event as its row in JSON."""
    event = stored.event
    body = json_of(event)
    return {"seq": stored.seq, "run": stored.run_id, "at": stored.at, "type": body.pop("type"), "body": body}


def clock(at: str) -> str:
    """Shorten a time of the journal (UTC, ISO 8601) to `2026-11-20 19:01:02.345`."""
    return at[:23].replace("T", " ")
