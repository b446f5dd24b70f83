"""A plan file read part by part: what could be read, where it stands, and what could not."""

import re
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from merge.patterns import PathSet, Pattern, PatternError
from planner.file import ID_FORM, ContractFile, PlanFile, TaskFile, faults
from planner.source import Path, Source
from planner.violations import Violation

MAX_TASKS = 10_000

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DraftTask:
    """A task that could be read, its place in the file, and what it owns as far as its patterns are valid."""

    at: Path
    file: TaskFile
    owns: PathSet

    @property
    def id(self) -> str:
        """The task's id."""
        return self.file.id


@dataclass(frozen=True, slots=True)
class DraftContract:
    """A contract that could be read, its place in the file, and its paths as far as their patterns are valid."""

    at: Path
    file: ContractFile
    paths: PathSet

    @property
    def id(self) -> str:
        """The contract's id."""
        return self.file.id


@dataclass(slots=True)
class Draft:
    """All of a plan file. `mentioned` holds every task id that the file gives, readable or not."""

    source: Source
    top: PlanFile | None = None
    tasks: list[DraftTask] = field(default_factory=list)
    contracts: list[DraftContract] = field(default_factory=list)
    mentioned: set[str] = field(default_factory=set)
    faults: list[Violation] = field(default_factory=list)

    def fault(self, at: Path, message: str, hint: str = "") -> None:
        """Note a violation at a place of the file."""
        self.faults.append(self.source.violation(at, message, hint))


def read_draft(source: Source) -> Draft:
    """Read a plan file; what cannot be read becomes a fault, and the rest is read all the same."""
    draft = Draft(source)
    draft.top = _part(draft, (), source.data, PlanFile)
    contracts, tasks = source.data.get("contracts"), source.data.get("tasks")
    for place, item in enumerate(contracts if isinstance(contracts, list) else []):
        at: Path = ("contracts", place)
        if (contract := _part(draft, at, item, ContractFile)) is not None:
            paths = _patterns(draft, (*at, "paths"), contract.paths)
            draft.contracts.append(DraftContract(at, contract, paths))
    for place, item in enumerate(tasks if isinstance(tasks, list) else []):
        at = ("tasks", place)
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            draft.mentioned.add(item["id"])
        if (task := _part(draft, at, item, TaskFile)) is not None:
            draft.tasks.append(DraftTask(at, task, _patterns(draft, (*at, "owns"), task.owns)))
    _require_tasks(draft, tasks)
    _require_ids(draft, "task", draft.tasks)
    _require_ids(draft, "contract", draft.contracts)
    return draft


def _part(draft: Draft, at: Path, item: object, model: type[Model]) -> Model | None:
    if not isinstance(item, dict):
        draft.fault(at, f"{item!r} should be a mapping of keys to values", "give it at least an `id:`")
        return None
    try:
        return model.model_validate(item)
    except ValidationError as error:
        draft.faults += faults(draft.source, at, model, error)
        return None


def _patterns(draft: Draft, at: Path, texts: list[str]) -> PathSet:
    good = []
    for place, text in enumerate(texts):
        try:
            good.append(Pattern.parse(text))
        except PatternError as error:
            draft.fault((*at, place), f"the pattern {text!r}: {error.message}", error.hint)
    return PathSet(tuple(dict.fromkeys(good)))


def _require_tasks(draft: Draft, tasks: object) -> None:
    if isinstance(tasks, list) and not tasks:
        draft.fault(("tasks",), "the plan has no tasks", "a plan of one task is a valid plan")
    if isinstance(tasks, list) and len(tasks) > MAX_TASKS:
        draft.fault(
            ("tasks",), f"the plan has {len(tasks):,} tasks; the limit is {MAX_TASKS:,}", "split the plan"
        )


def _require_ids(draft: Draft, what: str, parts: list[DraftTask] | list[DraftContract]) -> None:
    seen: dict[str, Path] = {}
    for part in parts:
        at = (*part.at, "id")
        if not re.fullmatch(ID_FORM, part.id):
            slash = "/" in part.id or "." in part.id
            draft.fault(
                at,
                f"the {what} id {part.id!r} " + ("looks like a path" if slash else "is not a valid id"),
                "use lower-case letters, digits and hyphens, such as `add-billing`",
            )
        elif part.id in seen:
            first = draft.source.line((*seen[part.id], "id"))
            draft.fault(at, f"the {what} id {part.id!r} is taken (line {first})", "give each its own id")
        else:
            seen[part.id] = part.at
