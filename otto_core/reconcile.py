"""Bring the journal in line with Git after a crash: the journal follows Git, never the reverse."""

from merge.candidate import Landed
from merge.objects import Oid
from otto_core import events as ev
from otto_core.contracts import versions
from otto_core.errors import Locked, RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.journal import Appended, Journal
from otto_core.publish import publish
from otto_core.recovery import resolve
from otto_core.refnames import run_ref
from otto_core.runlock import hold
from otto_core.state import Run


def reconcile_all(repository: GitRepository, journal: Journal) -> list[str]:
    """Settle what earlier drivers left half done, in every run that no living process drives.

    Gives in words what could not be settled: a person has to look at it, and no other run waits for that.
    """
    problems = []
    for run_id in journal.unfinished():
        run = journal.load(run_id)
        if run.landing is None and not _unpublished(run):
            continue
        try:
            with hold(repository.store, run_id):
                reconcile(repository, journal, run)
        except Locked:
            continue
        except RepositoryUnusable as error:
            problems.append(f"{run_id}: {error.message}; {error.hint}")
    return problems


def reconcile(repository: GitRepository, journal: Journal, run: Run) -> Run:
    """Settle the run's started landing from its tip ref, and publish what landed. The caller holds its lock.

    Raises:
        RepositoryUnusable: the tip ref is gone or was rewritten, so nobody can tell what landed.

    """
    run = journal.refresh(run)
    if run.landing is not None:
        run = _append(journal, run, _settle(repository, run, run.landing))
    if _unpublished(run):
        run = _append(journal, run, publish(repository, run, Oid(hex=run.tip)))
    return run


def _unpublished(run: Run) -> bool:
    """Tell whether something landed that the result branch was neither given nor refused."""
    published = run.published.commit if run.published else run.start.base
    return run.tip != published and run.withheld is None


def _settle(repository: GitRepository, run: Run, task: str) -> ev.LandingApplied | ev.LandingLost:
    ref = run_ref(run.id, "tip")
    tip, started = repository.ref(ref), run.tasks[task].landing
    candidate = started.candidate if started else ""
    if tip is None:
        raise RepositoryUnusable(
            f"{ref} is gone, so nobody can tell whether {task!r} landed",
            hint=f"set it to {candidate} if it did, else to {run.tip}: git update-ref {ref} COMMIT",
        )
    landed = Landed(Oid(hex=run.start.base))
    try:
        landed.update(repository.repo, tip)
    except ValueError as error:
        raise RepositoryUnusable(f"{ref} does not stand on the run's base", hint=f"git log {ref}") from error
    found = landed.find(run.id, task)
    if str(found or tip) not in (candidate, run.tip):
        raise RepositoryUnusable(
            f"{ref} was rewritten: it is neither at {run.tip} nor at {candidate}", hint=f"git log {ref}"
        )
    contracts = versions(repository, run.plan.contracts, repository.tree_of(tip)) if found else {}
    return resolve(run, str(found) if found else None, contracts)


def _append(journal: Journal, run: Run, event: ev.Event) -> Run:
    match journal.append(run, [event]):
        case Appended(after):
            return after
        case outdated:
            return outdated.run
