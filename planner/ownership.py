"""Rules about who owns what: contracts have one owner, and tasks that could run together share no path."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from merge.patterns import PathSet, Pattern, PatternError
from planner.draft import Draft, DraftContract, DraftTask

_GLOB = re.compile(r"[*?\[\\]")


def check_contracts(draft: Draft) -> None:
    """Note contracts without exactly one foundation that owns them, and contracts that are not isolated (O2)."""
    for place, contract in enumerate(draft.contracts):
        providers = [task for task in draft.tasks if contract.id in task.file.provides]
        if not providers:
            draft.fault(
                contract.at,
                f"nobody provides the contract {contract.id!r}",
                f"give a foundation `provides: [{contract.id}]`",
            )
        for extra in providers[1:]:
            draft.fault(
                (*extra.at, "provides"),
                f"{extra.id!r} provides {contract.id!r}, as {providers[0].id!r} does",
                "a contract has one owner",
            )
        if providers:
            _check_owner(draft, contract, providers[0])
        for other in draft.contracts[:place]:
            shared = _ask(draft, contract.paths, other.paths, (*contract.at, "paths"))
            if shared is not None:
                draft.fault(
                    (*contract.at, "paths"),
                    f"the contracts {contract.id!r} and {other.id!r} share {_shown(shared)}",
                    "a path belongs to one contract",
                )


def _check_owner(draft: Draft, contract: DraftContract, owner: DraftTask) -> None:
    if owner.file.role != "foundation":
        draft.fault(
            (*owner.at, "provides"),
            f"{owner.id!r} provides {contract.id!r} but is no foundation",
            "say `role: foundation`: others stand on it",
        )
    try:
        foreign = contract.paths.uncovered(owner.owns)
    except PatternError as error:
        draft.fault((*contract.at, "paths"), error.message, error.hint)
        return
    if foreign is not None:
        draft.fault(
            (*owner.at, "owns"),
            f"{owner.id!r} provides {contract.id!r} but does not own {_shown(foreign)}",
            f"add the paths of {contract.id!r} to its `owns`",
        )
    around = PathSet(
        tuple(
            p for p in owner.owns.patterns if _ask(draft, PathSet((p,)), contract.paths, owner.at) is not None
        )
    )
    for task in draft.tasks:
        if task is not owner:
            _check_isolated(draft, contract, owner, task, around)


def _check_isolated(
    draft: Draft, contract: DraftContract, owner: DraftTask, task: DraftTask, around: PathSet
) -> None:
    at = (*task.at, "owns")
    if (shared := _ask(draft, task.owns, contract.paths, at)) is not None:
        draft.fault(
            at,
            f"not isolated: {task.id!r} owns {_shown(shared)}, which belongs to the contract {contract.id!r} of {owner.id!r}",
            "leave contract paths to their owner"
            + (", or use `extends`" if contract.file.merge == "union" else ""),
        )
    elif (shared := _ask(draft, task.owns, around, at)) is not None:
        draft.fault(
            at,
            f"not isolated: {task.id!r} owns {_shown(shared)}, below what {owner.id!r} owns around the contract {contract.id!r}",
            f"narrow `owns` of {owner.id!r} to the contract's paths, or move the task's paths",
        )


def check_overlaps(draft: Draft, ancestors: Mapping[str, int]) -> None:
    """Note every two tasks that own a common path though neither comes before the other.

    `ancestors` gives, by task, a bit set of the tasks before it, in the mapping's own order.
    """
    bit = {name: 1 << place for place, name in enumerate(ancestors)}
    told = {fault.line for fault in draft.faults if fault.message.startswith("not isolated")}
    for one, other in _candidates(draft.tasks):
        ordered = ancestors[one.id] & bit[other.id] or ancestors[other.id] & bit[one.id]
        at = (*other.at, "owns")
        if ordered or draft.source.line(at) in told:
            continue
        if (shared := _ask(draft, one.owns, other.owns, at)) is not None:
            draft.fault(
                at,
                f"{one.id!r} and {other.id!r} could run together and both own {_shown(shared)}",
                f"let {other.id!r} depend on {one.id!r}, or give each its own paths"
                + ("; a pattern also takes what lies below a directory it names" if b"/" in shared else ""),
            )


def _candidates(tasks: list[DraftTask]) -> Iterator[tuple[DraftTask, DraftTask]]:
    """Pair the tasks whose patterns could meet: of two, the literal directories of one begin those of the other.

    A literal segment matches itself alone, so no other pair has a path in common.
    """
    by_prefix: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    prefixes = [{_literal(pattern) for pattern in task.owns.patterns} for task in tasks]
    for place, mine in enumerate(prefixes):
        for prefix in mine:
            by_prefix[prefix].add(place)
    pairs = {
        (min(place, other), max(place, other))
        for place, mine in enumerate(prefixes)
        for prefix in mine
        for end in range(len(prefix) + 1)
        for other in by_prefix.get(prefix[:end], ())
        if other != place
    }
    for one, other in sorted(pairs):
        yield tasks[one], tasks[other]


def _literal(pattern: Pattern) -> tuple[str, ...]:
    segments: list[str] = []
    for segment in pattern.text.strip().strip("/").split("/"):
        if _GLOB.search(segment):
            break
        segments.append(segment)
    return tuple(segments)


def _ask(draft: Draft, one: PathSet, other: PathSet, at: tuple[str | int, ...]) -> bytes | None:
    try:
        return one.overlap(other)
    except PatternError as error:
        draft.fault(at, error.message, error.hint)
        return None


def _shown(path: bytes) -> str:
    return repr(path.decode("utf-8", "backslashreplace"))
