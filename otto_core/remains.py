"""The checks of `otto doctor` for what dead drivers left: locks, processes, worktrees, places for merging.

Each looks and gives findings; what is provably Otto's own comes with its mend (`otto_core.mending`).
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Final

import psutil

from merge.objects import Oid
from otto_core import mending
from otto_core.errors import UsageError
from otto_core.findings import Finding, Place
from otto_core.inventory import abandoned_merge_places, intruder, pools, slots
from otto_core.kernel import environment_of
from otto_core.linked import branch_of, entries, slot_of
from otto_core.locks import abandoned, holders
from otto_core.marker import run_of
from otto_core.occupancy import occupied
from otto_core.places import is_frozen
from otto_core.process import MARKER
from otto_core.refnames import run_ref
from otto_core.refs import locks_below
from otto_core.runlock import is_delivering
from otto_core.slots import is_borrowed

_LOCK_AGE_S: Final = 60.0
"""A ref's lock file is held for milliseconds: an older one was left by something that died.

One on the ref of a run that nobody drives may be mended at once, as the mend looks for itself whether it
stays; a look alone cannot tell it from one that the user's own git holds at this instant.
"""


def unfinished(place: Place) -> Iterator[Finding]:
    """Find what attempts left in worktrees whose drivers died: no commit holds it yet."""
    for root in _pools(place):
        for slot, occupant in occupied(root):
            if occupant.marker and not is_borrowed(slot):
                words = f"{slot.path} holds what {occupant} left unfinished"
                mend = partial(mending.rescue, place.repository, slot)
                yield Finding("note", "slots", words, "the next build keeps it, or otto doctor --fix", mend)


def frozen(place: Place) -> Iterator[Finding]:
    """Find worktrees that were made immutable: nothing can be done there, and no attempt gets them."""
    for root in _pools(place):
        for slot in slots(root):
            if is_frozen(slot.path):
                words = f"{slot.path} was made immutable, as a task of root's can do; it is not used"
                yield Finding("note", "slots", words, f"chattr -ia {quote(str(slot.path))}")


def linked_worktrees(place: Place) -> Iterator[Finding]:
    """Find what `isolation: linked` registered in the user's Git directory for attempts that are over."""
    if any(run.id in place.driven and run.settings.isolation == "linked" for run in place.runs):
        return
    for entry in entries(place.repository):
        words = f"{entry} was left by a driver that is gone"
        if branch := branch_of(entry):
            words = f"{words}; to Git, {branch} is still checked out there"
        slot = slot_of(entry, _pools(place), place.repository)
        mend = partial(mending.rescue, place.repository, slot) if slot is not None else None
        yield Finding("bad" if branch else "note", "linked", words, f"rm -r {quote(str(entry))}", mend)


def locks(place: Place) -> Iterator[Finding]:
    """Tell who holds which paths, and what dead drivers left in the table."""
    store = place.repository.store
    for holder in holders(store):
        written = ", ".join((*holder.writes.owns, *holder.writes.extends))
        yield Finding("ok", "locks", f"{holder} is writing {written}")
    for holder in abandoned(store):
        words = f"{holder} is gone: what it held does not count"
        mend = partial(mending.clear_locks, place.repository, holder.run)
        yield Finding("note", "locks", words, "otto doctor --fix, or the next build clears it", mend)


def ref_locks(place: Place) -> Iterator[Finding]:
    """Find lock files of refs that nobody is writing any more: Git refuses to move such a ref."""
    top = place.repository.common_dir / "refs/otto"
    now = time.time()
    branches = {run.branch for run in place.runs if run.started}
    ours_by_name = (place.repository.common_dir / f"refs/heads/{branch}.lock" for branch in branches)
    shared = (place.repository.common_dir / "packed-refs.lock", *ours_by_name)
    for lock in sorted([*locks_below(top), *filter(Path.exists, shared)]):
        try:
            age_s = now - lock.lstat().st_mtime
        except FileNotFoundError:  # whoever held it is done
            continue
        below = lock.relative_to(top).parts if lock.is_relative_to(top) else ()
        run = below[1] if below[:1] == ("runs",) and len(below) > 2 else None
        ours = run is not None and run not in place.driven
        mend = partial(mending.free_refs, place.repository, run) if run is not None and ours else None
        if age_s > _LOCK_AGE_S:
            words = f"{lock} was left {age_s / 60:.0f} min ago"
            yield Finding("bad", "ref locks", words, f"rm {quote(str(lock))}", mend)
        elif mend is not None:
            words = f"{lock} is there: something writes that ref, or died in it"
            yield Finding("note", "ref locks", words, "otto doctor --fix removes it if it stays", mend)


def processes(place: Place) -> Iterator[Finding]:
    """Find processes of this repository's runs that nobody drives."""
    if is_delivering(place.repository.store):  # its checks carry the marker of a run, too
        return
    quiet = {run.id for run in place.runs} - place.driven
    if not quiet:  # there may be no store at all, which a marker could name
        return
    for pid in psutil.pids():
        marker = environment_of(pid).get(MARKER, "")
        run = run_of(marker, place.repository.store)
        if run is not None and run in quiet:
            mend = partial(mending.end_processes, place.repository, run, frozenset({marker}))
            yield Finding("bad", "processes", f"{pid} is left over from {marker}", f"kill {pid}", mend)


def merging(place: Place) -> Iterator[Finding]:
    """Find the places for merging of drivers that died."""
    for left in abandoned_merge_places(place.repository.store):
        mend = partial(mending.remove_merge_place, place.repository, left)
        yield Finding("note", "merging", f"{left} was left by a driver", f"rm -r {quote(str(left))}", mend)


def bases(place: Place) -> Iterator[Finding]:
    """Find runs whose base no ref keeps any more: Git may collect it."""
    for run in place.runs:
        ref = run_ref(run.id, "base")
        if run.id in place.driven or run.cleaned is not None:
            continue
        if str(place.repository.ref(ref)) == run.start.base:
            continue
        if place.repository.has(Oid(hex=run.start.base)):
            mend = partial(mending.pin_base, place.repository, run)
            hint = f"git update-ref {ref} {run.start.base}"
            yield Finding("note", "bases", f"{ref} is not where {run.id} set it", hint, mend)
        else:
            words = f"{run.id} stands on the commit {run.start.base}, which is gone"
            yield Finding("bad", "bases", words, "fetch that commit from where it still is")


def _pools(place: Place) -> list[Path]:
    """List the pools that can be looked at; that a configured place is not possible, another check says."""
    configured = place.settings.worktrees.root if place.settings else None
    try:
        found = pools(place.repository, configured, place.runs)
    except UsageError:
        found = pools(place.repository, None, place.runs)
    return [root for root in found if intruder(root) is None]
