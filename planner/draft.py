"""A plan file read part by part: what could be read, where it stands, and what could not."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from merge.patterns import PathSet, Pattern, PatternError
from planner.file import ContractFile, PlanFile, TaskFile, VerifyFile, read_part
from planner.limits import MAX_CONTRACTS, MAX_TASKS
from planner.source import Path, Source
from planner.violations import Violation

_ID_FORM = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class DraftTask:
    """A task, its place in the file, what it owns, and the keys of which it is not known what they say."""

    at: Path
    file: TaskFile
    owns: PathSet
    unread: frozenset[str]

    @property
    def id(self) -> str:
        """The task's id, or a name that is no valid id if it has none."""
        return self.file.id

    def knows(self, *keys: str) -> bool:
        """Tell whether all these keys could be read."""
        return self.unread.isdisjoint(keys)


@dataclass(frozen=True, slots=True)
class DraftContract:
    """A contract, its place in the file, its paths, and the keys of which it is not known what they say."""

    at: Path
    file: ContractFile
    paths: PathSet
    unread: frozenset[str]

    @property
    def id(self) -> str:
        """The contract's id, or a name that is no valid id if it has none."""
        return self.file.id

    def knows(self, *keys: str) -> bool:
        """Tell whether all these keys could be read."""
        return self.unread.isdisjoint(keys)


@dataclass(slots=True)
class Draft:
    """All of a plan file, and the faults found so far."""

    source: Source
    top: PlanFile
    unread: frozenset[str]
    verify: VerifyFile = field(default_factory=VerifyFile)
    contracts: list[DraftContract] = field(default_factory=list)
    tasks: list[DraftTask] = field(default_factory=list)
    faults: list[Violation] = field(default_factory=list)

    def fault(self, at: Path, message: str, hint: str = "") -> None:
        """Note a violation at a place of the file."""
        self.faults.append(self.source.violation(at, message, hint))

    def knows(self, kind: Literal["tasks", "contracts"], key: str) -> bool:
        """Tell whether a key could be read of every task, or of every contract."""
        parts: Sequence[DraftTask | DraftContract] = self.tasks if kind == "tasks" else self.contracts
        return kind not in self.unread and all(part.knows(key) for part in parts)

    def distinct(self) -> dict[str, DraftTask]:
        """Give the tasks by id; of those with the same id the first one."""
        found: dict[str, DraftTask] = {}
        for task in self.tasks:
            found.setdefault(task.id, task)
        return found


def read_draft(source: Source) -> Draft:
    """Read a plan file; what cannot be read becomes a fault, and the rest is read all the same."""
    top, unread, faults = read_part(source, (), source.data, PlanFile, {"version": 1, "tasks": []})
    draft = Draft(source, top, unread, faults=faults)
    draft.verify, _, faults = read_part(source, ("verify",), top.verify, VerifyFile, {})
    draft.faults += faults
    for at, item in _items(draft, "contracts", top.contracts, MAX_CONTRACTS):
        stand_in: dict[str, object] = {"id": _nameless("contract", at), "paths": ["unread"]}
        contract, unread, faults = read_part(source, at, item, ContractFile, stand_in)
        draft.faults += faults
        paths, unread = _patterns(draft, at, "paths", contract.paths, unread)
        draft.contracts.append(DraftContract(at, contract, paths, unread))
    for at, item in _items(draft, "tasks", top.tasks, MAX_TASKS):
        task, unread, faults = read_part(source, at, item, TaskFile, {"id": _nameless("task", at)})
        draft.faults += faults
        owns, unread = _patterns(draft, at, "owns", task.owns, unread)
        draft.tasks.append(DraftTask(at, task, owns, unread))
    if not top.tasks and "tasks" not in draft.unread:
        draft.fault(("tasks",), "the plan has no tasks", "a plan of one task is a valid plan")
    _require_ids(draft, "contract", draft.contracts)
    _require_ids(draft, "task", draft.tasks)
    return draft


def _items(draft: Draft, key: str, items: list[object], limit: int) -> Iterator[tuple[Path, object]]:
    if len(items) > limit:
        draft.fault((key,), f"the plan has {len(items):,} {key}; the limit is {limit:,}", "split the plan")
        draft.unread |= {key}
        return
    for place, item in enumerate(items):
        yield (key, place), item


def _nameless(kind: str, at: Path) -> str:
    """Name a part that has no id, in a way that no id can have."""
    return f"{kind} {int(at[-1]) + 1}"


def _patterns(
    draft: Draft, at: Path, key: str, texts: list[str], unread: frozenset[str]
) -> tuple[PathSet, frozenset[str]]:
    """Read the patterns of a key; where one is wrong the key counts as unread, and the others as read."""
    if key in unread:
        return PathSet(), unread
    good = []
    for place, text in enumerate(texts):
        try:
            good.append(Pattern.parse(text))
        except PatternError as error:
            draft.fault((*at, key, place), f"the pattern {text!r}: {error.message}", error.hint)
            unread |= {key}
    return PathSet(tuple(dict.fromkeys(good))), unread


def _require_ids(draft: Draft, kind: str, parts: Sequence[DraftTask | DraftContract]) -> None:
    first: dict[str, Path] = {}
    for part in parts:
        at = (*part.at, "id")
        if not part.knows("id"):
            continue
        if not _ID_FORM.fullmatch(part.id):
            like_path = "/" in part.id or "." in part.id
            draft.fault(
                at,
                f"the {kind} id {part.id!r} {'looks like a path' if like_path else 'is not a valid id'}",
                "use up to 64 lower-case letters, digits and hyphens, such as `add-billing`",
            )
        if part.id in first:
            line = draft.source.line(first[part.id])
            draft.fault(at, f"the {kind} id {part.id!r} is taken (line {line})", "give each its own id")
        first.setdefault(part.id, at)
