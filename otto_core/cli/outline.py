"""A compiled plan for a person who is to say yes or no to it: all that would execute, and what with.

Nothing that would execute is left out: long lines are broken, not cut. Of a prompt, which does not execute,
the first line stands for all. What a plan says is made safe before its width is measured.
"""

from collections.abc import Iterator
from textwrap import wrap

from otto_core.cli.output import safe
from otto_core.compose import Composed, Locking
from otto_core.config import Settings
from otto_core.sandbox import Unusable, Usable, probe
from planner.durations import format_duration
from planner.model import Command, Plan, Task

_WIDTH = 80


def outline(composed: Composed, locking: Locking) -> Iterator[str]:
    """Give the lines: tasks by generation, run-wide commands, then what keeps runs and commands apart."""
    plan, settings = composed.plan, composed.settings
    for generation in sorted({task.generation for task in plan.tasks}):
        yield f"  generation {generation + 1}"
        for task in plan.tasks:
            if task.generation == generation:
                yield from _task(task)
    yield from _run_wide(plan, settings)
    yield from _broken("  ", f"sandbox {_sandbox(settings)}; locks {_locks(locking)}")


def _task(task: Task) -> Iterator[str]:
    parts = [
        task.id,
        *(["(foundation)"] if task.role == "foundation" else []),
        "owns " + ", ".join(task.owns),
        *(["extends " + ", ".join(task.extends)] if task.extends else []),
        *(["after " + ", ".join(task.depends_on)] if task.depends_on else []),
    ]
    yield from _broken("    ", "  ".join(parts))
    if task.run is not None:
        yield from _labelled("      run: ", task.run)
    if task.prompt:
        first, *more = task.prompt.strip("\n").split("\n")
        counted = f" (and {len(more)} more line{'s' if len(more) > 1 else ''})" if more else ""
        yield from _broken("      prompt: ", f"{first}{counted}")
    for check in task.verify:
        yield from _labelled("      check: ", check)


def _run_wide(plan: Plan, settings: Settings) -> Iterator[str]:
    for command in plan.setup.commands if plan.setup else ():
        yield from _labelled("  setup of a worktree: ", command)
    if settings.worktrees.copy:
        yield from _broken("  copied into worktrees: ", ", ".join(settings.worktrees.copy))
    for check in plan.verify.each:
        yield from _labelled("  before every landing: ", check)
    if not plan.verify.each:
        yield "  before every landing: no run-wide check"
    for check in plan.verify.final:
        yield from _labelled("  of the result: ", check)
    if settings.worktrees.isolation == "linked":
        yield "  worktrees linked to your repository: its config, hooks, stash, refs are theirs"


def _labelled(label: str, command: Command) -> Iterator[str]:
    """Give a command below its label, a line for each of its own."""
    for number, text in enumerate(command.text.rstrip("\n").split("\n")):
        yield from _broken(label if number == 0 else " " * len(label), text)


def _broken(before: str, text: str) -> list[str]:
    """Break a line that is too wide; what follows stands further in than its beginning."""
    indent = " " * (len(before) + 2)
    pieces = wrap(
        safe(text),
        _WIDTH,
        initial_indent=before,
        subsequent_indent=indent,
        expand_tabs=False,
        replace_whitespace=False,
        drop_whitespace=False,
        break_on_hyphens=False,
    )
    return [piece.rstrip(" ") for piece in pieces] or [before.rstrip(" ")]


def _sandbox(settings: Settings) -> str:
    """Say what a build started now would use."""
    if settings.sandbox == "subreaper":
        return "subreaper"
    match probe():
        case Usable():
            return "bwrap"
        case Unusable(why) if settings.sandbox == "bwrap":
            return f"bwrap, which a build would refuse to do without: {why}"
        case Unusable():
            return "subreaper"


def _locks(locking: Locking) -> str:
    if not locking.held:
        return "unlocked"
    if locking.wait_s is None:
        return "held, waiting without limit"
    return f"held, waiting up to {format_duration(locking.wait_s)}" if locking.wait_s else "held"
