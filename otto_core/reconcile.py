"""Bring the journal in line with Git after a crash: the journal follows Git, never the reverse."""

from merge.candidate import Landed
from merge.objects import GitError, Oid
from otto_core import events as ev
from otto_core.contracts import versions
from otto_core.errors import Locked, RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.journal import Appended, Journal
from otto_core.publish import publish
from otto_core.recovery import Tip, resolve, tip_after
from otto_core.refnames import run_ref
from otto_core.refs import pin
from otto_core.runlock import hold
from otto_core.scheduler import ask
from otto_core.state import Run


def reconcile_all(repository: GitRepository, journal: Journal) -> list[str]:
    """Settle what earlier drivers left half landed, in every run that no living process drives.

    Gives in words what could not be settled: a person has to look at it, and no other run waits for that.
    """
    problems = []
    for run_id in journal.unfinished():
        run = journal.load(run_id)
        if run.landing is None and not _unpublished(run):
            continue
        try:
            with hold(repository.store, run_id):
                run = reconcile(repository, journal, run)
        except Locked:
            continue
        except RepositoryUnusable as error:
            problems.append(f"{run_id}: {error.message}; {error.hint}")
            continue
        except (GitError, KeyError) as error:  # an object is torn, or gone
            problems.append(f"{run_id}: {error}; git fsck")
            continue
        if run.landing is not None and (unknown := run.tasks[run.landing].undetermined):
            problems.append(f"{run_id}: {ask(run, unknown).message}; otto resume {run_id}")
    return problems


def reconcile(repository: GitRepository, journal: Journal, run: Run) -> Run:
    """Settle the run's started landing from its tip ref, and publish what landed. The caller holds its lock.

    Where Git cannot tell, the landing stays started, and a person is asked. What a person decided is done:
    the tip is set to what it was to become or to what it was, whatever somebody else made of it, unless that
    commit is gone.

    Raises:
        RepositoryUnusable: refs or store cannot be written, or the candidate is gone.

    """
    run = journal.refresh(run)
    if run.landing is not None:
        landing = run.tasks[run.landing].landing
        candidate = Oid(hex=landing.candidate if landing else run.tip)
        decided = tip_after(run)
        if decided is not None and repository.has(Oid(hex=decided)):
            pin(repository, run_ref(run.id, "tip"), Oid(hex=decided))
        tip = tip_of(repository, run)
        there = repository.has(candidate)
        contracts = versions(repository, run.plan.contracts, repository.tree_of(candidate)) if there else {}
        run = append(journal, run, *resolve(run, tip, contracts))
    return publish_anew(repository, journal, run) if run.landing is None else run


def publish_anew(repository: GitRepository, journal: Journal, run: Run) -> Run:
    """Publish what landed and the branch does not have; where that is still not possible, nothing changes."""
    if not _has_more(run):
        return run
    event = publish(repository, run, Oid(hex=run.tip))
    same = run.withheld is not None and isinstance(event, ev.BranchWithheld) and event.why == run.withheld.why
    return run if same else append(journal, run, event)


def tip_of(repository: GitRepository, run: Run) -> Tip:
    """Look where a run's tip is, and whether the task that is landing stands on it."""
    tip = repository.ref(run_ref(run.id, "tip"))
    if tip is None:
        return Tip(None)
    landed = Landed(Oid(hex=run.start.base))
    try:
        landed.update(repository.repo, tip)
    except (KeyError, ValueError, GitError):
        return Tip(str(tip), on_base=False)
    found = landed.find(run.id, run.landing) if run.landing else None
    return Tip(str(tip), str(found) if found else None)


def append(journal: Journal, run: Run, *events: ev.Event) -> Run:
    """Journal what was found; where someone else moved the run meanwhile, give it as it is now."""
    if not events:
        return run
    match journal.append(run, events):
        case Appended(after):
            return after
        case outdated:
            return outdated.run


def _unpublished(run: Run) -> bool:
    """Tell whether something landed that the result branch was neither given nor refused."""
    return _has_more(run) and run.withheld is None


def _has_more(run: Run) -> bool:
    """Tell whether the tip has what was not published."""
    return run.tip != (run.published.commit if run.published else run.start.base)
