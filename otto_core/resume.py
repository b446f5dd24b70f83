"""Go on with a run whose driver is gone, or that was paused: recover first, then drive on.

What executes is what was stored: plan, base, checks and the rest of the settings are the run's own. A person
may give it a larger budget, other locks' patience and another concurrency.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from os import fsencode
from pathlib import Path

from msgspec import structs

from merge.objects import Oid
from otto_core import events as ev
from otto_core.build import drive, require_free, require_place
from otto_core.compose import Locking, configuration_at, wall_now
from otto_core.config import Settings
from otto_core.copies import gather
from otto_core.decisions import cleaned
from otto_core.errors import UsageError
from otto_core.git.durability import sync
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.locks import LockTable
from otto_core.model import Outcome, path_text
from otto_core.reconcile import append, tip_of
from otto_core.recover import has_commits, recover, require_base
from otto_core.recovery import obstacle
from otto_core.refusals import refusals
from otto_core.runlock import driver_name, hold
from otto_core.sandbox import choose
from otto_core.scheduler import Finish, Settle, decide
from otto_core.session import Observer, Session, open_session
from otto_core.slots import worktree_root
from otto_core.state import Run


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person gives a run to go on with; None leaves what it has."""

    concurrency: int | None = None
    wall_s: float | None = None
    unlimited: bool = False
    """Whether `wall_s` is lifted altogether."""
    lock_wait_s: float | None = 0.0


def resume(
    repository: GitRepository,
    run_id: str,
    limits: Limits,
    *,
    observe: Observer = lambda _event, _run: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Run:
    """Recover a run and drive it to its end or to a pause; gives its last state. One that is over stays so.

    Raises:
        UsageError: it was cleaned.
        Locked: a living process drives it, or another run is writing paths that it needs.
        RepositoryUnusable: the repository, its store or the worktrees cannot be used, or the base is gone.

    """
    require_place(repository)
    with ExitStack() as stack:
        stack.enter_context(refusals(f"otto resume {run_id}"))
        journal = stack.enter_context(Journal.open(repository.store / STORE))
        stack.enter_context(hold(repository.store, run_id))
        run = journal.load(run_id)
        if run.cleaned is not None:
            message, hint = cleaned(run)
            raise UsageError(message, hint=hint)
        if run.outcome.is_final:
            return run
        repository = sync(repository, run.settings.durability)
        journal.sync(run.settings.durability)
        if run.cancelled and not has_commits(repository, run):
            return _end_without_commits(repository, journal, run)
        require_base(repository, run)
        settings = _settings_of(repository, run)
        worktrees = worktree_root(repository, settings.worktrees.root)
        before = run.seq
        run = recover(repository, journal, run, {worktrees, Path(run.settings.worktrees or worktrees)})
        for stored in journal.events(run_id, after=before):
            observe(stored.event, run)
        run, stands_still = _stand_still(repository, journal, run)
        if stands_still:
            return run
        locking = Locking(held=run.settings.locks == "held", wait_s=limits.lock_wait_s)
        if locking.held and locking.wait_s == 0 and not run.cancelled:
            left = [name for name, task in run.tasks.items() if not task.status.settled]
            require_free(repository, run.plan, left, run=run_id)
        locks = LockTable(repository.store, run_id) if locking.held else None
        copies = gather(repository, settings.worktrees.copy)
        for warning in copies.warnings:
            warn(warning)
        _, bwrap = choose(settings.sandbox)
        session = open_session(run, journal, repository, settings, copies, bwrap)
        session.observe, session.stop.tell = observe, warn
        _go_on(session, limits)
        return drive(session, locks)


def _go_on(session: Session, limits: Limits) -> None:
    """Journal that another driver goes on with a run, and what it runs with from now on."""
    run = session.run
    given = structs.replace(
        run.settings,
        concurrency=limits.concurrency or run.settings.concurrency,
        wall_s=_wall_s(session.repository, run, limits),
        lock_wait_s=limits.lock_wait_s,
        sandbox="bwrap" if session.view else "subreaper",
        worktrees=path_text(fsencode(session.worktrees)),
    )
    while not session.append(ev.RunResumed(driver=driver_name(), settings=given)):
        pass  # a person decided something in this very moment, which counts


def _stand_still(repository: GitRepository, journal: Journal, run: Run) -> tuple[Run, bool]:
    """Journal why a recovered run cannot go on without a person; gives whether that is so."""
    while pause := obstacle(run, tip_of(repository, run)):
        if pause.is_said_of(run):
            return run, True
        run = append(journal, run, pause.event)
    return run, False


def _wall_s(repository: GitRepository, run: Run, limits: Limits) -> float | None:
    """Give the run's wall budget: as told now, else as its settings say by now, else as it was."""
    if limits.unlimited or limits.wall_s is not None:
        return limits.wall_s
    now = wall_now(repository, Oid(hex=run.start.base))
    return run.settings.wall_s if now in (None, run.start.settings.wall_s) else now


def _settings_of(repository: GitRepository, run: Run) -> Settings:
    """Read the settings as for a build on the run's base, but with the worktrees that it was started with."""
    settings = configuration_at(repository, Oid(hex=run.start.base)).configuration.settings
    started = {"isolation": run.settings.isolation, "copy": run.settings.copied}
    return settings.model_copy(update={"worktrees": settings.worktrees.model_copy(update=started)})


def _end_without_commits(repository: GitRepository, journal: Journal, run: Run) -> Run:
    """Bring a cancelled run to its end whose base or tip is gone, so that nothing of it can be driven."""
    run = recover(repository, journal, run, {Path(run.settings.worktrees)} if run.settings.worktrees else ())
    while not run.outcome.is_final and not run.landing:
        for action in decide(structs.replace(run, outcome=Outcome.RUNNING), run.elapsed_s):
            match action:
                case Settle(task, reason):
                    run = append(journal, run, ev.TaskFailed(task=task, reason=reason))
                case Finish(outcome):
                    run = append(journal, run, ev.RunFinished(outcome=outcome))
                case _:
                    raise RuntimeError(f"a cancelled run does not {action}")
    return _stand_still(repository, journal, run)[0]
