"""What `otto doctor` looks at: the machine, the repository, the store, the runs, and what they left.

Each check looks and gives findings; none writes, mends or ends anything. What a check cannot look at is a
finding too, so one broken part hides no other.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import psutil

from otto_core.compose import configuration_at
from otto_core.config import Settings
from otto_core.disk import format_bytes, free_bytes, taken_bytes
from otto_core.errors import IllegalTransition, OttoError, RepositoryUnusable
from otto_core.git.private import MERGE_TREE_SINCE
from otto_core.git.program import git_version
from otto_core.git.repository import GitRepository, libgit2_version
from otto_core.journal import STORE, Journal
from otto_core.kernel import environment_of
from otto_core.linked import branch_of, entries
from otto_core.locks import holders
from otto_core.marker import run_of
from otto_core.model import Outcome, TaskStatus
from otto_core.mounts import MOUNTS, require_local
from otto_core.presence import landed_in_git
from otto_core.process import MARKER
from otto_core.refnames import run_ref
from otto_core.runlock import is_delivering, is_driven
from otto_core.sandbox import Unusable, Usable, probe
from otto_core.slots import worktree_root
from otto_core.state import Run

LOW_BYTES: Final = 1_000_000_000
"""Less free space than this is told."""

_LOCK_AGE_S: Final = 60.0
"""A ref's lock file is held for milliseconds: an older one was left by something that died."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says: all is well, something to know, or something to mend; `hint` is how."""

    level: Literal["ok", "note", "bad"]
    check: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What is examined: the repository, its settings (None where they are not valid) and its runs."""

    repository: GitRepository
    settings: Settings | None
    runs: tuple[Run, ...]
    driven: frozenset[str]


def examine(
    repository: GitRepository, *, mounts: Path = MOUNTS, low_bytes: int = LOW_BYTES
) -> tuple[Finding, ...]:
    """Look at everything; in the order in which a person would mend it. Writes nothing."""
    settings, of_settings = _settings(repository)
    runs, of_store = _store(repository)
    driven = frozenset(run.id for run in runs if is_driven(repository.store, run.id))
    place = Place(repository, settings, runs, driven)
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("git", _git),
        ("python", _python),
        ("repository", lambda: _repository(repository, mounts)),
        ("configuration", lambda: iter(of_settings)),
        ("store", lambda: iter(of_store)),
        ("runs", lambda: _runs(place)),
        ("landings", lambda: _landings(place)),
        ("branches", lambda: _branches(place)),
        ("linked", lambda: _linked_worktrees(place)),
        ("locks", lambda: _locks(repository)),
        ("ref locks", lambda: _ref_locks(repository)),
        ("processes", lambda: _processes(place)),
        ("sandbox", lambda: _sandbox(settings)),
        ("worktrees", lambda: _worktrees(place, low_bytes)),
        ("disk", lambda: _disk(place)),
    )
    return tuple(finding for name, check in checks for finding in _looked(name, check))


def _looked(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Give a check's findings; that it could not look is one, and that it found nothing."""
    try:
        found = tuple(check())
        yield from found or (Finding("ok", name, _NOTHING_FOUND[name]),)
    except OttoError as error:
        yield Finding("bad", name, error.message, error.hint)
    except OSError as error:
        yield Finding("bad", name, f"cannot be looked at: {error}", "check permissions and the disk")


_NOTHING_FOUND: Final = {
    "branches": "each is where its run published it",
    "linked": "none left behind",
    "ref locks": "none left behind",
    "processes": "none left behind",
}
"""What a check that looks for something says where it is not there."""


def _git() -> Iterator[Finding]:
    version = git_version()
    told = ".".join(map(str, version))
    if not version:
        yield Finding("bad", "git", "there is no git program on PATH", "install git 2.38 or newer")
    elif version < MERGE_TREE_SINCE:
        yield Finding("note", "git", f"{told}: too old to merge (strategy ort)", "install git 2.38 or newer")
    else:
        yield Finding("ok", "git", told)


def _python() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{sys.version.split()[0]} with libgit2 {libgit2_version()}")


def _repository(repository: GitRepository, mounts: Path) -> Iterator[Finding]:
    repository.resolve("HEAD")
    repository.require_writable()
    kind = require_local(repository.common_dir, mounts)
    yield Finding("ok", "repository", f"{repository.common_dir} ({kind or 'unknown file system'})")


