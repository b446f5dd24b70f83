"""Configuration: command line, then `OTTO_*` variables, then `otto.yaml`, then defaults.

`otto.yaml` is read from the base commit, never from an agent's tree. The models below are the whole of what
it may say; an unknown key is an error with its line.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from merge.patterns import PathSet, PatternError
from otto_core.errors import UsageError
from otto_core.model import Durability
from planner.durations import format_duration, parse_duration
from planner.file import read_command
from planner.source import Source, load
from planner.violations import Violation

FILE_NAME = "otto.yaml"


def _checked_command(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    read_command(value)
    return value


def _relative(value: str) -> str:
    if not value or value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"a path below the home directory, such as `.cargo`, not {value!r}")
    return value


RelativePath = Annotated[str, AfterValidator(_relative)]


def _checked_pattern(value: str) -> str:
    try:
        PathSet.parse([value])
    except PatternError as error:
        raise ValueError(f"{error}; {error.hint}") from error
    return value


Seconds = Annotated[
    float, BeforeValidator(parse_duration), Field(gt=0), PlainSerializer(format_duration, when_used="json")
]
CommandLine = Annotated[str | tuple[str, ...], AfterValidator(_checked_command)]
PathPattern = Annotated[str, AfterValidator(_checked_pattern)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Defaults(_Section):
    """What a task has that does not say otherwise."""

    timeout: Seconds = 1800.0
    max_attempts: int = Field(default=3, ge=1, le=100)
    max_file_mb: float = Field(default=100, gt=0)
    grace: Seconds = 5.0
    max_processes: int = Field(default=1000, ge=1)


class Verify(_Section):
    """Run-wide checks; a plan's `verify` replaces these key by key."""

    each: tuple[CommandLine, ...] = ()
    final: tuple[CommandLine, ...] = ()
    baseline: bool = True
    timeout: Seconds = 900.0


with warnings.catch_warnings():
    # The key is `copy`, and pydantic's own deprecated method of that name is not missed.
    warnings.filterwarnings("ignore", 'Field name "copy"', UserWarning)

    class Worktrees(_Section):
        """Where worktrees live (`root: null` is the user's cache) and what makes them fit for use."""

        root: Path | None = None
        isolation: Literal["private", "linked"] = "private"
        copy: tuple[PathPattern, ...] = ()  # type: ignore[assignment]
        setup: tuple[CommandLine, ...] = ()
        setup_key: tuple[PathPattern, ...] = ()
        setup_timeout: Seconds = 900.0
        ports: int = Field(default=10, ge=0, le=1000)


class Budget(_Section):
    """Limits of a whole run; null is no limit."""

    wall: Seconds | None = None


class Settings(_Section):
    """All of `otto.yaml`."""

    agent: Literal["command"] = "command"
    concurrency: int = Field(default=4, ge=1, le=256)
    defaults: Defaults = Defaults()
    verify: Verify = Verify()
    worktrees: Worktrees = Worktrees()
    sandbox: Literal["auto", "bwrap", "subreaper"] = "auto"
    env_pass: tuple[str, ...] = ()
    home_pass: tuple[RelativePath, ...] = ()
    budget: Budget = Budget()
    durability: Durability = "full"
    branch_prefix: str = Field(
        default="otto", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*$"
    )


_FROM_ENVIRONMENT = {
    "OTTO_AGENT": ("agent",),
    "OTTO_BRANCH_PREFIX": ("branch_prefix",),
    "OTTO_BUDGET_WALL": ("budget", "wall"),
    "OTTO_CONCURRENCY": ("concurrency",),
    "OTTO_SANDBOX": ("sandbox",),
    "OTTO_WORKTREES_ROOT": ("worktrees", "root"),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from; `name` is that of the variable or the file, `line` where the file says it."""

    kind: Literal["command line", "variable", "file", "default"]
    name: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One key (dotted) with its value as `otto.yaml` would say it, and where that comes from."""

    key: str
    value: object
    origin: Origin


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and the same one by one."""

    settings: Settings
    listed: tuple[Setting, ...]


def read_settings(
    content: bytes | None,
    *,
    file: str,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> Settings:
    """Compose the settings as `read_configuration` does."""
    return read_configuration(content, file=file, environ=environ, overrides=overrides).settings


def read_configuration(
    content: bytes | None,
    *,
    file: str,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> Configuration:
    """Compose the content of `otto.yaml` (None where there is none), the environment and the command line.

    `overrides` are top-level keys that the command line gave.

    Raises:
        UsageError: anything is wrong; all faults at once, each with where it stands.

    """
    source = _load(content, file)
    data = dict(source.data) if source else {}
    for variable, place in _FROM_ENVIRONMENT.items():
        if variable in environ:
            data = _with(data, place, environ[variable])
    origins = _Origins(file, source, environ, overrides)
    try:
        settings = Settings.model_validate({**data, **overrides})
    except ValidationError as error:
        raise UsageError(
            "the configuration is not valid",
            hint="docs/reference/configuration.md lists every key",
            findings=tuple(origins.violation(fault["loc"], fault["msg"]) for fault in error.errors()),
        ) from error
    return Configuration(
        settings, tuple(Setting(".".join(key), value, origins.of(key)) for key, value in _leaves(settings))
    )


@dataclass(frozen=True, slots=True)
class _Origins:
    """Knows who said what, the strongest first."""

    file: str
    source: Source | None
    environ: Mapping[str, str]
    overrides: Mapping[str, object]

    def of(self, place: tuple[str, ...]) -> Origin:
        """Say where the value at a place comes from."""
        if place[0] in self.overrides:
            return Origin("command line")
        for variable, at in _FROM_ENVIRONMENT.items():
            if variable in self.environ and place[: len(at)] == at:
                return Origin("variable", variable)
        if self.source is not None and place in self.source.lines:
            return Origin("file", self.file, self.source.lines[place])
        return Origin("default")

    def violation(self, place: tuple[int | str, ...], message: str) -> Violation:
        """Say where a fault stands: the command line and a variable have no lines."""
        words = _in_words(place, message)
        match self.of(tuple(map(str, place)) or ("",)):
            case Origin("command line"):
                return Violation("command line", None, words)
            case Origin("variable", name):
                return Violation(name, None, words)
            case _:
                return Violation(self.file, self.source.line(place) if self.source else None, words)


def _leaves(section: BaseModel, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Give every key that is no section, with its value as it is written."""
    written = section.model_dump(mode="json")
    for name in type(section).model_fields:
        below = getattr(section, name)
        if isinstance(below, BaseModel):
            yield from _leaves(below, (*above, name))
        else:
            yield (*above, name), written[name]


def _load(content: bytes | None, file: str) -> Source | None:
    lines = (line.strip() for line in (content or b"").splitlines())
    if content is None or all(not line or line.startswith(b"#") for line in lines):
        return None
    source = load(content, file)
    if isinstance(source, Source):
        return source
    raise UsageError(
        f"{file} cannot be read",
        hint="it holds keys and values, such as `concurrency: 4`, or nothing",
        findings=tuple(Violation(v.file, v.line, v.message) for v in source),
    )


def _with(data: Mapping[str, object], place: tuple[str, ...], value: str) -> dict[str, object]:
    head, *rest = place
    if not rest:
        return {**data, head: value}
    below = data.get(head)
    return {**data, head: _with(below if isinstance(below, Mapping) else {}, tuple(rest), value)}


def _in_words(place: tuple[int | str, ...], message: str) -> str:
    key = ".".join(str(part) for part in place)
    return f"unknown key `{key}`" if message == "Extra inputs are not permitted" else f"`{key}`: {message}"
