"""How a run ended, as the verbs that drive one tell it."""

from merge.objects import Oid
from otto_core.cli import output, select
from otto_core.cli.land import Landing, land_built
from otto_core.delivery import Order
from otto_core.errors import ExitCode, Locked
from otto_core.freshness import record_shown
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.presence import landed_in_git
from otto_core.report import document, summary
from otto_core.scheduler import exit_code
from otto_core.state import Run


def end(
    repository: GitRepository, run: Run, into: str | None, target: Oid | None, *, as_json: bool
) -> ExitCode:
    """Land what landed on the branch `into` (at `target`), if all is well, and tell how the run stands.

    Raises:
        Locked: a JSON document is asked for, and the run waits for another's lock: an error like any lock.

    """
    with select.opened() as (_, journal):
        run = record_shown(repository, journal, run)
    code = exit_code(run)
    if as_json and run.paused and code is ExitCode.LOCKED:
        raise Locked(f"{run.id}: {run.paused.message}", hint=f"otto status {run.id}")
    landing = Landing(None, code)
    if into and run.outcome is Outcome.LANDED:
        order = Order(run.id, f"refs/heads/{into}", str(target))
        landing = land_built(repository, order, run.settings.durability)
        with select.opened() as (_, journal):
            run = journal.refresh(run)
    tell_end(repository, run, {"delivery": landing.document(into)} if into else {}, as_json=as_json)
    if not as_json:
        landing.tell(into)
    return landing.exit_code


def tell_end(repository: GitRepository, run: Run, more: dict[str, object], *, as_json: bool) -> None:
    """Print how a run stands: in words, or as the one JSON document with `more` in it."""
    if as_json:
        output.json_document({**document(run, landed_in_git(repository, run)), **more})
    else:
        output.lines(summary(run))
