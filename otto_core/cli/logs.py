"""`otto logs`: what a task's command printed, or the last check of what it produced."""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from otto_core.cli import output, select
from otto_core.cli.looking import POLL_S, patiently
from otto_core.cli.output import Styled
from otto_core.errors import RepositoryUnusable, UsageError
from otto_core.events import Checked, SetupEnded
from otto_core.follow import PIECE
from otto_core.follow import follow as follow_file
from otto_core.git.view import RepositoryView
from otto_core.journal import Journal
from otto_core.model import Outcome, Verdict
from otto_core.runlock import is_driven
from otto_core.state import Attempt, Run

_UNFINISHED: Final = re.compile(r"(?:\r|\x1b(?:\[[0-9;:]{0,32})?)\Z")
"""A line end or a colour that goes on in the next piece, perhaps."""


@click.command()
@click.argument("name", metavar="[TASK]", required=False)
@click.option("--run", "run_name", help="The run, by a unique prefix (default: the newest).")
@click.option("--attempt", "number", type=int, help="The attempt, from 1 (default: the last).")
@click.option(
    "--check", is_flag=True, help="The last check of that attempt; without TASK, of the run's result."
)
@click.option(
    "--setup", is_flag=True, help="The setup of that attempt's worktrees; without TASK, of the run's checks."
)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Go on as it prints, until the attempt is over or nobody drives the run.",
)
def logs(
    *, name: str | None, run_name: str | None, number: int | None, check: bool, setup: bool, follow: bool
) -> None:
    """Print what a task's command printed. TASK is a full id or a unique suffix of one."""
    with select.opened() as (repository, journal):
        run = select.run(journal, run_name)
        if run.cleaned is not None:
            raise UsageError(
                f"the logs of {run.id} were removed by `otto clean`",
                hint=f"otto log {run.id} has its journal",
            )
        if follow:
            _follow(repository, journal, run, name, number=number, check=check or setup)
            return
        if setup:
            log = _log_of_setup(journal, run, name, number)
        elif name is None:
            log = _log_of_run(journal, run, check)
        else:
            log = _log_of(journal, run, name, number, check)
        place = repository.store / "logs" / run.id / log
    _print(place, again=f"otto log {run.id}")


def _log_of_setup(journal: Journal, run: Run, name: str | None, number: int | None) -> str:
    """Name the log of the setup for an attempt, or for the run's checks: one that failed, if one did."""
    whose: tuple[str | None, int | None] = (None, None)
    if name is not None:
        task = select.task(run, name)
        whose = (task.id, select.attempt(run, task, number).number)
    events = (stored.event for stored in journal.events(run.id))
    ended = [e for e in events if isinstance(e, SetupEnded) and (e.task, e.attempt) == whose]
    if not ended:
        raise UsageError(
            "no worktree was set up then: none is configured, or what it made still held",
            hint=f"otto log {run.id}",
        )
    return ([one for one in ended if one.result != "passed"] or ended)[-1].log


def _log_of(journal: Journal, run: Run, name: str, number: int | None, check: bool) -> str:
    """Name the log of an attempt, or of its last check: the one that failed, if one did."""
    task = select.task(run, name)
    attempt = select.attempt(run, task, number)
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
        raise _unreadable(place, error, again) from error
    screen = Screen()
    with file:
        while piece := file.read(PIECE):
            screen.show(piece)
    screen.close()


def _unreadable(place: Path, error: OSError, again: str) -> RepositoryUnusable:
    return RepositoryUnusable(f"the log {place} cannot be read: {error.strerror}", hint=again)


class Screen:
    """Where a log's bytes go, piece by piece. What a terminal could act on never reaches one.

    A character, colour or line end that a piece cuts in two is shown with the next piece.
    """

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("surrogateescape")
        self._held = ""

    def show(self, piece: bytes) -> None:
        """Print a piece."""
        if not output.on_terminal():
            output.raw(piece)
            return
        text = self._held + self._decoder.decode(piece)
        cut = _UNFINISHED.search(text)
        self._held = cut[0] if cut else ""
        output.text(output.safe_log(text.removesuffix(self._held)))

    def close(self) -> None:
        """Print what the last piece left open."""
        if rest := self._held + self._decoder.decode(b"", final=True):
            output.text(output.safe_log(rest))


@dataclass(slots=True)
class Watched:
    """An attempt that may still run, or has yet to begin; `number` None is the last, once there is one."""

    repository: RepositoryView
    journal: Journal
    run: Run
    task: str
    number: int | None
    driven: bool = True

    def attempt(self) -> Attempt | None:
        """Give the attempt as last seen; None while it has not begun."""
        attempts = self.run.tasks[self.task].attempts
        if self.number is None and attempts:
            self.number = len(attempts)
        return attempts[self.number - 1] if self.number and self.number <= len(attempts) else None

    def over(self) -> bool:
        """Look again: True when the attempt has ended, or will not begin, or nobody is left to end it."""
        self.driven = is_driven(self.repository.store, self.run.id)
        self.run = self.journal.refresh(self.run)
        attempt = self.attempt()
        if attempt is not None and attempt.end is not None:
            return True
        return not self.driven or self.run.outcome is not Outcome.RUNNING or self._settled

    @property
    def _settled(self) -> bool:
        return self.run.tasks[self.task].status.settled

    def end(self) -> str:
        """Say in words why there is nothing more to follow."""
        attempt = self.attempt()
        named = f"attempt {self.number} of {self.task}" if self.number else self.task
        if attempt is None:
            return f"{named} did not begin: the task is {self.run.tasks[self.task].status}"
        if attempt.end is not None:
            return f"{named} has ended: {attempt.end.type.removeprefix('attempt_')}"
        return f"{named} is not followed any more: nobody drives {self.run.id}"


def _follow(
    repository: RepositoryView,
    journal: Journal,
    run: Run,
    name: str | None,
    *,
    number: int | None,
    check: bool,
) -> None:
    if name is None or check:
        raise UsageError("only what a task's command prints can be followed", hint="otto logs TASK -f")
    if number is not None and number < 1:
        raise UsageError("attempts count from 1", hint=f"otto show {name}")
    _print_as_it_grows(Watched(repository, journal, run, select.task(run, name).id, number))


def _print_as_it_grows(watched: Watched) -> None:
    """Follow the log of an attempt to its end, and say on standard error what that was."""
    with patiently() as wait:
        while watched.attempt() is None and not watched.over():
            wait(POLL_S)
        attempt = watched.attempt()
        if attempt is not None:
            screen = Screen()
            for piece in _pieces(watched, attempt.start.log, wait):
                screen.show(piece)
                output.flush()
                wait(0)
            screen.close()
    output.line(Styled(watched.end(), dim=True), err=True)


def _pieces(watched: Watched, log: str, wait: Callable[[float], None]) -> Iterator[bytes]:
    place = watched.repository.store / "logs" / watched.run.id / log
    try:
        yield from follow_file(place, over=watched.over, pause=lambda: wait(POLL_S))
    except OSError as error:
        raise _unreadable(place, error, f"otto log {watched.run.id}") from error
