"""The compiler: from a plan file to an immutable plan, or to all that is wrong with it at once."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from planner.bootstrap import warn_of_bootstrap
from planner.draft import Draft, DraftTask, read_draft
from planner.file import VerifyFile, read_command
from planner.graph import Node, Shape, ancestors, find_cycle, predecessors, shape
from planner.model import Command, Contract, Plan, Task, Verify
from planner.ownership import check_contracts, check_overlaps
from planner.references import check_references
from planner.source import Source
from planner.violations import Violation


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a plan has that does not say otherwise; times in seconds."""

    agent: str = "command"
    timeout_s: float = 1800.0
    max_attempts: int = 3
    each: tuple[str | tuple[str, ...], ...] = ()
    final: tuple[str | tuple[str, ...], ...] = ()
    baseline: bool = True
    verify_timeout_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Compiled:
    """A valid plan, and what its author should know all the same."""

    plan: Plan
    warnings: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Everything that is wrong with a plan, in the order of its lines."""

    violations: tuple[Violation, ...]


def compile_plan(source: Source, *, base: str, defaults: Defaults) -> Compiled | Rejected:
    """Compile a plan file against a resolved base commit (its id as hex)."""
    draft = read_draft(source)
    check_references(draft)
    check_contracts(draft)
    unique = {task.id: task for task in reversed(draft.tasks)}
    nodes = [_node(task, unique) for task in draft.tasks if unique[task.id] is task]
    after = predecessors(nodes)
    cycle = _check_order(draft, nodes, after)
    if not cycle:
        check_overlaps(_without_duplicates(draft, unique), ancestors(after))
    _check_text(draft)
    if draft.faults or draft.top is None:
        return Rejected(tuple(sorted(set(draft.faults), key=lambda fault: (fault.line or 0, fault.message))))
    contracts = tuple(
        Contract(id=c.id, paths=tuple(c.file.paths), merge=c.file.merge) for c in draft.contracts
    )
    form = shape(after)
    plan = Plan(
        intent=draft.top.intent,
        base=base,
        contracts=contracts,
        verify=_verify(draft.top.verify, defaults),
        tasks=tuple(_task(task, after, form, contracts, defaults) for task in draft.tasks),
    )
    return Compiled(plan, warn_of_bootstrap(draft))


def _node(task: DraftTask, known: Iterable[str]) -> Node:
    names = tuple(name for name in task.file.depends_on if name in known and name != task.id)
    return Node(task.id, task.file.role == "foundation", names)


def _without_duplicates(draft: Draft, unique: dict[str, DraftTask]) -> Draft:
    """Leave out tasks whose id is taken: they have been told of, and have no place in the order."""
    return replace(draft, tasks=[task for task in draft.tasks if unique[task.id] is task])


def _check_order(draft: Draft, nodes: list[Node], after: dict[str, tuple[str, ...]]) -> bool:
    """Note foundations that wait for features, and cycles; True if there is either."""
    by_id = {task.id: task for task in reversed(draft.tasks)}
    foundation = {node.id: node.foundation for node in nodes}
    upside_down = False
    for node in nodes:
        for place, name in enumerate(by_id[node.id].file.depends_on):
            if node.foundation and not foundation.get(name, True):
                upside_down = True
                draft.fault(
                    (*by_id[node.id].at, "depends_on", place),
                    f"a cycle: the foundation {node.id!r} depends on the feature {name!r},"
                    " and every feature waits for every foundation (implied)",
                    f"make {name!r} a foundation, or drop the dependency",
                )
    if upside_down:
        return True
    cycle = find_cycle(after)
    if cycle:
        written = {node.id: node.depends_on for node in nodes}
        chain = " -> ".join(
            name + ("" if following in written[name] else " (implied)")
            for name, following in zip(cycle, (*cycle[1:], cycle[0]), strict=True)
        )
        first = by_id[cycle[0]]
        draft.fault(
            (*first.at, "depends_on"), f"a cycle: {chain} -> {cycle[0]}", "remove one of these dependencies"
        )
    return bool(cycle)


def _check_text(draft: Draft) -> None:
    """Refuse text that has no UTF-8 form: it could be neither hashed nor handed to a program."""
    for path, value in _strings((), draft.source.data):
        if any("\ud800" <= char <= "\udfff" for char in value):
            draft.fault(path, "half of a surrogate pair is not text", "write the whole character")
        elif "\0" in value:
            draft.fault(path, "a NUL character is not text", "remove it")


def _strings(path: tuple[str | int, ...], value: object) -> Iterable[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings((*path, key), item)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _strings((*path, place), item)


def _verify(own: VerifyFile, defaults: Defaults) -> Verify:
    """Let the plan's checks replace those of the configuration, key by key."""
    return Verify(
        each=_either(own.each, defaults.each),
        final=_either(own.final, defaults.final),
        baseline=defaults.baseline if own.baseline is None else own.baseline,
        timeout_s=own.timeout or defaults.verify_timeout_s,
    )


def _either(own: list[Command] | None, configured: tuple[str | tuple[str, ...], ...]) -> tuple[Command, ...]:
    if own is not None:
        return tuple(own)
    return tuple(read_command(list(line) if isinstance(line, tuple) else line) for line in configured)


def _task(
    task: DraftTask,
    after: dict[str, tuple[str, ...]],
    form: Shape,
    contracts: tuple[Contract, ...],
    defaults: Defaults,
) -> Task:
    file = task.file
    return Task(
        id=file.id,
        role=file.role,
        title=file.title or file.id,
        owns=tuple(file.owns),
        provides=tuple(file.provides),
        depends_on=tuple(file.depends_on),
        after=after[file.id],
        reads=tuple(c.id for c in contracts) if file.reads is None else tuple(file.reads),
        extends=tuple(file.extends),
        prompt=file.prompt,
        run=file.run,
        agent=file.agent or defaults.agent,
        verify=tuple(file.verify),
        timeout_s=file.timeout or defaults.timeout_s,
        max_attempts=file.max_attempts or defaults.max_attempts,
        retry_from=file.retry_from or "tip",
        allow_empty=file.allow_empty,
        generation=form.generation[file.id],
        priority=form.priority[file.id],
    )
