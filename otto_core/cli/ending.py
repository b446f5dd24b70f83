"""How a run ended, as the verbs that drive one tell it."""

from collections.abc import Mapping

from otto_core.cli import output
from otto_core.errors import ExitCode, Locked
from otto_core.git.repository import GitRepository
from otto_core.presence import landed_in_git
from otto_core.report import document, summary
from otto_core.scheduler import exit_code
from otto_core.state import Run


def tell_end(repository: GitRepository, run: Run, more: Mapping[str, object], *, as_json: bool) -> None:
    """Print how a run stands: in words, or as the one JSON document with `more` in it."""
    if as_json:
        output.json_document({**document(run, landed_in_git(repository, run)), **more})
    else:
        output.lines(summary(run))


def refuse_locked(run: Run, *, as_json: bool) -> None:
    """Where a JSON document is asked for, a run that waits for another's lock is an error like any lock.

    Raises:
        Locked: the run was paused for that.

    """
    if as_json and run.paused and exit_code(run) is ExitCode.LOCKED:
        raise Locked(f"{run.id}: {run.paused.message}", hint=f"otto status {run.id}")
