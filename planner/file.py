"""What a plan file may say: pydantic models of its parts.

Each part is validated by itself, and once more without what is wrong in it, so that all faults show at once.
"""

import reprlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, ValidationError
from pydantic_core import ErrorDetails

from planner.durations import parse_duration
from planner.model import Command, Role
from planner.source import Path, Source
from planner.violations import Violation

Model = TypeVar("Model", bound=BaseModel)

Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]


def read_command(value: object) -> Command:
    """Read a command: a string for the shell, or a list of arguments to execute as it is.

    Raises:
        ValueError: neither, or empty.

    """
    if isinstance(value, str) and value.strip():
        return Command(shell=value)
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value) and any(value[:1]):
        return Command(arguments=tuple(value))
    raise ValueError("a command is a string for the shell, or a list of strings; neither may be empty")


def _read_version(value: object) -> object:
    if value != 1 or type(value) is not int:
        raise ValueError("this Otto reads version 1 of the format")
    return value


Line = Annotated[InstanceOf[Command], BeforeValidator(read_command)]
Text = Annotated[str, Field(strict=True)]
Words = Annotated[list[Text], Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]


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
    baseline: Flag | None = None
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
    allow_empty: Flag = False


class PlanFile(_Part):
    """The top of a plan file; `verify` and the items of its lists are read as parts of their own."""

    version: Annotated[int, BeforeValidator(_read_version)]
    intent: Text = ""
    base: Text | None = None
    contracts: list[object] = []
    verify: object = {}
    tasks: list[object]


NOT_YET = {
    "tasks": "nested tasks are not yet part of this version",
    "decompose": "decomposition is not yet part of this version",
    "partial": "composites are not yet part of this version",
}

_ODD_TYPES = {"string_type", "literal_error", "list_type", "bool_type", "int_type", "int_from_float"}


def read_part(
    source: Source, at: Path, item: object, model: type[Model], stand_in: Mapping[str, object]
) -> tuple[Model, frozenset[str], list[Violation]]:
    """Read the part of a file that stands at `at`: gives it, the keys that could not be read, and why.

    Keys that could not be read have their defaults, or what `stand_in` has for them if they are required.
    """
    if not isinstance(item, dict):
        wrong = f"{_shown(source, at, item)} should be a mapping of keys to values"
        everything = frozenset(model.model_fields)
        hint = "give it keys, such as `id:`, one below the other"
        return model.model_validate(stand_in), everything, [source.violation(at, wrong, hint)]
    try:
        return model.model_validate(item), frozenset(), []
    except ValidationError as error:
        faults = error.errors()
    unread = frozenset(str(fault["loc"][0]) for fault in faults)
    kept = {key: value for key, value in item.items() if key not in unread}
    told = [_violation(source, at, model, fault) for fault in faults]
    return model.model_validate({**stand_in, **kept}), unread, told


def _violation(source: Source, at: Path, model: type[BaseModel], fault: ErrorDetails) -> Violation:
    place = (*at, *fault["loc"])
    message, hint = _words(fault, model, _shown(source, place, fault["input"]))
    return source.violation(place, message, hint)


def _words(fault: ErrorDetails, model: type[BaseModel], shown: str) -> tuple[str, str]:
    """Say what pydantic found, and what to do about it."""
    kind, message = fault["type"], fault["msg"].removeprefix("Value error, ")
    key = ".".join(map(str, fault["loc"]))
    if kind == "extra_forbidden" and model is TaskFile and key in NOT_YET:
        return NOT_YET[key], "write the tasks one beside the other and order them by `depends_on`"
    if kind == "extra_forbidden":
        near = get_close_matches(key, model.model_fields, n=1)
        known = f"known keys: {', '.join(model.model_fields)}"
        return f"unknown key {key!r}", f"did you mean {near[0]!r}?" if near else known
    if kind == "missing":
        return f"the key {key!r} is missing", f"add `{key}:`"
    if kind in _ODD_TYPES:
        scalar = kind == "string_type" and isinstance(fault["input"], (int, float))
        wanted = message.removeprefix("Input should be ")
        return f"{key}: {shown} should be {wanted}", _remedy(kind, shown, scalar=scalar)
    if kind == "too_short":
        return f"{key}: the list is empty", "name at least one"
    return f"{key}: {message.removeprefix('Input ')}", f"see `{key}` in docs/reference/plan-file.md"


def _remedy(kind: str, shown: str, *, scalar: bool) -> str:
    if scalar:
        return f'write "{shown}" for the text'
    return f"write a list: [{shown}]" if kind == "list_type" else "see docs/reference/plan-file.md"


def _shown(source: Source, at: Path, value: object) -> str:
    """Show a value as it is spelled in the file: `on` is one of YAML's words for true."""
    return source.spelling.get(at) or ("nothing" if value is None else reprlib.repr(value))
