"""A build from composed plan to last state: what the command line, and any other front, calls."""

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from merge.objects import Oid
from merge.paths import show
from otto_core.compose import Composed, Locking, run_settings, slug_of
from otto_core.copies import gather
from otto_core.disk import format_bytes, room_for
from otto_core.driver import Driver, create_run, new_run_id
from otto_core.environment import home
from otto_core.git.durability import sync
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.locks import LockTable, contentions
from otto_core.mounts import require_local
from otto_core.reconcile import reconcile_all
from otto_core.refusals import refusals
from otto_core.runlock import hold
from otto_core.sandbox import choose
from otto_core.session import Observer, Session, open_session
from otto_core.slots import worktree_root
from otto_core.state import Run
from otto_core.writesets import refusal, write_set
from planner.model import Plan

_TAKE_LOCKS = Locking()


def build(
    repository: GitRepository,
    composed: Composed,
    *,
    keep_worktrees: bool = False,
    locking: Locking = _TAKE_LOCKS,
    observe: Observer | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Run:
    """Start a run and drive it to its end or to a pause; gives its last state.

    What an earlier driver left half landed is reconciled from Git first; what cannot be is told to `warn`.

    Raises:
        Locked: another run is writing paths of the plan, and the run is not to wait; nothing was written.
        RepositoryUnusable: the repository, its store or the worktrees cannot be used, or it is on a network
            file system; then nothing was written.

    """
    require_place(repository)
    if locking.held and locking.wait_s == 0:
        require_free(repository, composed.plan, [task.id for task in composed.plan.tasks])
    worktrees = worktree_root(repository, composed.settings.worktrees.root)
    copies = gather(repository, composed.settings.worktrees.copy)
    for warning in (*copies.warnings, *_scarcity(repository, composed, worktrees)):
        warn(warning)
    repository = sync(repository, composed.settings.durability)
    with ExitStack() as stack:
        stack.enter_context(refusals("otto build again"))
        journal = stack.enter_context(
            Journal.open(repository.store / STORE, durability=composed.settings.durability)
        )
        for problem in reconcile_all(repository, journal):
            warn(problem)
        run_id = new_run_id(datetime.now(UTC), journal.run_ids())
        stack.enter_context(hold(repository.store, run_id))
        locks = LockTable(repository.store, run_id) if locking.held else None
        sandbox, bwrap = choose(composed.settings.sandbox)
        settings = run_settings(
            composed.settings,
            composed.plan,
            sandbox=sandbox,
            keep_worktrees=keep_worktrees,
            locking=locking,
            worktrees=worktrees,
        )
        run = create_run(
            repository,
            journal,
            composed.plan,
            settings,
            run_id=run_id,
            prefix=composed.settings.branch_prefix,
            slug=slug_of(composed.plan.intent),
        )
        session = open_session(run, journal, repository, composed.settings, copies, bwrap)
        session.observe = observe or session.observe
        session.stop.tell = warn
        return drive(session, locks)


def drive(session: Session, locks: LockTable | None) -> Run:
    """Drive a run to its end or to a pause. The caller holds its lock."""
    session.locks = locks
    if locks is not None:
        locks.clear()
    return asyncio.run(Driver(session).drive())


def require_place(repository: GitRepository) -> None:
    """Refuse what no run can be driven in, before anything is written.

    Raises:
        RepositoryUnusable: nothing can be written there, it is on a network file system, or the user has no
            home.

    """
    repository.require_writable()
    home()
    require_local(repository.common_dir)


def require_free(repository: GitRepository, plan: Plan, tasks: Iterable[str], *, run: str = "") -> None:
    """Refuse to execute tasks of a run that another one is in the way of.

    Raises:
        Locked: another run is writing paths of one of them.

    """
    wanted = {name: write_set(plan, plan.task(name)) for name in tasks}
    if found := contentions(repository.store, wanted, run=run):
        raise refusal(found.values())


def _scarcity(repository: GitRepository, composed: Composed, worktrees: Path) -> tuple[str, ...]:
    """Say so where the worktrees that a run has yet to fill will not find room (S5)."""
    plan = composed.plan
    checked = plan.verify.each or plan.verify.final or any(task.verify for task in plan.tasks)
    room = room_for(
        worktrees,
        repository,
        Oid(hex=plan.base),
        attempts=min(composed.settings.concurrency, len(plan.tasks)),
        checks=1 if checked else 0,
    )
    if not room.short:
        return ()
    needed, free = format_bytes(room.needed_bytes), format_bytes(room.free_bytes)
    place = show(os.fsencode(worktrees))
    return (f"{room.missing} new worktrees take about {needed}, and {free} are free at {place}",)