def _settings(repository: GitRepository) -> tuple[Settings | None, list[Finding]]:
    try:
        configured = configuration_at(repository, repository.resolve("HEAD"))
    except OttoError as error:
        faults = "; ".join(f"{f.file}{f':{f.line}' if f.line else ''}: {f.message}" for f in error.findings)
        return None, [Finding("bad", "configuration", faults or error.message, error.hint)]
    whose = {"commit": "of HEAD", "checkout": "of the checkout"}
    told = f"otto.yaml {whose[configured.file_of]}" if configured.file_of else "no otto.yaml: the defaults"
    return configured.configuration.settings, [Finding("ok", "configuration", told)]


def _store(repository: GitRepository) -> tuple[tuple[Run, ...], list[Finding]]:
    """Open the store, let SQLite check it, and fold every run."""
    place = repository.store / STORE
    hint = f"keep a copy of {place}, then move it away; what landed is in Git"
    try:
        journal = Journal.read(place)
        if journal is None:
            return (), [Finding("ok", "store", "none yet: nothing was built here")]
        with journal:
            if faults := journal.quick_check():
                return (), [Finding("bad", "store", f"damaged: {faults[0]}", hint)]
            return _folded(journal)
    except OttoError as error:
        return (), [Finding("bad", "store", error.message, error.hint)]
    except sqlite3.Error as error:
        return (), [Finding("bad", "store", f"damaged: {error}", hint)]


def _folded(journal: Journal) -> tuple[tuple[Run, ...], list[Finding]]:
    """Fold every run; one that cannot be is told, and hides no other."""
    runs, bad = [], []
    for name in journal.run_ids():
        try:
            runs.append(journal.load(name))
        except (RepositoryUnusable, IllegalTransition, KeyError) as error:
            bad.append(
                Finding("bad", "store", f"{name} cannot be read: {error}", f"git log {run_ref(name, 'tip')}")
            )
    return tuple(runs), bad or [Finding("ok", "store", f"version {journal.version}, {_counted(len(runs))}")]


def _runs(place: Place) -> Iterator[Finding]:
    """Tell of every run that is not over."""
    open_runs = [run for run in place.runs if run.outcome in _UNFINISHED]
    for run in open_runs:
        if run.id in place.driven:
            yield Finding("ok", "runs", f"{run.id} is driven by {run.driver}")
        elif run.outcome is Outcome.RUNNING:
            yield Finding(
                "note",
                "runs",
                f"{run.id} was left by its driver, {run.driver}",
                f"otto status {run.id}",
            )
        else:
            why = run.paused.message if run.paused else run.outcome
            yield Finding("note", "runs", f"{run.id} is paused: {why}", f"otto resume {run.id}")
    if not open_runs:
        yield Finding("ok", "runs", "every run is over")


_UNFINISHED: Final = frozenset({Outcome.RUNNING, Outcome.BUDGET, Outcome.WAITING, Outcome.INTERRUPTED})


def _landings(place: Place) -> Iterator[Finding]:
    """Compare what the journal says has landed with what Git has; a driven run may be between both."""
    quiet = [run for run in place.runs if run.id not in place.driven and run.cleaned is None]
    differing = [found for run in quiet if (found := _difference(place.repository, run))]
    told = [*differing, *_cut_off(place)]
    yield from told or [Finding("ok", "landings", f"{_counted(len(quiet))} compared with Git")]


def _cut_off(place: Place) -> Iterator[Finding]:
    """Find landings in a person's branch that began and have no end, while nobody is about one."""
    if is_delivering(place.repository.store):
        return
    for run in place.runs:
        if run.delivery is not None:
            branch = run.delivery.target.removeprefix("refs/heads/")
            words = f"{run.id}: its landing on {branch} was cut off"
            yield Finding("bad", "landings", words, f"otto land {run.id}")


def _difference(repository: GitRepository, run: Run) -> Finding | None:
    """Say where a run's journal and its tip differ, if they do."""
    ref = run_ref(run.id, "tip")
    in_git = landed_in_git(repository, run)
    told = {task.id for task in run.tasks.values() if task.status is TaskStatus.LANDED}
    if repository.ref(ref) is None:
        return Finding("bad", "landings", f"{ref} is gone", f"git update-ref {ref} {run.tip}")
    if missing := ", ".join(sorted(told - in_git)):
        words = f"{run.id}: {missing} landed, but {ref} does not have it"
        return Finding("bad", "landings", words, f"it was at {run.tip}; see git log {ref}")
    if extra := ", ".join(sorted(in_git - told - {run.landing})):
        words = f"{run.id}: {ref} has {extra}, which the journal says did not land"
        return Finding("bad", "landings", words, f"git log {ref}")
    if run.landing is not None:
        words = f"{run.id}: the landing of {run.landing} was cut off"
        return Finding("note", "landings", words, "the next `otto build` settles it from Git")
    return None


