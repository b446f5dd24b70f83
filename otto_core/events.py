"""The typed events of a run. Their fold is the state; there is no second source of truth.

Each event says what happened and, in its docstring, what it does *not* guarantee.
"""

import json
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from otto_core.model import BothChanged, GitPath, Outcome, Reason, Record, SandboxMode, Telemetry, Verdict
from planner.model import Plan

Then = Literal["retry", "hold"]
"""What follows a failure: another attempt, or waiting for the end of the run's other work."""


class _Event(Record):
    elapsed_s: float | None = None
    """Seconds since the writing driver started, by its monotonic clock; None for a person's events."""


class RunSettings(Record):
    """What a run runs with, fixed at its start."""

    concurrency: int
    wall_s: float | None
    grace_s: float
    max_file_bytes: int
    verify_timeout_s: float
    locks: Literal["unlocked"]
    sandbox: SandboxMode
    max_processes: int = 1000
    keep_worktrees: bool = False


class RunStarted(_Event):
    """A run exists. Does not say that anything was executed."""

    type: Literal["run_started"] = "run_started"
    intent: str
    slug: str
    base: str
    branch: str
    settings: RunSettings
    driver: str
    """Who drives: `pid@host`."""
    contracts: dict[str, str | None]
    """Version of each contract at the base; None where its paths do not exist yet."""


class PlanStored(_Event):
    """A compiled plan has a revision. Nothing executes that does not name one."""

    type: Literal["plan_stored"] = "plan_stored"
    revision: int
    plan_id: str
    plan: Plan


class AttemptStarted(_Event):
    """A task's command is about to execute. After a crash it may or may not have begun."""

    type: Literal["attempt_started"] = "attempt_started"
    task: str
    attempt: int
    revision: int
    plan_id: str
    base: str
    contracts: dict[str, str | None]
    prompt_digest: str
    agent: str
    log: str


class AttemptProduced(_Event):
    """An attempt ended well; its snapshot passed the write gate and is pinned by a ref."""

    type: Literal["attempt_produced"] = "attempt_produced"
    task: str
    attempt: int
    snapshot: str
    tree: str
    changed: int
    ignored: tuple[GitPath, ...] = ()
    exit_code: int = 0
    summary: tuple[str, ...] = ()
    """Subjects of the commits that the agent made itself."""
    telemetry: Telemetry


class AttemptUnchanged(_Event):
    """An attempt ended well, changed nothing, and was allowed to."""

    type: Literal["attempt_unchanged"] = "attempt_unchanged"
    task: str
    attempt: int
    ignored: tuple[GitPath, ...] = ()
    telemetry: Telemetry


class AttemptFailed(_Event):
    """An attempt ended badly. What it wrote is kept at `snapshot` (None where there was nothing to keep)."""

    type: Literal["attempt_failed"] = "attempt_failed"
    task: str
    attempt: int
    reason: Reason
    then: Then
    snapshot: str | None
    ignored: tuple[GitPath, ...] = ()
    exit_code: int | None = None
    telemetry: Telemetry


class AttemptInterrupted(_Event):
    """An attempt was stopped from outside and does not count; what it had written is kept at `snapshot`."""

    type: Literal["attempt_interrupted"] = "attempt_interrupted"
    task: str
    attempt: int
    snapshot: str | None
    telemetry: Telemetry


class Checked(_Event):
    """A check gave a verdict on one exact tree. Does not say that the tree landed."""

    type: Literal["checked"] = "checked"
    task: str | None
    attempt: int | None
    baseline: bool = False
    verdict: Verdict


class LandingStarted(_Event):
    """The one mutation of a task is about to happen. After a crash, only Git knows whether it did."""

    type: Literal["landing_started"] = "landing_started"
    task: str
    attempt: int
    expected_tip: str
    candidate: str
    tree: str
    strategy: str
    note: str = ""
    both_changed: tuple[BothChanged, ...] = ()


class LandingApplied(_Event):
    """The tip was swapped to the candidate. Says nothing about the published branch."""

    type: Literal["landing_applied"] = "landing_applied"
    task: str
    attempt: int
    commit: str
    contracts: dict[str, str | None]
    """Version of each contract at the new tip."""


class LandingLost(_Event):
    """The tip had moved (or a crash came first) and the candidate is not on it: prepare anew."""

    type: Literal["landing_lost"] = "landing_lost"
    task: str
    attempt: int


class LandingRejected(_Event):
    """What an attempt produced may not land; its snapshot stays pinned."""

    type: Literal["landing_rejected"] = "landing_rejected"
    task: str
    attempt: int
    reason: Reason
    then: Then


class TaskFailed(_Event):
    """A task reached an honest end without landing."""

    type: Literal["task_failed"] = "task_failed"
    task: str
    reason: Reason


class BranchPublished(_Event):
    """The result branch was moved by compare-and-swap from the value last published."""

    type: Literal["branch_published"] = "branch_published"
    branch: str
    commit: str


class BranchWithheld(_Event):
    """The result branch was left alone; the run's tip ref holds the result."""

    type: Literal["branch_withheld"] = "branch_withheld"
    branch: str
    why: str


class FinalChecked(_Event):
    """The run's final checks have been judged against the base."""

    type: Literal["final_checked"] = "final_checked"
    tip: str
    regressed: tuple[str, ...]
    known: tuple[str, ...]
    """Commands that fail on the result and failed on the base too."""


class RunPaused(_Event):
    """The driver stopped; tasks keep their states."""

    type: Literal["run_paused"] = "run_paused"
    outcome: Outcome
    message: str


class RunFinished(_Event):
    """Every task is settled."""

    type: Literal["run_finished"] = "run_finished"
    outcome: Outcome


class Shown(_Event):
    """A person saw these ids; `otto land` expects them unless told otherwise."""

    type: Literal["shown"] = "shown"
    target: str
    target_commit: str | None
    commit: str | None


AttemptEnd = AttemptProduced | AttemptUnchanged | AttemptFailed | AttemptInterrupted
LandingEvent = LandingStarted | LandingApplied | LandingLost | LandingRejected
TaskEvent = AttemptStarted | AttemptEnd | LandingEvent | TaskFailed
RunEvent = (
    RunStarted
    | PlanStored
    | Checked
    | BranchPublished
    | BranchWithheld
    | FinalChecked
    | RunPaused
    | RunFinished
    | Shown
)
Event = TaskEvent | RunEvent

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def to_json(event: Event) -> str:
    """Give the body as the journal stores it: ASCII JSON, so that any path survives."""
    return json.dumps(event.model_dump(mode="json", exclude={"type"}), separators=(",", ":"))


def from_json(kind: str, body: str) -> Event:
    """Read an event back.

    Raises:
        pydantic.ValidationError: the body was not written by this version of Otto.

    """
    return _ADAPTER.validate_python({**json.loads(body), "type": kind})
