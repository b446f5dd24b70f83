"""The compiled plan: immutable, canonical, and complete enough that scheduling needs no graph library."""

import shlex
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

Role = Literal["foundation", "feature"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Command(_Frozen):
    """What to execute: exactly one of a shell line and a list of arguments."""

    shell: str | None = None
    arguments: tuple[str, ...] | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The program and its arguments; a shell line goes to `sh -c`."""
        return self.arguments if self.arguments is not None else ("sh", "-c", self.shell or "")

    @property
    def text(self) -> str:
        """The command on one line, for people and as its name in the journal."""
        return self.shell if self.shell is not None else shlex.join(self.arguments or ())


class Contract(_Frozen):
    """A named set of paths that a foundation owns and others rely on; `union` makes it a registry."""

    id: str
    paths: tuple[str, ...]
    merge: Literal["union"] | None = None


class Verify(_Frozen):
    """The checks of the whole run."""

    each: tuple[Command, ...] = ()
    final: tuple[Command, ...] = ()
    baseline: bool = True
    timeout_s: float


class Task(_Frozen):
    """One task.

    `after` holds all direct predecessors, implied ones included. `generation` counts from 0; `priority` is
    the number of tasks on the longest chain from this one to an end.
    """

    id: str
    role: Role
    title: str
    owns: tuple[str, ...]
    provides: tuple[str, ...]
    depends_on: tuple[str, ...]
    after: tuple[str, ...]
    reads: tuple[str, ...]
    extends: tuple[str, ...]
    prompt: str
    run: Command | None
    agent: str
    verify: tuple[Command, ...]
    timeout_s: float
    max_attempts: int
    retry_from: Literal["tip", "attempt"]
    allow_empty: bool
    generation: int
    priority: int


class Plan(_Frozen):
    """A compiled plan; `parent` is the id of the plan that it continues."""

    version: Literal[1] = 1
    intent: str
    base: str
    parent: str | None = None
    contracts: tuple[Contract, ...]
    verify: Verify
    tasks: tuple[Task, ...]

    def task(self, name: str) -> Task:
        """Give a task by its full id (KeyError if there is none)."""
        return self._by_id[name]

    @cached_property
    def _by_id(self) -> Mapping[str, Task]:
        return {task.id: task for task in self.tasks}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the plan, with other values for the fields in `update` (pydantic's own method)."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_by_id", None)  # which pydantic copies too, though it may be of other tasks
        return copied
