"""What `otto doctor --fix` mends: things that are provably Otto's own, of runs that nobody drives.

Each mend takes the lock that the living would hold, looks again, and leaves alone what has changed since.
"""

from collections.abc import Set as AbstractSet
from os import fsencode
from pathlib import Path

from merge.paths import show
from otto_core.errors import Locked
from otto_core.git.repository import GitRepository
from otto_core.inventory import user_of
from otto_core.journal import STORE, Journal
from otto_core.leftovers import end_all
from otto_core.linked import unregister
from otto_core.locks import LockTable
from otto_core.places import remove
from otto_core.reconcile import reconcile
from otto_core.recover import require_base, unlock_refs
from otto_core.runlock import hold, hold_delivery
from otto_core.salvage import salvage
from otto_core.slots import Slot, claim
from otto_core.state import Run


def free_refs(repository: GitRepository, run: str) -> None:
    """Remove the lock files that a dead driver, or landing, left on the refs of a run.

    Raises:
        Locked: somebody drives it now, or lands a result.

    """
    with hold_delivery(repository.store), hold(repository.store, run):
        unlock_refs(repository, run)


def end_processes(repository: GitRepository, run: str, markers: AbstractSet[str]) -> None:
    """End at once what carries exactly these markers of a run.

    Raises:
        Locked: somebody drives it now, or lands a result: the checks of that are the run's, too.
        RepositoryUnusable: something would not end.

    """
    with hold_delivery(repository.store), hold(repository.store, run):
        end_all(markers, f"processes of {run}, which its driver left,")


def settle_landing(repository: GitRepository, run: str) -> None:
    """Settle the started landing of a run from Git.

    Raises:
        Locked: somebody drives it now.
        RepositoryUnusable: refs or store cannot be written.

    """
    with hold(repository.store, run), Journal.open(repository.store / STORE) as journal:
        reconcile(repository, journal, journal.load(run))


def rescue(repository: GitRepository, slot: Slot) -> None:
    """Keep what an attempt left unfinished in a slot, and remove its entry among the linked worktrees.

    Raises:
        Locked: somebody uses the slot now.
        RepositoryUnusable: a process would not end, or the work cannot be kept.

    """
    with claim(slot) as ours:
        if not ours:
            where = show(fsencode(slot.path))
            raise Locked(f"{where} is in use by another Otto", hint="wait for it, then do this again")
        salvage(slot, repository)
        unregister(slot, repository)


def clear_locks(repository: GitRepository, run: str) -> None:
    """Drop what a dead driver left in the table of locks.

    Raises:
        Locked: somebody drives the run now, or the table is in use.
        RepositoryUnusable: the table cannot be written.

    """
    with hold(repository.store, run):
        LockTable(repository.store, run).clear()


def pin_base(repository: GitRepository, run: Run) -> None:
    """Give a run's base its ref again.

    Raises:
        Locked: somebody drives it now.
        RepositoryUnusable: the commit is gone, or the ref cannot be written.

    """
    with hold(repository.store, run.id):
        require_base(repository, run)


def remove_merge_place(repository: GitRepository, place: Path) -> None:
    """Remove a place for merging that a dead process left: a living one has its run's lock, or the landings'.

    Raises:
        Locked: somebody uses it now.
        OSError: it cannot be removed.

    """
    run, lands = user_of(place)
    with hold_delivery(repository.store) if lands else hold(repository.store, run):
        remove(place)
