"""Configuration: command line, then `OTTO_*` variables, then `otto.yaml`, then defaults.

`otto.yaml` is read from the base commit, never from an agent's tree. The models below are the whole of what
it may say; an unknown key is an error with its line.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from otto_core.errors import UsageError
from planner.durations import parse_duration
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
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
CommandLine = Annotated[str | tuple[str, ...], AfterValidator(_checked_command)]


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


class Worktrees(_Section):
    """Where worktrees live; `root: null` is the user's cache directory."""

    root: Path | None = None


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


def read_settings(content: bytes | None, *, file: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Compose the settings from the content of `otto.yaml` (None where there is none) and the environment.

    Raises:
        UsageError: anything is wrong; all faults at once, each with its line.

    """
    source = _load(content, file)
    data = dict(source.data) if source else {}
    for variable, place in _FROM_ENVIRONMENT.items():
        if variable in environ:
            data = _with(data, place, environ[variable])
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise UsageError(
            "the configuration is not valid",
            hint="docs/reference/configuration.md lists every key",
            findings=tuple(
                Violation(
                    file,
                    source.line(tuple(fault["loc"])) if source else None,
                    _in_words(fault["loc"], fault["msg"]),
                )
                for fault in error.errors()
            ),
        ) from error


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
