"""Bring the journal in line with Git after a crash: the journal follows Git, never the reverse."""

from merge.candidate import Landed
from merge.objects import Oid
from otto_core import events as ev
from otto_core.contracts import versions
from otto_core.errors import Locked, RepositoryUnusable
from otto_core.git import GitRepository
from otto_core.journal import Appended, Journal
from otto_core.publish import publish
from otto_core.recovery import resolve
from otto_core.refs import run_ref
from otto_core.runlock import hold
from otto_core.state import Run


def reconcile_all(repository: GitRepository, journal: Journal) -> list[str]:
    """Settle the started landings of every run that no living process drives; names the runs that changed."""
    changed = []
    for run_id in journal.run_ids():
        run = journal.load(run_id)
        if run.landing is None:
            continue
        try:
            with hold(repository.store, run_id):
                if reconcile(repository, journal, run) is not run:
                    changed.append(run_id)
        except Locked:
            continue
    return changed


def reconcile(repository: GitRepository, journal: Journal, run: Run) -> Run:
    """Settle the run's started landing from its tip ref; the caller holds the run's lock.

    Raises:
        RepositoryUnusable: the tip ref is gone, or does not stand on the run's base.

    """
    run = journal.refresh(run)
    if run.landing is None:
        return run
    tip = repository.ref(run_ref(run.id, "tip"))
    if tip is None:
        raise RepositoryUnusable(
            f"{run_ref(run.id, 'tip')} is gone, so nobody can tell what landed",
            hint=f"git update-ref {run_ref(run.id, 'tip')} {run.tip}",
        )
    landed = Landed(Oid(hex=run.start.base))
    try:
        landed.update(repository.repo, tip)
    except ValueError as error:
        raise RepositoryUnusable(
            f"the tip of {run.id} does not stand on its base: {error}",
            hint=f"git log {run_ref(run.id, 'tip')}",
        ) from error
    found = landed.find(run.id, run.landing)
    tree = repository.tree_of(found or tip)
    event = resolve(run, str(found) if found else None, versions(repository, run.plan.contracts, tree))
    if event is None:
        return run
    run = _append(journal, run, event)
    return _append(journal, run, publish(repository, run, found)) if found else run


def _append(journal: Journal, run: Run, event: ev.Event) -> Run:
    match journal.append(run, [event]):
        case Appended(after):
            return after
        case outdated:
            return outdated.run
