"""The write gate's use in a run: what a task may write, and a refusal in words for the journal."""

from collections.abc import Iterable

from merge.gate import WRITE_GATE, Refused, Scope
from merge.patterns import PathSet
from otto_core.model import Reason, ReasonKind
from planner.model import Plan, Task

MAX_TOLD = 5
"""How many paths a message names; all of them stand in the reason's `paths`."""


def scope_of(plan: Plan, task: Task) -> Scope:
    """Give what a task may write: its own paths, and insertions into the registries it extends."""
    extended = (path for contract in plan.contracts if contract.id in task.extends for path in contract.paths)
    return Scope(PathSet.parse(task.owns), PathSet.parse(extended))


def scope_of_run(plan: Plan) -> Scope:
    """Give what the tasks of a plan together may write."""
    extended = {contract for task in plan.tasks for contract in task.extends}
    return Scope(
        PathSet.parse(path for task in plan.tasks for path in task.owns),
        PathSet.parse(
            path for contract in plan.contracts if contract.id in extended for path in contract.paths
        ),
    )


def registries_of(plan: Plan) -> PathSet:
    """Give the paths of all registries of a plan."""
    return PathSet.parse(
        path for contract in plan.contracts if contract.merge == "union" for path in contract.paths
    )


def refusal(refused: Refused, run: str, task: Task, log: str | None) -> Reason:
    """Put what the write gate refused into words."""
    foreign = [v.message for v in refused.violations if v.rule == WRITE_GATE]
    unsafe = [v.message for v in refused.violations if v.rule != WRITE_GATE]
    owned = told(task.owns, ", ") or "no path of its own"
    clauses = [told(unsafe)] if unsafe else []
    if foreign:
        clauses.append(f"the task owns {owned}, but it {told(foreign, ', ')}")
    return Reason(
        kind=ReasonKind(refused.kind),
        message=f"the write gate refused the result: {'; '.join(clauses)}",
        hint=f"leave such paths as they are, or let {task.id!r} own them (`owns`; a registry: `extends`)"
        if foreign
        else f"`otto diff {task.id} --run {run}` shows what was refused",
        paths=tuple(dict.fromkeys(violation.path for violation in refused.violations)),
        evidence=log,
    )


def told(parts: Iterable[str], separator: str = "; ") -> str:
    """Join the first few parts and count the rest."""
    named = list(parts)
    rest = len(named) - MAX_TOLD
    return separator.join(named[:MAX_TOLD]) + (f"{separator}and {rest} more" if rest > 0 else "")