def _counted(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _branches(place: Place) -> Iterator[Finding]:
    """Say which result branches are not where they were published: people move and delete them."""
    for run in place.runs:
        if run.published is None or run.id in place.driven or run.cleaned is not None:
            continue
        at = place.repository.ref(f"refs/heads/{run.branch}")
        if str(at) != run.published.commit:
            where = f"is at {str(at)[:12]}" if at else "is gone"
            yield Finding(
                "note",
                "branches",
                f"{run.branch} {where}; {run.id} published {run.published.commit[:12]}",
                f"git branch NAME {run.published.commit[:12]}, if you miss it",
            )


def _linked_worktrees(place: Place) -> Iterator[Finding]:
    """Find what `isolation: linked` registered in the user's Git directory for attempts that are over."""
    if any(run.id in place.driven and run.settings.isolation == "linked" for run in place.runs):
        return
    for entry in entries(place.repository):
        words = f"{entry} was left by a driver that is gone"
        if branch := branch_of(entry):
            words = f"{words}; to Git, {branch} is still checked out there"
        yield Finding("bad" if branch else "note", "linked", words, f"rm -r {entry}")


def _locks(repository: GitRepository) -> Iterator[Finding]:
    held = holders(repository.store)
    for holder in held:
        written = ", ".join((*holder.writes.owns, *holder.writes.extends))
        yield Finding("ok", "locks", f"{holder} is writing {written}")
    if not held:
        yield Finding("ok", "locks", "none held")


def _ref_locks(repository: GitRepository) -> Iterator[Finding]:
    """Find lock files of refs that nobody is writing any more: Git refuses to move such a ref."""
    now = time.time()
    for lock in sorted((repository.common_dir / "refs/otto").rglob("*.lock")):
        age_s = now - lock.lstat().st_mtime
        if age_s > _LOCK_AGE_S:
            yield Finding("bad", "ref locks", f"{lock} was left {age_s / 60:.0f} min ago", f"rm {lock}")


def _processes(place: Place) -> Iterator[Finding]:
    """Find processes of this repository's runs that nobody drives."""
    abandoned = {run.id for run in place.runs} - place.driven
    for pid in psutil.pids():
        marker = environment_of(pid).get(MARKER, "")
        if run_of(marker, place.repository.store) in abandoned:
            yield Finding("bad", "processes", f"{pid} is left over from {marker}", f"kill {pid}")


def _sandbox(settings: Settings | None) -> Iterator[Finding]:
    wanted = settings.sandbox if settings else "auto"
    if wanted == "subreaper":
        yield Finding("note", "sandbox", "off by `sandbox: subreaper`", "write `sandbox: auto`")
        return
    match probe():
        case Usable(_, version):
            yield Finding("ok", "sandbox", f"bubblewrap {version}")
        case Unusable(why, hint):
            yield Finding("bad" if wanted == "bwrap" else "note", "sandbox", why, hint)


def _worktrees(place: Place, low_bytes: int) -> Iterator[Finding]:
    root = worktree_root(place.repository, place.settings.worktrees.root if place.settings else None)
    there = next(above for above in (root, *root.parents) if above.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Finding("bad", "worktrees", f"{there} cannot be written", "set `worktrees.root`")
        return
    free = free_bytes(there)
    if free < low_bytes:
        told = f"only {format_bytes(free)} are free in {there}"
        yield Finding("note", "worktrees", told, "make room, or set `worktrees.root`")
    else:
        yield Finding("ok", "worktrees", f"{root}, {format_bytes(free)} free")


def _disk(place: Place) -> Iterator[Finding]:
    root = worktree_root(place.repository, place.settings.worktrees.root if place.settings else None)
    logs, store = place.repository.store / "logs", place.repository.store
    in_store = taken_bytes(*(store / f"{STORE}{suffix}" for suffix in ("", "-wal", "-shm")))
    sizes = {"worktrees": taken_bytes(root), "logs": taken_bytes(logs), "store": in_store}
    told = ", ".join(f"{what} {format_bytes(size)}" for what, size in sizes.items())
    yield Finding("ok", "disk", told)
