"""The typed events of a run. Their fold is the state; there is no second source of truth.

Each event says what happened and, in its docstring, what it does *not* guarantee.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from otto_core.errors import RepositoryUnusable
from otto_core.model import (
    BothChanged,
    Durability,
    GitPath,
    Outcome,
    Reason,
    SandboxMode,
    Telemetry,
    Verdict,
    json_of,
    path_in,
)
from planner.model import Plan
from planner.record import Record

Then = Literal["retry", "hold"]
"""What follows a failure: another attempt, or waiting for the end of the run's other work."""


Decided = Literal["landed", "retry", "skip"]
"""What a person says of a landing that nobody can determine: it did happen; it did not, and the task is to
land anew; it did not, and the task is to be skipped."""


class _Event(Record, frozen=True, kw_only=True, tag_field="type"):
    elapsed_s: float | None = None
    """Seconds that drivers have worked on the run, by their monotonic clocks; None for a person's events.

    The time between two drivers does not count.
    """

    @property
    def type(self) -> str:
        """The event's name in the journal."""
        return str(self.__struct_config__.tag)


class RunSettings(Record, frozen=True, kw_only=True):
    """What a run runs with, fixed at its start."""

    concurrency: int
    wall_s: float | None
    grace_s: float
    max_file_bytes: int
    verify_timeout_s: float
    locks: Literal["held", "unlocked"]
    sandbox: SandboxMode
    max_processes: int = 1000
    keep_worktrees: bool = False
    lock_wait_s: float | None = 0.0
    """How long a task waits for one lock of another run, in seconds; None is without limit."""
    isolation: Literal["private", "linked"] = "private"
    worktrees: str = ""
    """The directory of the run's worktrees."""
    copied: tuple[str, ...] = ()
    """Patterns of the untracked files that its worktrees get copies of."""
    durability: Durability = "full"
    """Whether what Otto writes for it is synced to the disk."""


class RunStarted(_Event, frozen=True, kw_only=True, tag="run_started"):
    """A run exists. Does not say that anything was executed."""

    intent: str
    slug: str
    base: str
    branch: str
    settings: RunSettings
    driver: str
    """Who drives: `pid@host`."""
    contracts: dict[str, str | None]
    """Version of each contract at the base; None where its paths do not exist yet."""
    dirty: tuple[GitPath, ...] = ()
    """The first five paths of the checkout that are not committed, and so no part of the run."""
    dirty_count: int | None = None
    """How many there are; None where there is no checkout, or it could not be read."""


class PlanStored(_Event, frozen=True, kw_only=True, tag="plan_stored"):
    """A compiled plan has a revision. Nothing executes that does not name one."""

    revision: int
    plan_id: str
    plan: Plan


class AttemptStarted(_Event, frozen=True, kw_only=True, tag="attempt_started"):
    """A task's command is about to execute. After a crash it may or may not have begun."""

    task: str
    attempt: int
    revision: int
    plan_id: str
    base: str
    contracts: dict[str, str | None]
    prompt_digest: str
    agent: str
    log: str


class AttemptProduced(_Event, frozen=True, kw_only=True, tag="attempt_produced"):
    """An attempt ended well; its snapshot passed the write gate and is pinned by a ref."""

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


class AttemptUnchanged(_Event, frozen=True, kw_only=True, tag="attempt_unchanged"):
    """An attempt ended well, changed nothing, and was allowed to."""

    task: str
    attempt: int
    ignored: tuple[GitPath, ...] = ()
    telemetry: Telemetry


class AttemptFailed(_Event, frozen=True, kw_only=True, tag="attempt_failed"):
    """An attempt ended badly. What it wrote is kept at `snapshot` (None where there was nothing to keep)."""

    task: str
    attempt: int
    reason: Reason
    then: Then
    snapshot: str | None
    ignored: tuple[GitPath, ...] = ()
    exit_code: int | None = None
    telemetry: Telemetry


class AttemptInterrupted(_Event, frozen=True, kw_only=True, tag="attempt_interrupted"):
    """An attempt was stopped from outside and does not count; what it had written is kept at `snapshot`.

    Where its driver died (`lost`), the one after it wrote this. Does not say how far the attempt had come.
    """

    task: str
    attempt: int
    snapshot: str | None
    telemetry: Telemetry
    lost: bool = False


class Checked(_Event, frozen=True, kw_only=True, tag="checked"):
    """A check gave a verdict on one exact tree. Does not say that the tree landed."""

    task: str | None
    attempt: int | None
    baseline: bool = False
    verdict: Verdict


