"""What a plan file may say: pydantic models of its parts, each validated by itself so that all faults show at once."""

from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from planner.durations import parse_duration
from planner.model import Command, Role
from planner.source import Path, Source
from planner.violations import Violation

ID_FORM = r"[a-z0-9][a-z0-9-]*"

Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]


def read_command(value: object) -> Command:
    """Read a command: a string for the shell, or a list of arguments to execute as it is.

    Raises:
        ValueError: neither, or empty.

    """
    if isinstance(value, str) and value.strip():
        return Command(shell=value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value) and value[0]:
        return Command(arguments=tuple(value))
    raise ValueError("a command is a string for the shell, or a list of strings; neither may be empty")


Line = Annotated[Command, BeforeValidator(read_command)]
Text = Annotated[str, Field(strict=True)]
Words = Annotated[list[Text], Field(strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ContractFile(_Part):
    """An item of `contracts`."""

    id: Text
    paths: Annotated[Words, Field(min_length=1)]
    merge: Literal["union"] | None = None


class VerifyFile(_Part):
    """The `verify` of a plan; an absent key leaves that of the configuration."""

    each: list[Line] | None = None
    final: list[Line] | None = None
    baseline: Annotated[bool, Field(strict=True)] | None = None
    timeout: Seconds | None = None


class TaskFile(_Part):
    """An item of `tasks`."""

    id: Text
    role: Role = "feature"
    title: Text | None = None
    owns: Words = []
    provides: Words = []
    depends_on: Words = []
    reads: Words | None = None
    extends: Words = []
    prompt: Text = ""
    run: Line | None = None
    agent: Text | None = None
    verify: list[Line] = []
    timeout: Seconds | None = None
    max_attempts: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    retry_from: Literal["tip", "attempt"] | None = None
    allow_empty: Annotated[bool, Field(strict=True)] = False


class PlanFile(_Part):
    """The top of a plan file; its lists are read item by item."""

    version: Annotated[Literal[1], Field()]
    intent: Text = ""
    base: Text | None = None
    contracts: list[object] = []
    verify: VerifyFile = VerifyFile()
    tasks: list[object]


NOT_YET = {
    "tasks": "nested tasks are not yet part of this version",
    "decompose": "decomposition is not yet part of this version",
    "partial": "composites are not yet part of this version",
}


def faults(source: Source, at: Path, model: type[BaseModel], error: ValidationError) -> list[Violation]:
    """Put what pydantic found into words, each at its line; `at` is where the part stands in the file."""
    found = []
    for fault in error.errors():
        place = tuple(
            part
            for part in fault["loc"]
            if not isinstance(part, str) or part in _keys(source, at, fault["loc"])
        )
        key = ".".join(str(part) for part in fault["loc"][:2]) or "the item"
        message, hint = _words(key, fault, model)
        found.append(source.violation((*at, *place), message, hint))
    return found


def _keys(source: Source, at: Path, location: tuple[int | str, ...]) -> set[str]:
    """Tell which names of an error's location are keys of the file, and not names of a validator."""
    return {
        part
        for end, part in enumerate(location)
        if isinstance(part, str) and (*at, *location[: end + 1]) in source.lines
    }


def _words(key: str, fault: object, model: type[BaseModel]) -> tuple[str, str]:
    assert isinstance(fault, dict)
    kind, value = fault["type"], fault.get("input")
    last = str(fault["loc"][-1]) if fault["loc"] else ""
    if kind == "extra_forbidden" and last in NOT_YET and model is TaskFile:
        return NOT_YET[last], "write the tasks one beside the other and order them by `depends_on`"
    if kind == "extra_forbidden":
        near = get_close_matches(last, model.model_fields, n=1)
        known = ", ".join(model.model_fields)
        return f"unknown key {last!r}", f"did you mean {near[0]!r}?" if near else f"known keys: {known}"
    if kind == "missing":
        return f"the key {last!r} is missing", f"add `{last}:`"
    if kind in ("string_type", "literal_error", "model_type", "list_type", "bool_type", "int_type"):
        wanted = str(fault["msg"]).removeprefix("Input should be ")
        quote = "put it in quotes" if kind == "string_type" and not isinstance(value, (list, dict)) else ""
        return f"{key}: {value!r} should be {wanted}", quote
    return f"{key}: {str(fault['msg']).removeprefix('Value error, ')}", ""
