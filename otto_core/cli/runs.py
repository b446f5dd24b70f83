"""`otto runs`: the runs of a repository, oldest first."""

from pathlib import Path

import click

from otto_core.cli import output
from otto_core.cli.output import OUTCOME_COLOURS, Styled
from otto_core.git.view import ProgramView
from otto_core.journal import STORE, Journal
from otto_core.report import landed_count
from otto_core.runlock import as_seen
from otto_core.state import Run


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def runs(*, as_json: bool) -> None:
    """List the runs of this repository, oldest first."""
    found = _all_runs()
    if as_json:
        output.json_document({"runs": [_document(run, at) for run, at in found]})
    elif found:
        output.table(_row(run, at) for run, at in found)
    else:
        output.line("There are no runs in this repository yet. Start one: otto build --plan FILE")


def _all_runs() -> list[tuple[Run, str]]:
    """Load every run, with the time (UTC, ISO 8601) of its first event."""
    repository = ProgramView.discover(Path.cwd())
    journal = Journal.read(repository.store / STORE)
    if journal is None:
        return []
    with journal:
        return [
            (as_seen(repository.store, journal.load(name), journal.refresh), next(journal.events(name)).at)
            for name in journal.run_ids()
        ]


def _document(run: Run, at: str) -> dict[str, object]:
    return {
        "run": run.id,
        "outcome": run.outcome.value,
        "started": at,
        "intent": run.start.intent,
        "base": run.start.base,
        "branch": run.branch,
        "tip": run.tip,
        "tasks": len(run.tasks),
        "landed": landed_count(run),
    }


def _row(run: Run, at: str) -> tuple[str | Styled, ...]:
    return (
        run.id,
        Styled(run.outcome.value, OUTCOME_COLOURS[run.outcome]),
        at[:16].replace("T", " ") + "Z",
        f"{landed_count(run)}/{len(run.tasks)} landed",
        run.branch,
        Styled(run.start.intent, dim=True),
    )