class SetupEnded(_Event, frozen=True, kw_only=True, tag="setup_ended"):
    """The setup commands ran in a worktree. A good result says nothing of what they made."""

    slot: str
    key: str
    """Digest of the commands, of the files that decide about them, and of the copied files."""
    task: str | None
    attempt: int | None
    """The attempt on whose behalf: to make it, or to check what it produced."""
    result: Literal["passed", "failed", "timeout"]
    duration_s: float
    log: str


class LandingStarted(_Event, frozen=True, kw_only=True, tag="landing_started"):
    """The one mutation of a task is about to happen. After a crash, only Git knows whether it did."""

    task: str
    attempt: int
    expected_tip: str
    candidate: str
    tree: str
    strategy: str
    note: str = ""
    both_changed: tuple[BothChanged, ...] = ()


class LandingApplied(_Event, frozen=True, kw_only=True, tag="landing_applied"):
    """The tip was swapped to the candidate. Says nothing about the published branch."""

    task: str
    attempt: int
    commit: str
    contracts: dict[str, str | None]
    """Version of each contract at the new tip."""


class LandingLost(_Event, frozen=True, kw_only=True, tag="landing_lost"):
    """The tip had moved (or a crash came first) and the candidate is not on it: prepare anew."""

    task: str
    attempt: int


class LandingUndetermined(_Event, frozen=True, kw_only=True, tag="landing_undetermined"):
    """A driver died while a task landed, and Git does not tell whether it did: somebody rewrote the tip.

    Nothing that stands on the answer goes on until a person gives it.
    """

    task: str
    attempt: int
    why: str


class LandingDecided(_Event, frozen=True, kw_only=True, tag="landing_decided"):
    """A person said whether a landing that nobody can determine happened. The tip does not follow yet."""

    task: str
    attempt: int
    then: Decided
    by: str
    """Who: `user@host`."""


class LandingRejected(_Event, frozen=True, kw_only=True, tag="landing_rejected"):
    """What an attempt produced may not land; its snapshot stays pinned."""

    task: str
    attempt: int
    reason: Reason
    then: Then


class TaskFailed(_Event, frozen=True, kw_only=True, tag="task_failed"):
    """A task reached an honest end without landing."""

    task: str
    reason: Reason


class TaskSkipped(_Event, frozen=True, kw_only=True, tag="task_skipped"):
    """A person decided that a task is not to run or land; what waits for it is settled in turn."""

    task: str
    attempt: int | None = None
    """The task's latest attempt by then; None where there was none."""
    reason: Reason
    by: str


class TaskReopened(_Event, frozen=True, kw_only=True, tag="task_reopened"):
    """A person decided that a task is to be tried again, with as many attempts as the plan gives it."""

    task: str
    attempt: int | None = None
    """The task's latest attempt by then; None where there was none."""
    by: str
    because: str | None = None
    """The task that was named; this one had ended only as its consequence."""


class RunCancelled(_Event, frozen=True, kw_only=True, tag="run_cancelled"):
    """A person decided that the run is to end. What executes is ended by whoever drives it."""

    by: str


class RunResumed(_Event, frozen=True, kw_only=True, tag="run_resumed"):
    """Another driver goes on, after it had settled what the one before left half done."""

    driver: str
    settings: RunSettings
    """What the run runs with from now on."""


class RunCleaned(_Event, frozen=True, kw_only=True, tag="run_cleaned"):
    """A person decided that what is kept of a finished run goes: these refs, its logs. The journal stays.

    Written before anything is removed, so after a crash some of it may be there still.
    """

    by: str
    refs: dict[str, str]
    """Each ref with the commit it was at; what it held is on a branch, or superseded by what landed."""


class BranchPublished(_Event, frozen=True, kw_only=True, tag="branch_published"):
    """The result branch was moved by compare-and-swap from the value last published."""

    branch: str
    commit: str


class BranchWithheld(_Event, frozen=True, kw_only=True, tag="branch_withheld"):
    """The result branch was left alone; the run's tip ref holds the result."""

    branch: str
    why: str


class FinalChecked(_Event, frozen=True, kw_only=True, tag="final_checked"):
    """The run's final checks have been judged against the base."""

    tip: str
    regressed: tuple[str, ...]
    known: tuple[str, ...]
    """Commands that fail on the result and failed on the base too."""


