"""The execution gate: the single way in which a step executes.

A step names a revision of a stored compiled plan and a place in it; the gate takes the command from the
plan itself, never from the caller. So what was stored is what executes, and nothing executes that was not
stored (invariant I1).

The gate takes the write set of a task, all of it, before the task's attempt begins, and gives it back when
the attempt's end is journalled. No attempt executes without (G2), unless the run says that it is unlocked.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from otto_core.agents import AGENTS
from otto_core.execution import Command, Ending, execute
from otto_core.locks import LockTable
from otto_core.state import Run, StoredPlan
from otto_core.stop import Stop
from otto_core.writesets import Contention, write_set
from planner.canonical import plan_id
from planner.model import Command as CheckCommand


@dataclass(frozen=True, slots=True)
class AttemptStep:
    """Execute a task of a stored plan."""

    revision: int
    plan_id: str
    task: str


@dataclass(frozen=True, slots=True)
class CheckStep:
    """Execute one check of a stored plan: the `number`th of its scope.

    `task` where the scope is a task's own.
    """

    revision: int
    plan_id: str
    scope: Literal["task", "each", "final"]
    number: int
    task: str | None = None


@dataclass(frozen=True, slots=True)
class SetupStep:
    """Execute the `number`th setup command of a stored plan."""

    revision: int
    plan_id: str
    number: int


Step = AttemptStep | CheckStep | SetupStep


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step executes.

    The worktree, the environment, the log of its output, the marker of its processes; the command line of
    the sandbox, and the names of the values that must not reach the log.
    """

    cwd: Path
    env: Mapping[str, str]
    log: Path
    marker: str
    cage: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)


def check_of(stored: StoredPlan, step: CheckStep) -> CheckCommand:
    """Give the command of a check (LookupError if the plan has no such check)."""
    match step.scope:
        case "task":
            return stored.plan.task(step.task or "").verify[step.number]
        case "each":
            return stored.plan.verify.each[step.number]
        case "final":
            return stored.plan.verify.final[step.number]


class StepRefused(Exception):
    """A step names no stored plan, or nothing in it: a bug in whoever composed it."""


class ExecutionGate:
    """Executes steps of one run; `locks` is None where the run is unlocked.

    `verified` are the revisions whose plans are known to have the ids that they are stored under.
    """

    def __init__(
        self,
        run: Callable[[], Run],
        stop: Stop,
        locks: LockTable | None = None,
        verified: set[int] | None = None,
    ) -> None:
        self._run = run
        self._stop = stop
        self._locks = locks
        self._verified: set[int] = set() if verified is None else verified

    def until(self, stop: Stop) -> "ExecutionGate":
        """Give the same gate, whose executions end when this is set."""
        return ExecutionGate(self._run, stop, self._locks, self._verified)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Contention | None]:
        """Hold the write set of a task; gives who is in the way where it is not to be had.

        Raises:
            Locked, GivenUp, RepositoryUnusable: as `LockTable.acquire`.

        """
        locks, plan = self._locks, self._run().plan
        if locks is None:
            yield None
            return
        wanted = write_set(plan, plan.task(name))
        # In threads of their own: whoever waits for the table keeps no Git work from being done.
        take = partial(locks.acquire, name, wanted, given_up=self._stop.is_set)
        contention = await asyncio.to_thread(take)
        try:
            yield contention
        finally:
            if contention is None:
                await asyncio.to_thread(partial(locks.release, name, given_up=self._stop.is_set))

    async def execute(self, step: Step, place: Place) -> Ending:
        """Execute a step to its end.

        Raises:
            StepRefused: it belongs to no stored plan, or would execute without a write set.

        """
        stored = self._stored(step)
        match step:
            case AttemptStep(task=name):
                task = stored.plan.task(name)
                if not task.owns and not task.extends:
                    raise StepRefused(f"task {name!r} has an empty write set")
                self._require_lock(stored, name)
                invocation = AGENTS[task.agent].invoke(task)
                argv, stdin, timeout_s = invocation.argv, invocation.stdin, task.timeout_s
            case CheckStep():
                argv, stdin, timeout_s = check_of(stored, step).argv, b"", stored.plan.verify.timeout_s
            case SetupStep(number=number):
                if (setup := stored.plan.setup) is None:
                    raise StepRefused(f"revision {stored.revision} has no setup")
                argv, stdin, timeout_s = setup.commands[number].argv, b"", setup.timeout_s
        settings = self._run().settings
        command = Command(
            argv=argv,
            cwd=place.cwd,
            env=place.env,
            log=place.log,
            timeout_s=timeout_s,
            grace_s=settings.grace_s,
            marker=place.marker,
            stdin=stdin,
            cage=place.cage,
            max_processes=settings.max_processes,
            secrets=place.secrets,
        )
        return await execute(command, self._stop)

    def _require_lock(self, stored: StoredPlan, name: str) -> None:
        if self._run().settings.locks == "unlocked":
            return
        wanted = write_set(stored.plan, stored.plan.task(name))
        if self._locks is None or not self._locks.holds(name, wanted):
            raise StepRefused(f"the write set of task {name!r} is not held")

    def _stored(self, step: Step) -> StoredPlan:
        for stored in self._run().stored:
            if stored.revision == step.revision and stored.plan_id == step.plan_id:
                if stored.revision not in self._verified and plan_id(stored.plan) != stored.plan_id:
                    raise StepRefused(
                        f"the plan of revision {step.revision} does not have the id it is stored under"
                    )
                self._verified.add(stored.revision)
                return stored
        raise StepRefused(f"no stored plan has revision {step.revision} and id {step.plan_id[:12]}")
