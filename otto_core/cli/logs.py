"""`otto logs`: what a task's command printed, or the last check of what it produced."""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from pathlib import Path

import click

from otto_core.cli import output, select
from otto_core.errors import RepositoryUnusable, UsageError
from otto_core.events import Checked
from otto_core.journal import Journal
from otto_core.model import Verdict
from otto_core.state import Run

_PIECE = 1 << 16  # bytes at a time: a log may be one endless line


@click.command()
@click.argument("name", metavar="[TASK]", required=False)
@click.option("--run", "run_name", help="The run, by a unique prefix (default: the newest).")
@click.option("--attempt", "number", type=int, help="The attempt, from 1 (default: the last).")
@click.option(
    "--check", is_flag=True, help="The last check of that attempt; without TASK, of the run's result."
)
def logs(*, name: str | None, run_name: str | None, number: int | None, check: bool) -> None:
    """Print what a task's command printed. TASK is a full id or a unique suffix of one."""
    with select.opened() as (repository, journal):
        run = select.run(journal, run_name)
        log = _log_of_run(journal, run, check) if name is None else _log_of(journal, run, name, number, check)
        place = repository.store / "logs" / run.id / log
    _print(place, again=f"otto log {run.id}")


def _log_of(journal: Journal, run: Run, name: str, number: int | None, check: bool) -> str:
    """Name the log of an attempt, or of its last check: the one that failed, if one did."""
    task = select.task(run, name)
    attempt = select.attempt(task, number)
    if not check:
        return attempt.start.log
    found = [
        check.verdict
        for check in _checks(journal, run)
        if (check.task, check.attempt) == (task.id, attempt.number) and not check.baseline
    ]
    if not found:
        raise UsageError(
            f"nothing of attempt {attempt.number} of {task.id} was checked",
            hint=f"otto show {task.id} --run {run.id}",
        )
    return _worst(found).log


def _log_of_run(journal: Journal, run: Run, check: bool) -> str:
    """Name the log of the last final check of the run's result that failed; if none did, of the last."""
    if not check:
        raise UsageError("a task is needed, or `--check` for the run's own checks", hint="otto logs TASK")
    final = [e.verdict for e in _checks(journal, run) if e.task is None and not e.baseline]
    if not final:
        raise UsageError(f"the result of {run.id} has not been checked as a whole", hint=f"otto log {run.id}")
    return _worst(final).log


def _worst(verdicts: list[Verdict]) -> Verdict:
    """Give the last verdict that was not good, or the last one if all were."""
    return ([verdict for verdict in verdicts if verdict.result != "passed"] or verdicts)[-1]


def _checks(journal: Journal, run: Run) -> Iterator[Checked]:
    return (stored.event for stored in journal.events(run.id) if isinstance(stored.event, Checked))


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
