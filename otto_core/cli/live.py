"""What a person sees while `otto build` runs: a tree that is redrawn on a terminal, else one line an event.

Both go to standard error and are observers: they are told of each event after it is journalled, and nothing
that happens to them changes the run.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from otto_core import events as ev
from otto_core.cli import output
from otto_core.cli.output import Styled, safe
from otto_core.cli.tree import Line, tree
from otto_core.cli.words import introduction, sentence, subject
from otto_core.model import TaskStatus
from otto_core.report import SHORT, counts, format_elapsed, waits_for
from otto_core.state import Run

if TYPE_CHECKING:  # rich takes 40 ms and 4 MB, which only a terminal is worth: whoever draws imports it
    from rich.console import Console, Group
    from rich.text import Text

_QUIET: Final = (ev.PlanStored, ev.LandingStarted, ev.BranchPublished, ev.Shown)
"""Events that tell a person nothing which another does not."""

_TROUBLE: Final = (
    ev.AttemptFailed,
    ev.LandingRejected,
    ev.LandingLost,
    ev.BranchWithheld,
    ev.LockContended,
    ev.RunPaused,
)
"""Events that deserve a lasting line above the tree."""

_FRAMES_PER_S: Final = 8
_FINAL_LINES: Final = 100
"""How long the tree may be that stays on the screen."""


class View(Protocol):
    """An observer with a beginning and an end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def __call__(self, event: ev.Event, run: Run) -> None:
        """Take note of an event and of the state after it."""


def choose() -> View:
    """Give the tree on a terminal that can move its cursor, else the plain lines."""
    able = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Live() if able else Plain()


class Plain:
    """One line for each event that matters, the run's elapsed time in front."""

    def __init__(self) -> None:
        self._introduced = False
        self._watched = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __call__(self, event: ev.Event, run: Run) -> None:
        """Print the event."""
        if not self._introduced and run.stored:
            self._introduced = True
            for told in introduction(run):
                self._print(told)
        if not isinstance(event, _QUIET):
            self._print(plain_line(event, run))

    def _print(self, told: str) -> None:
        if not self._watched:
            return
        try:
            output.line(told, err=True)
        except OSError:  # nobody reads on; the run does not depend on being watched
            self._watched = False


def plain_line(event: ev.Event, run: Run) -> str:
    """Write an event as one line: elapsed time, subject, what happened."""
    return f"{format_elapsed(run.elapsed_s):>8}  {subject(event)}: {sentence(event, run)}"


class Live:
    """The tree of tasks, redrawn in place; what goes wrong stays above it, and its last state at the end."""

    def __init__(self, console: "Console | None" = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console  # noqa: PLC0415 -- see above
        from rich.live import Live as Screen  # noqa: PLC0415 -- see above

        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._run: Run | None = None
        self._told_at = clock()
        self._begun: dict[str, float] = {}
        self._over = False
        self._screen = Screen(
            console=self._console, get_renderable=self._frame, refresh_per_second=_FRAMES_PER_S
        )

    def __enter__(self) -> Self:
        self._screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        with suppress(OSError):  # its terminal is gone; how the run ended is told, or not, by others
            self._screen.stop()

    def __call__(self, event: ev.Event, run: Run) -> None:
        """Take note of the event; the next frame shows it."""
        if (self._run is None or not self._run.stored) and run.stored:
            self._print(Styled("\n".join(map(safe, introduction(run))), dim=True))
        self._run, self._told_at = run, self._clock()
        if isinstance(event, ev.AttemptStarted):
            self._begun[event.task] = self._told_at
        if isinstance(event, _TROUBLE) or (isinstance(event, ev.AttemptInterrupted) and event.lost):
            self._print(Styled(safe(plain_line(event, run)), "yellow"))

    def _print(self, told: Styled) -> None:
        with suppress(OSError):  # the terminal is gone; the run does not depend on being watched
            self._console.print(_text((told,)))

    def _frame(self) -> "Group":
        """Draw the present state; called by the thread that refreshes the screen."""
        from rich.console import Group  # noqa: PLC0415 -- see above

        run = self._run
        if run is None or not run.stored:
            return Group()
        space = _FINAL_LINES if self._over else max(self._console.height - 3, 3)
        drawn = tree(run, lambda name: self._remark(run, name), space=space)
        title = Styled(safe(run.start.intent or run.id), bold=True)
        return Group(*(_text(line, cut=True) for line in [(title,), *drawn, self._foot(run)]))

    def _foot(self, run: Run) -> Line:
        elapsed = run.elapsed_s if self._over else run.elapsed_s + self._clock() - self._told_at
        return (Styled(f"{counts(run)}  {format_elapsed(elapsed)}  {run.id}", dim=True),)

    def _remark(self, run: Run, name: str) -> Styled:
        """Say what goes on with a task."""
        task = run.tasks[name]
        match task.status:
            case TaskStatus.RUNNING:
                took = format_elapsed(self._clock() - self._begun.get(name, self._told_at))
                number = f"attempt {len(task.attempts)} of {task.attempts_allowed(run.spec(name))}"
                return Styled(f"{number}  {took}", "cyan")
            case TaskStatus.PRODUCED:
                checking = run.queue[0] == name and not self._over
                return Styled("checking" if checking else "waits to land", "blue")
            case TaskStatus.LANDED:
                return Styled(f"{(task.commit or '')[:SHORT]}  {run.spec(name).title}", dim=True)
            case TaskStatus.HELD | TaskStatus.FAILED | TaskStatus.SKIPPED if task.reason:
                return Styled(f"{task.reason.kind}: {task.reason.message}", output.MARKS[task.status].colour)
            case TaskStatus.PENDING if task.reason:
                return Styled(f"to be tried again: {task.reason.kind}", "yellow")
            case TaskStatus.PENDING:
                waiting = waits_for(run, name)
                return Styled(f"waits for {waiting}" if waiting else "ready", dim=True)
            case _:
                return Styled(task.status.value, dim=True)


def _text(line: Line, *, cut: bool = False) -> "Text":
    """Give a line for the screen; `cut` where the terminal ends, or wrapped there."""
    from rich.text import Text  # noqa: PLC0415 -- see above

    parts = [(part.text, _style(part)) for part in line]
    return Text.assemble(*parts, no_wrap=cut, overflow="ellipsis" if cut else "fold")


def _style(part: Styled) -> str:
    words = [*(["bold"] if part.bold else []), *(["dim"] if part.dim else []), part.colour or ""]
    return " ".join(filter(None, words)) or "none"
