"""What tasks may write, and whether two tasks are in each other's way. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from merge.patterns import PathSet, PatternError
from otto_core.errors import Locked
from planner.model import Plan, Task


@dataclass(frozen=True, slots=True)
class WriteSet:
    """What a task may write, as patterns: paths of its own, and registries that it shares with others."""

    owns: tuple[str, ...]
    extends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Who:
    """A process, for people: whether it lives is asked of the lock of its run (`otto_core.runlock`)."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"{self.pid}@{self.host}"


@dataclass(frozen=True, slots=True)
class Holder:
    """A task that executes and holds its write set. `since` (UTC) is told to people and decides nothing."""

    run: str
    task: str
    writes: WriteSet
    who: Who
    since: str

    def __str__(self) -> str:
        return f"{self.task!r} of {self.run} ({self.who})"


@dataclass(frozen=True, slots=True)
class Contention:
    """A task that has to wait: a pattern of its own meets one of a task of another run."""

    task: str
    pattern: str
    holder: Holder
    holder_pattern: str

    def __str__(self) -> str:
        return f"{self.holder} is writing {self.holder_pattern}, which meets {self.pattern}"


def write_set(plan: Plan, task: Task) -> WriteSet:
    """Derive what a task may write from its plan."""
    extended = (path for contract in plan.contracts if contract.id in task.extends for path in contract.paths)
    return WriteSet(tuple(task.owns), tuple(extended))


def meeting(mine: WriteSet, theirs: WriteSet) -> tuple[str, str] | None:
    """Give a pattern of each side that could take one path, unless both only extend it; None if none do.

    Two patterns that are too complex to be decided count as meeting.
    """
    for one, other in (
        (mine.owns, theirs.owns),
        (mine.owns, theirs.extends),
        (mine.extends, theirs.owns),
    ):
        for pattern, foreign in product(one, other):
            if _meet(pattern, foreign):
                return pattern, foreign
    return None


def in_the_way(others: Iterable[Holder], task: str, writes: WriteSet) -> Contention | None:
    """Give the first of other runs' tasks that a task has to wait for; None if there is none."""
    for holder in others:
        if (patterns := meeting(writes, holder.writes)) is not None:
            return Contention(task, patterns[0], holder, patterns[1])
    return None


def refusal(found: Iterable[Contention]) -> Locked:
    """Put into an error that tasks cannot start because another run is writing their paths."""
    first, *rest = found
    more = f"; {len(rest)} more of its tasks would have to wait, too" if rest else ""
    return Locked(
        f"the task {first.task!r} has to wait: {first}{more}",
        hint=f"add `--wait` to wait for it; `otto status {first.holder.run}` tells how far it is",
    )


@lru_cache(maxsize=4096)
def _paths(pattern: str) -> PathSet:
    return PathSet.parse((pattern,))


def _meet(pattern: str, foreign: str) -> bool:
    try:
        return _paths(pattern).overlap(_paths(foreign)) is not None
    except PatternError:
        return True
