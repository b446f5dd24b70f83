"""The nouns of a run as the journal stores them: states, reasons, telemetry, verdicts."""

import json
import signal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from planner.record import Record

if TYPE_CHECKING:
    GitPath = bytes
    """A raw path: bytes in memory, surrogate-escaped text in JSON."""
else:

    class GitPath(bytes):
        """Marks the fields that are read as paths; for msgspec, plain bytes would be Base64."""


def path_text(path: bytes) -> str:
    """Give a Git path as text; bytes that are not UTF-8 become lone surrogates (PEP 383), escaped in JSON."""
    return path.decode("utf-8", "surrogateescape")


_SENT = frozenset(
    code for number in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM) for code in (-number, 128 + number)
)


def is_sent(exit_code: int | None) -> bool:
    """Tell whether an exit code tells of a signal that others send: a shutdown, an out-of-memory killer.

    Negative where it ended the process itself; above 128 where a shell tells so of what it ran.
    """
    return exit_code in _SENT


def json_of(record: Record) -> dict[str, Any]:
    """Give a record as JSON has it: objects, lists, text, numbers."""
    plain = msgspec.to_builtins(record, builtin_types=(bytes,), enc_hook=path_text)
    found: dict[str, Any] = json.loads(json.dumps(plain, default=path_text))
    return found


def path_in(kind: type, value: object) -> object:
    """Read a path: the `dec_hook` with which `msgspec.convert` makes a record of what `json.loads` gives."""
    if kind is GitPath and isinstance(value, str):
        return GitPath(value.encode("utf-8", "surrogateescape"))
    raise TypeError(f"a path is text, not {value!r}")


Durability = Literal["full", "fast"]
"""What Otto's writes survive: a power cut, or only the end of the process that made them."""

SandboxMode = Literal["bwrap", "subreaper"]
"""How processes are kept apart and ended: in a namespace of bubblewrap's, or by a sweep for them."""


class TaskStatus(StrEnum):
    """Where a task stands. The legal moves are in `otto_core.state`."""

    PENDING = "pending"
    RUNNING = "running"
    PRODUCED = "produced"
    LANDING = "landing"
    LANDED = "landed"
    UNCHANGED = "unchanged"
    HELD = "held"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def satisfies(self) -> bool:
        """Whether tasks that wait for this one may go on."""
        return self in (TaskStatus.LANDED, TaskStatus.UNCHANGED)

    @property
    def ended_badly(self) -> bool:
        """Whether the task is over without a result: what waits for it cannot run."""
        return self in (TaskStatus.FAILED, TaskStatus.SKIPPED)

    @property
    def settled(self) -> bool:
        """Whether nothing further happens to the task by itself."""
        return self.satisfies or self.ended_badly


class ReasonKind(StrEnum):
    """Why a task did not land: a closed list."""

    AGENT_FAILED = "agent_failed"
    AGENT_TIMEOUT = "agent_timeout"
    NO_CHANGE = "no_change"
    VERIFY_FAILED = "verify_failed"
    VERIFY_TIMEOUT = "verify_timeout"
    WRITE_GATE = "write_gate"
    UNSAFE_CONTENT = "unsafe_content"
    SETUP_FAILED = "setup_failed"
    CONFLICT = "conflict"
    FOUNDATION_UNSATISFIED = "foundation_unsatisfied"
    CONTRACTS_MISSING = "contracts_missing"
    DEPENDENCY_FAILED = "dependency_failed"
    SKIPPED_BY_USER = "skipped_by_user"
    CANCELLED = "cancelled"

    @property
    def is_consequence(self) -> bool:
        """Whether a task ended so only because another one did."""
        return self in (ReasonKind.FOUNDATION_UNSATISFIED, ReasonKind.DEPENDENCY_FAILED)


class Reason(Record, frozen=True, kw_only=True):
    """Why, in words for a person (`message`, `hint`) and in facts for a program (`kind`, `paths`)."""

    kind: ReasonKind
    message: str
    hint: str = ""
    paths: tuple[GitPath, ...] = ()
    evidence: str | None = None  # a log of the run, by its name


class Telemetry(Record, frozen=True, kw_only=True):
    """What an attempt cost. Where something is not known, `missing` says why."""

    requested_model: str | None = None
    actual_model: str | None = None
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    duration_s: float
    missing: str | None = None


class Verdict(Record, frozen=True, kw_only=True):
    """What one check said of one tree.

    `digest` identifies the check's definition and environment, so that a verdict is never reused for another.
    """

    command: str
    scope: Literal["task", "each", "final"]
    tree: str
    digest: str
    result: Literal["passed", "failed", "timeout"]
    exit_code: int | None
    duration_s: float
    log: str

    def excuses(self, other: "Verdict") -> bool:
        """Tell whether this one, of a tree without the work in question, keeps the other from counting.

        It does where both end alike. Not where a signal ended this one: that says nothing of its tree.
        """
        return self.result == other.result != "passed" and not is_sent(self.exit_code)


class BothChanged(Record, frozen=True, kw_only=True):
    """A path that both sides of a merge changed, as the audit found it; ids are blobs."""

    path: GitPath
    base: str | None
    tip: str | None
    task: str | None
    result: str | None


class Outcome(StrEnum):
    """How a run stands as a whole."""

    RUNNING = "running"
    LANDED = "landed"
    PARTIAL = "partial"
    FAILED = "failed"
    REGRESSION = "regression"
    BUDGET = "budget"
    WAITING = "waiting"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether the run came to its end; nothing goes on unless a person reopens a task."""
        return self in (Outcome.LANDED, Outcome.PARTIAL, Outcome.FAILED, Outcome.REGRESSION)
