"""The compiled plan: immutable, canonical, and complete enough that scheduling needs no graph library."""

import shlex
from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from planner.record import Record

Role = Literal["foundation", "feature"]


class Command(Record, frozen=True, kw_only=True):
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


class Contract(Record, frozen=True, kw_only=True):
    """A named set of paths that a foundation owns and others rely on; `union` makes it a registry."""

    id: str
    paths: tuple[str, ...]
    merge: Literal["union"] | None = None


class Verify(Record, frozen=True, kw_only=True):
    """The checks of the whole run."""

    each: tuple[Command, ...] = ()
    final: tuple[Command, ...] = ()
    baseline: bool = True
    timeout_s: float


class Setup(Record, frozen=True, kw_only=True):
    """What makes a worktree fit for use: commands, one after another, each with a time limit.

    `key` are patterns of the files whose content decides whether what the commands made still holds.
    """

    commands: tuple[Command, ...]
    key: tuple[str, ...] = ()
    timeout_s: float


class Task(Record, frozen=True, kw_only=True):
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


class Plan(Record, frozen=True, kw_only=True, dict=True):
    """A compiled plan; `parent` is the id of the plan that it continues.

    It has a `__dict__` for what is computed once; that is no part of its value, of its JSON or of its copies.
    """

    version: Literal[1] = 1
    intent: str
    base: str
    parent: str | None = None
    contracts: tuple[Contract, ...]
    verify: Verify
    setup: Setup | None = None
    tasks: tuple[Task, ...]

    def task(self, name: str) -> Task:
        """Give a task by its full id (KeyError if there is none)."""
        return self._by_id[name]

    @cached_property
    def _by_id(self) -> Mapping[str, Task]:
        return {task.id: task for task in self.tasks}
