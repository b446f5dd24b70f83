"""The tasks of a run as a tree of generations: what `otto graph` prints and the live view redraws. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from msgspec.structs import replace

from otto_core.cli.output import MARKS, Styled, safe, symbol
from otto_core.model import TaskStatus
from otto_core.state import Run
from planner.model import Task

Line = tuple[Styled, ...]
"""One line on the screen, its texts already safe."""

Remark = Callable[[str], Styled]
"""What to write beside a task, by its id."""

_AT_REST = frozenset({TaskStatus.PENDING, TaskStatus.LANDED, TaskStatus.UNCHANGED})


def generations(run: Run) -> list[tuple[int, list[Task]]]:
    """Group the tasks by generation (counted from 1), in the order of the plan within each."""
    ordered = sorted(run.plan.tasks, key=lambda task: task.generation)
    return [(number + 1, list(tasks)) for number, tasks in groupby(ordered, key=lambda task: task.generation)]


def tree(run: Run, remark: Remark, *, space: int | None = None) -> list[Line]:
    """Draw the tasks in at most `space` lines (None: as many as it takes).

    Where they do not fit, what is at rest is counted beside its generation, and only what moves or is in
    trouble keeps a line.
    """
    levels = generations(run)
    if space is None or len(levels) + len(run.tasks) <= space:
        return _drawn(run, [(number, tasks, []) for number, tasks in levels], remark)
    return _drawn(run, _compact(run, levels, space), remark)


_Level = tuple[int, Sequence[Task], Sequence[Task]]
"""A generation: its number, the tasks that get a line, and those that are only counted."""


def _compact(run: Run, levels: Iterable[tuple[int, list[Task]]], space: int) -> list[_Level]:
    compact: list[_Level] = []
    for number, tasks in levels:
        moving = [task for task in tasks if run.tasks[task.id].status not in _AT_REST]
        if not moving or space < 2:
            continue
        shown = moving[: space - 1]
        compact.append((number, shown, [task for task in tasks if task not in shown]))
        space -= 1 + len(shown)
    return compact


def _drawn(run: Run, levels: Sequence[_Level], remark: Remark) -> list[Line]:
    width = max((len(task.id) for _, tasks, _ in levels for task in tasks), default=0)
    lines: list[Line] = []
    for place, (number, tasks, hidden) in enumerate(levels):
        last = place == len(levels) - 1
        more = f" ({_counted(run, hidden)} not shown)" if hidden else ""
        lines.append((Styled("└─ " if last else "├─ "), Styled(f"generation {number}{more}", dim=True)))
        for task in tasks:
            bar = "   " if last else "│  "
            branch = "└─ " if task is tasks[-1] else "├─ "
            status, said = run.tasks[task.id].status, remark(task.id)
            said = replace(said, text=safe(said.text))
            name = Styled(task.id.ljust(width + 2) if said.text else task.id, MARKS[status].colour)
            lines.append((Styled(bar + branch), symbol(status), Styled(" "), name, said))
    return lines


def _counted(run: Run, tasks: Sequence[Task]) -> str:
    counts = Counter(run.tasks[task.id].status for task in tasks)
    return ", ".join(f"{counts[status]} {status}" for status in TaskStatus if counts[status])