class LockContended(_Event, frozen=True, kw_only=True, tag="lock_contended"):
    """A task could start but for a task of another run that is writing its paths; nothing of it has begun.

    Written once for each holder that it meets. Does not say how long it will take.
    """

    task: str
    pattern: str
    """A pattern of the task's own that meets one of the holder's."""
    holder_run: str
    holder_task: str
    holder: str
    """The driver of the other run: `pid@host`."""
    holder_pattern: str

    @property
    def told(self) -> str:
        """Say in words who is in the way, and where."""
        holder = f"{self.holder_task!r} of {self.holder_run} ({self.holder})"
        return f"{holder} is writing {self.holder_pattern}, which meets {self.pattern}"


class LockFreed(_Event, frozen=True, kw_only=True, tag="lock_freed"):
    """What a task waited for was released. Does not say that the task got it."""

    task: str


class RunPaused(_Event, frozen=True, kw_only=True, tag="run_paused"):
    """The driver stopped; tasks keep their states."""

    outcome: Outcome
    message: str
    hint: str = ""
    """How to go on, where it takes more than `otto resume`."""


class RunFinished(_Event, frozen=True, kw_only=True, tag="run_finished"):
    """Every task is settled."""

    outcome: Outcome


class Shown(_Event, frozen=True, kw_only=True, tag="shown"):
    """A person saw these ids; `otto land` expects them unless told otherwise."""

    target: str
    target_commit: str | None
    commit: str | None


class DeliveryStarted(_Event, frozen=True, kw_only=True, tag="delivery_started"):
    """A branch of a person's is about to move; `checkout` is where it is checked out, if it is.

    After a crash, Git, index and files together tell how far that came.
    """

    target: str
    """The full ref."""
    before: str
    after: str
    result: str
    """The run's tip that lands: `after` itself, or its second parent."""
    checkout: GitPath = b""
    strategy: str | None = None
    """How the merge was made; None where there is none."""
    note: str = ""
    both_changed: tuple[BothChanged, ...] = ()
    marks_writing: bool = False
    """Whether `delivery_writing` follows before files are written; an older Otto did not always say so."""


class DeliveryWriting(_Event, frozen=True, kw_only=True, tag="delivery_writing"):
    """Files of the checkout are about to be written. What was missing or cut short before is not Otto's."""

    target: str


class DeliveryApplied(_Event, frozen=True, kw_only=True, tag="delivery_applied"):
    """The branch moved, and with it index and files where it is checked out."""

    target: str
    commit: str


class DeliveryUndone(_Event, frozen=True, kw_only=True, tag="delivery_undone"):
    """The branch did not move; index and files are as they were, unless `why` names some."""

    target: str
    why: str


AttemptEnd = AttemptProduced | AttemptUnchanged | AttemptFailed | AttemptInterrupted
LandingStep = LandingStarted | LandingApplied | LandingLost | LandingUndetermined | LandingRejected
CourseEvent = RunStarted | RunResumed | RunCancelled | RunPaused | RunFinished | RunCleaned
DeliveryEvent = DeliveryStarted | DeliveryWriting | DeliveryApplied | DeliveryUndone
RunStep = (
    RunStarted
    | PlanStored
    | Checked
    | SetupEnded
    | BranchPublished
    | BranchWithheld
    | FinalChecked
    | LockContended
    | LockFreed
    | RunPaused
    | RunResumed
    | RunFinished
    | Shown
    | DeliveryEvent
)
TaskEnd = TaskFailed | TaskSkipped | TaskReopened
TaskEvent = AttemptStarted | AttemptEnd | LandingStep | LandingDecided | TaskEnd
RunEvent = RunStep | RunCancelled | RunCleaned
DecisionEvent = TaskSkipped | TaskReopened | LandingDecided | RunCancelled | RunCleaned
"""What a person decided, as opposed to a driver."""

Event = TaskEvent | RunEvent


def to_json(event: Event) -> str:
    """Give the body as the journal stores it: ASCII JSON, so that any path survives."""
    body = json_of(event)
    del body["type"]
    return json.dumps(body, separators=(",", ":"))


_KINDS: Final[Mapping[str, type[Event]]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Event)}
"""The class of each event by its name: of one class msgspec knows beforehand how it is read."""


def from_json(kind: str, body: str) -> Event:
    """Read an event back.

    Raises:
        RepositoryUnusable: the body was not written by this version of Otto.

    """
    try:
        event: Event = msgspec.convert(json.loads(body), _KINDS[kind], dec_hook=path_in)
    except (KeyError, ValueError, TypeError) as error:
        raise RepositoryUnusable(
            f"the journal holds an event {kind!r} that cannot be read: {error}",
            hint="use the version of Otto that wrote it",
        ) from error
    return event
