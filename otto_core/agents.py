"""Agents: how a task becomes a command, and what its telemetry is. One entry a kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from otto_core.model import Telemetry
from planner.model import Task


@dataclass(frozen=True, slots=True)
class Invocation:
    """What to execute for a task, and what to write to its standard input."""

    argv: tuple[str, ...]
    stdin: bytes


class Agent(Protocol):
    """The seam to a kind of agent."""

    @property
    def model(self) -> str | None:
        """The model that is asked for; None where there is none."""
        ...

    def invoke(self, task: Task) -> Invocation:
        """Give the command for a task."""
        ...

    def telemetry(self, duration_s: float) -> Telemetry:
        """Say what an attempt cost."""
        ...


class CommandAgent:
    """Executes the task's `run`: a string by `sh -c`, a list as it is. The prompt goes to standard input."""

    model = None

    def invoke(self, task: Task) -> Invocation:
        """Give the command for a task."""
        if task.run is None:
            raise ValueError(f"task {task.id!r} has no command to run")
        return Invocation(task.run.argv, task.prompt.encode())

    def telemetry(self, duration_s: float) -> Telemetry:
        """Say what an attempt cost: a command has no model, and says so."""
        return Telemetry(duration_s=round(duration_s, 3), missing="command agent")


AGENTS: Mapping[str, Agent] = {"command": CommandAgent()}
