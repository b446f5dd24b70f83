"""Rules about what comes before what: foundations before features, and no cycles (O1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from planner.draft import Draft, DraftTask
from planner.graph import Order, knots, measure


@dataclass(frozen=True, slots=True)
class Ordered:
    """The tasks in order: `after` gives all direct predecessors, those written and then those implied.

    Of the tasks `unsure`, something that they wait for could not be read, or is part of a fault.
    """

    after: Mapping[str, tuple[str, ...]]
    order: Order
    unsure: frozenset[str]


def order_tasks(draft: Draft) -> Ordered:
    """Order the tasks, as far as their dependencies make sense; those that make none become faults.

    A feature waits for every foundation beside it, written or not; a foundation, for those whose contracts it
    extends or says that it reads.
    """
    tasks = draft.distinct()
    written = {name: _sensible(draft, tasks, task) for name, task in tasks.items()}
    foundations = tuple(name for name, task in tasks.items() if _is(task, "foundation"))
    after = {
        name: tuple(
            dict.fromkeys(
                written[name]
                + (foundations if _is(task, "feature") else _suppliers(tasks, foundations, task))
            )
        )
        for name, task in tasks.items()
    }
    unsure = {
        name
        for name, task in tasks.items()
        if not task.knows("depends_on") or len(written[name]) < len(set(task.file.depends_on))
    }
    for knot in knots(after):
        _tell(draft, tasks, knot.cycle)
        unsure |= knot.tasks
        for name in knot.tasks:
            after[name] = tuple(before for before in after[name] if before not in knot.tasks)
    if not draft.knows("tasks", "role"):
        unsure |= set(tasks)
    return Ordered(after, measure(after), frozenset(unsure))


def _sensible(draft: Draft, tasks: Mapping[str, DraftTask], task: DraftTask) -> tuple[str, ...]:
    """Give the dependencies of a task that name another one and do not turn a foundation upside down."""
    sensible: dict[str, None] = {}
    for place, name in enumerate(task.file.depends_on):
        if name == task.id or name not in tasks:
            continue
        if _is(task, "foundation") and _is(tasks[name], "feature"):
            draft.fault(
                (*task.at, "depends_on", place),
                f"a cycle, each task waiting for the next: {task.id} -> {name} -> {task.id} (implied:"
                " a feature waits for every foundation)",
                f"make {name!r} a foundation, or drop the dependency",
            )
        else:
            sensible[name] = None
    return tuple(sensible)


def _suppliers(
    tasks: Mapping[str, DraftTask], foundations: tuple[str, ...], task: DraftTask
) -> tuple[str, ...]:
    """Name the other foundations that provide what a foundation extends, or says that it reads."""
    needed = {*task.file.extends, *(task.file.reads or ())} - set(task.file.provides)
    return tuple(n for n in foundations if n != task.id and needed.intersection(tasks[n].file.provides))


def _tell(draft: Draft, tasks: Mapping[str, DraftTask], cycle: tuple[str, ...]) -> None:
    chain = cycle[0]
    for name, following in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
        written = following in tasks[name].file.depends_on
        chain += f" -> {following}" + ("" if written else " (implied)")
    at = (*tasks[cycle[0]].at, "depends_on")
    draft.fault(at, f"a cycle, each task waiting for the next: {chain}", "remove one of these dependencies")


def _is(task: DraftTask, role: str) -> bool:
    return task.knows("role") and task.file.role == role
