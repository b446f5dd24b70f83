"""Failures a caller cannot go on from.

One type, one exit code, always a hint (the next thing to type or change).
"""

from enum import IntEnum
from typing import ClassVar

from planner.violations import Violation


class ExitCode(IntEnum):
    """What the `otto` process returns. The table in docs/reference/exit-codes.md says when."""

    OK = 0
    INCOMPLETE = 1
    USAGE = 2
    PLAN_REJECTED = 3
    REPOSITORY = 4
    AGENT = 5
    LOCKED = 6
    BUDGET = 7
    STALE = 8
    REGRESSION = 9
    WAITING = 10
    BUG = 70
    INTERRUPTED = 130


class OttoError(Exception):
    """Base of every failure that ends a command. `kind` is stable and appears in JSON."""

    kind: ClassVar[str]
    exit_code: ClassVar[ExitCode]

    def __init__(self, message: str, *, hint: str, findings: tuple[Violation, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.findings = findings


class UsageError(OttoError):
    """The command line or the configuration is wrong."""

    kind = "usage"
    exit_code = ExitCode.USAGE


class PlanRejected(OttoError):
    """The plan breaks rules; every violation is in `findings`."""

    kind = "plan_rejected"
    exit_code = ExitCode.PLAN_REJECTED


class RepositoryUnusable(OttoError):
    """No repository, no commit, not writable, no such revision, a store from a newer version."""

    kind = "repository"
    exit_code = ExitCode.REPOSITORY


class GitUnfinished(RepositoryUnusable):
    """A git program of Otto's did not come to an end of its own.

    It could not be started, or was killed: that says nothing of what it was working on.
    `mend` is what helps; the hint adds that the same is to be done again.
    """

    def __init__(self, message: str, *, mend: str) -> None:
        super().__init__(message, hint=f"{mend}; then do this again")
        self.mend = mend


class Locked(OttoError):
    """Another process of Otto holds what is needed."""

    kind = "locked"
    exit_code = ExitCode.LOCKED


class Stale(OttoError):
    """A branch moved since it was shown."""

    kind = "stale"
    exit_code = ExitCode.STALE


class Waiting(OttoError):
    """Nothing can go on without a person."""

    kind = "waiting"
    exit_code = ExitCode.WAITING


class Interrupted(OttoError):
    """A person stopped the command, or said no."""

    kind = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class IllegalTransition(Exception):
    """An event does not fit the state it is applied to: a bug in whoever composed it."""
