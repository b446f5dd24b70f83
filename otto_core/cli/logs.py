"""`otto logs`: what a task's command printed, or the last check of what it produced."""

from codecs import getincrementaldecoder
from pathlib import Path

import click

from otto_core.cli import output, select
from otto_core.errors import RepositoryUnusable, UsageError
from otto_core.events import Checked
from otto_core.journal import Journal
from otto_core.state import Run

_PIECE = 1 << 16  # bytes at a time: a log may be one endless line


@click.command()
@click.argument("name", metavar="TASK")
@click.option("--run", "run_name", help="The run, by a unique prefix (default: the newest).")
@click.option("--attempt", "number", type=int, help="The attempt, from 1 (default: the last).")
@click.option("--check", is_flag=True, help="The output of the last check of that attempt instead.")
def logs(*, name: str, run_name: str | None, number: int | None, check: bool) -> None:
    """Print what a task's command printed. TASK is a full id or a unique suffix of one."""
    with select.opened() as (repository, journal):
        run = select.run(journal, run_name)
        task = select.task(run, name)
        attempt = select.attempt(task, number)
        log = _last_check(journal, run, task.id, attempt.number) if check else attempt.start.log
        place = repository.store / "logs" / run.id / log
    _print(place, again=f"otto show {task.id} --run {run.id}")


def _last_check(journal: Journal, run: Run, task: str, attempt: int) -> str:
    """Find the log of the attempt's last check: the one that failed, where one did."""
    events = (stored.event for stored in journal.events(run.id))
    found = [
        e.verdict.log for e in events if isinstance(e, Checked) and (e.task, e.attempt) == (task, attempt)
    ]
    if not found:
        raise UsageError(
            f"nothing of attempt {attempt} of {task} was checked", hint=f"otto show {task} --run {run.id}"
        )
    return found[-1]


def _print(place: Path, *, again: str) -> None:
    """Copy a log of any size to standard output: as it is, or harmless where a terminal would act on it."""
    try:
        file = place.open("rb")
    except OSError as error:
        raise RepositoryUnusable(f"the log {place} cannot be read: {error.strerror}", hint=again) from error
    decoder = getincrementaldecoder("utf-8")("surrogateescape")
    with file:
        while piece := file.readline(_PIECE):
            if output.on_terminal():
                output.text(output.safe_log(decoder.decode(piece)))
            else:
                output.raw(piece)
