"""The write gate's use in a run: what a task may write, and a refusal in words for the journal."""

from collections.abc import Iterable

from merge.gate import Refused, Scope
from merge.patterns import PathSet
from otto_core.model import Reason, ReasonKind
from planner.model import Plan, Task

MAX_TOLD = 5
"""How many paths a message names; all of them stand in the reason's `paths`."""


def scope_of(plan: Plan, task: Task) -> Scope:
    """Give what a task may write: its own paths, and insertions into the registries it extends."""
    extended = (path for contract in plan.contracts if contract.id in task.extends for path in contract.paths)
    return Scope(PathSet.parse(task.owns), PathSet.parse(extended))


def registries_of(plan: Plan) -> PathSet:
    """Give the paths of all registries of a plan."""
    return PathSet.parse(
        path for contract in plan.contracts if contract.merge == "union" for path in contract.paths
    )


def refusal(refused: Refused, log: str | None) -> Reason:
    """Put what the write gate refused into words."""
    return Reason(
        kind=ReasonKind(refused.kind),
        message=f"the write gate refused the result: {told(v.message for v in refused.violations)}",
        hint="nothing of it has landed; the next attempt is told what to change",
        paths=tuple(dict.fromkeys(violation.path for violation in refused.violations)),
        evidence=log,
    )


def told(parts: Iterable[str], separator: str = "; ") -> str:
    """Join the first few parts and count the rest."""
    named = list(parts)
    rest = len(named) - MAX_TOLD
    return separator.join(named[:MAX_TOLD]) + (f"{separator}and {rest} more" if rest > 0 else "")
