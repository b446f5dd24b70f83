"""Rules about who owns what: contracts have one owner, and tasks that could run together share no path."""

from collections.abc import Iterator

from merge.patterns import PathSet, PatternError
from planner.draft import Draft, DraftContract, DraftTask
from planner.limits import MAX_OVERLAPS
from planner.order import Ordered
from planner.source import Path

Pair = frozenset[str]


def check_contracts(draft: Draft) -> frozenset[Pair]:
    """Note contracts without exactly one foundation that owns them, and those that are not isolated (O2).

    Gives the pairs of tasks of which it was said that one is in the way of what the other provides.
    """
    in_the_way: set[Pair] = set()
    all_providers = draft.knows("tasks", "provides")
    for place, contract in enumerate(draft.contracts):
        _check_apart(draft, contract, draft.contracts[:place])
        providers = [task for task in draft.tasks if contract.id in task.file.provides]
        for extra in providers[1:]:
            wrong = f"{extra.id!r} provides {contract.id!r}, as {providers[0].id!r} does"
            draft.fault((*extra.at, "provides"), wrong, "a contract has one owner")
        if providers:
            _check_owner(draft, contract, providers[0])
            in_the_way |= _check_isolated(draft, contract, providers[0])
        elif all_providers and contract.knows("id"):
            wrong = f"nobody provides the contract {contract.id!r}"
            draft.fault(contract.at, wrong, f"give a foundation `provides: [{contract.id}]`")
    return frozenset(in_the_way)


def _check_apart(draft: Draft, contract: DraftContract, others: list[DraftContract]) -> None:
    at = (*contract.at, "paths")
    for other in others:
        if (shared := _overlap(draft, at, contract.paths, other.paths)) is not None:
            wrong = f"the contracts {contract.id!r} and {other.id!r} share {_shown(shared)}"
            draft.fault(at, wrong, "a path belongs to one contract")


def _check_owner(draft: Draft, contract: DraftContract, owner: DraftTask) -> None:
    if owner.knows("role") and owner.file.role != "foundation":
        wrong = f"{owner.id!r} provides {contract.id!r} but is no foundation"
        draft.fault((*owner.at, "provides"), wrong, "say `role: foundation`: others stand on it")
    if not owner.knows("owns"):
        return
    try:
        foreign = contract.paths.uncovered(owner.owns)
    except PatternError as error:
        draft.fault((*contract.at, "paths"), error.message, error.hint)
        return
    if foreign is not None:
        wrong = f"{owner.id!r} provides {contract.id!r} but does not own {_shown(foreign)}"
        draft.fault((*owner.at, "owns"), wrong, f"add the paths of {contract.id!r} to its `owns`")


def _check_isolated(draft: Draft, contract: DraftContract, owner: DraftTask) -> set[Pair]:
    """Note each task that owns a path of a contract, or below what the contract's owner has around it."""
    around = [
        pattern
        for pattern in owner.owns.patterns
        if _overlap(draft, (*owner.at, "owns"), PathSet((pattern,)), contract.paths) is not None
    ]
    surroundings = PathSet(tuple(around))
    in_the_way: set[Pair] = set()
    for task in draft.tasks:
        at = (*task.at, "owns")
        if task is owner:
            continue
        if (shared := _overlap(draft, at, task.owns, contract.paths)) is not None:
            whose = f"which belongs to the contract {contract.id!r} of {owner.id!r}"
            extend = ", or insert lines with `extends`" if contract.file.merge == "union" else ""
            remedy = f"leave it to its owner{extend}"
        elif (shared := _overlap(draft, at, task.owns, surroundings)) is not None:
            whose = f"below what {owner.id!r} owns around the contract {contract.id!r}"
            remedy = f"narrow `owns` of {owner.id!r} to what is its own, or move the path"
        else:
            continue
        in_the_way.add(frozenset((owner.id, task.id)))
        draft.fault(at, f"not isolated: {task.id!r} owns {_shown(shared)}, {whose}", remedy)
    return in_the_way


def check_overlaps(draft: Draft, ordered: Ordered, told: frozenset[Pair]) -> None:
    """Note every two tasks that own a common path though neither comes before the other.

    Left out are pairs that were told of, and those whose order hangs on something that is a fault itself.
    """
    tasks = draft.distinct()
    before = ordered.order.before
    bit = {name: 1 << place for place, name in enumerate(before)}
    unsure = sum(bit[name] for name in ordered.unsure)
    count = 0
    for one, other in _candidates(list(tasks.values())):
        if before[one.id] & bit[other.id] or before[other.id] & bit[one.id]:
            continue
        upstream = before[one.id] | bit[one.id] | before[other.id] | bit[other.id]
        if upstream & unsure or frozenset((one.id, other.id)) in told:
            continue
        at = (*other.at, "owns")
        if (shared := _overlap(draft, at, one.owns, other.owns)) is None:
            continue
        count += 1
        if count > MAX_OVERLAPS:
            wrong = f"more than {MAX_OVERLAPS} pairs of tasks own a common path; the others are not listed"
            draft.fault(("tasks",), wrong, "give each task its own directories")
            return
        below = "; a pattern also takes what lies below a directory it names" if b"/" in shared else ""
        draft.fault(
            at,
            f"{one.id!r} and {other.id!r} could run together and both own {_shown(shared)}",
            f"let {other.id!r} depend on {one.id!r}, or give each its own paths{below}",
        )


def _candidates(tasks: list[DraftTask]) -> Iterator[tuple[DraftTask, DraftTask]]:
    """Pair the tasks whose patterns could meet: the literal prefix of one begins with that of the other.

    In sorted order, what begins with a prefix follows it directly; so one pass with a stack finds all pairs.
    """
    prefixes = sorted({(p.prefix, place) for place, task in enumerate(tasks) for p in task.owns.patterns})
    pairs: set[tuple[int, int]] = set()
    around: list[tuple[bytes, int]] = []
    for prefix, place in prefixes:
        while around and not prefix.startswith(around[-1][0]):
            around.pop()
        pairs.update((min(place, other), max(place, other)) for _, other in around if other != place)
        around.append((prefix, place))
    for one, other in sorted(pairs):
        yield tasks[one], tasks[other]


def _overlap(draft: Draft, at: Path, one: PathSet, other: PathSet) -> bytes | None:
    """Give a common path, or None; what is too complex to decide becomes a fault."""
    try:
        return one.overlap(other)
    except PatternError as error:
        draft.fault(at, error.message, error.hint)
        return None


def _shown(path: bytes) -> str:
    return repr(path.decode("utf-8", "backslashreplace"))
