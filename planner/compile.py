"""The compiler: from a plan file to an immutable plan, or to all that is wrong with it at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.bootstrap import warn_of_bootstrap
from planner.draft import read_draft
from planner.file import TaskFile, VerifyFile, read_command
from planner.model import Command, Contract, Plan, Setup, Task, Verify
from planner.order import Ordered, order_tasks
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
    setup: tuple[str | tuple[str, ...], ...] = ()
    setup_key: tuple[str, ...] = ()
    setup_timeout_s: float = 900.0


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
    """Compile a plan file against a resolved base commit (its id as hex).

    Raises:
        ValueError: a default check or setup is no command; what configures them has to refuse it.

    """
    draft = read_draft(source)
    check_references(draft)
    in_the_way = check_contracts(draft)
    ordered = order_tasks(draft)
    check_overlaps(draft, ordered, in_the_way)
    if draft.faults:
        return Rejected(tuple(sorted(set(draft.faults), key=lambda fault: (fault.line or 0, fault.message))))
    contracts = tuple(
        Contract(id=c.id, paths=tuple(c.file.paths), merge=c.file.merge) for c in draft.contracts
    )
    plan = Plan(
        intent=draft.top.intent,
        base=base,
        contracts=contracts,
        verify=_verify(draft.verify, defaults),
        setup=_setup(defaults),
        tasks=tuple(_task(task.file, ordered, contracts, defaults) for task in draft.tasks),
    )
    return Compiled(plan, warn_of_bootstrap(draft))


def _verify(own: VerifyFile, defaults: Defaults) -> Verify:
    """Let the plan's checks replace those of the configuration, key by key."""
    return Verify(
        each=_either(own.each, defaults.each),
        final=_either(own.final, defaults.final),
        baseline=defaults.baseline if own.baseline is None else own.baseline,
        timeout_s=own.timeout or defaults.verify_timeout_s,
    )


def _either(own: list[Command] | None, configured: tuple[str | tuple[str, ...], ...]) -> tuple[Command, ...]:
    return tuple(own) if own is not None else tuple(map(read_command, configured))


def _setup(defaults: Defaults) -> Setup | None:
    if not defaults.setup:
        return None
    commands = tuple(map(read_command, defaults.setup))
    return Setup(commands=commands, key=_once(defaults.setup_key), timeout_s=defaults.setup_timeout_s)


def _task(file: TaskFile, ordered: Ordered, contracts: tuple[Contract, ...], defaults: Defaults) -> Task:
    return Task(
        id=file.id,
        role=file.role,
        title=file.title or file.id,
        owns=_once(file.owns),
        provides=_once(file.provides),
        depends_on=_once(file.depends_on),
        after=ordered.after[file.id],
        reads=tuple(c.id for c in contracts) if file.reads is None else _once(file.reads),
        extends=_once(file.extends),
        prompt=file.prompt,
        run=file.run,
        agent=file.agent or defaults.agent,
        verify=tuple(file.verify),
        timeout_s=file.timeout or defaults.timeout_s,
        max_attempts=file.max_attempts or defaults.max_attempts,
        retry_from=file.retry_from or "tip",
        allow_empty=file.allow_empty,
        generation=ordered.order.generation[file.id],
        priority=ordered.order.priority[file.id],
    )


def _once(names: Iterable[str]) -> tuple[str, ...]:
    """Drop repetitions: they mean nothing, so they must not change the plan's id."""
    return tuple(dict.fromkeys(names))
