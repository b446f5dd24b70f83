"""`otto log`: the journal of a run, one event a line."""

import click

from otto_core.cli import output, select
from otto_core.cli.output import Styled
from otto_core.cli.words import sentence, subject
from otto_core.journal import Stored
from otto_core.model import json_of


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON Lines: seq, at, type and body of each event."
)
def log(*, run_name: str | None, as_json: bool) -> None:
    """Print the journal of a run, one event a line, oldest first."""
    with select.opened() as (_, journal):
        run = select.run(journal, run_name)
        width = max(map(len, ("run", *run.tasks)))
        for stored in journal.events(run.id):
            if as_json:
                output.json_line(event_document(stored))
            else:
                about = Styled(subject(stored.event).ljust(width), "cyan")
                output.line(
                    f"{stored.seq:>5}  {clock(stored.at)}  ", about, f"  {sentence(stored.event, run)}"
                )


def event_document(stored: Stored) -> dict[str, object]:
    """Give a journalled event as its row in JSON."""
    event = stored.event
    body = json_of(event)
    return {"seq": stored.seq, "at": stored.at, "type": body.pop("type"), "body": body}


def clock(at: str) -> str:
    """Shorten a time of the journal (UTC, ISO 8601) to `2026-11-20 19:01:02.345`."""
    return at[:23].replace("T", " ")
