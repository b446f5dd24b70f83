"""What `otto doctor` looks at: the machine, the repository, the store, the runs, and what they left.

Each check looks and gives findings; none writes, mends or ends anything: only `mend` does. What a check
cannot look at is a finding too, so one broken part hides no other.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from otto_core import remains
from otto_core.clean import clean
from otto_core.compose import configuration_at
from otto_core.config import Settings
from otto_core.disk import format_bytes, free_bytes, taken_bytes
from otto_core.errors import IllegalTransition, OttoError, RepositoryUnusable
from otto_core.findings import Finding, Place
from otto_core.git.private import MERGE_TREE_SINCE
from otto_core.git.program import git_version
from otto_core.git.promised import require_fetched
from otto_core.git.repository import GitRepository, libgit2_version
from otto_core.journal import STORE, Journal
from otto_core.mending import settle_landing
from otto_core.model import Outcome, TaskStatus
from otto_core.mounts import MOUNTS, require_local
from otto_core.presence import landed_in_git
from otto_core.refnames import run_ref
from otto_core.runlock import is_delivering, is_driven
from otto_core.sandbox import Unusable, Usable, probe
from otto_core.slots import worktree_root
from otto_core.state import Run, TaskState
from otto_core.sweep import Order

LOW_BYTES: Final = 1_000_000_000
"""Less free space than this is told."""


def examine(
    repository: GitRepository, *, mounts: Path = MOUNTS, low_bytes: int = LOW_BYTES
) -> tuple[Finding, ...]:
    """Look at everything; in the order in which a person would mend it. Writes nothing."""
    settings, of_settings = _settings(repository)
    runs, driven, of_store = _store(repository)
    unread = any(finding.level == "bad" for finding in of_store)
    place = Place(repository, settings, runs, driven, unread)
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("git", _git),
        ("python", _python),
        ("repository", lambda: _repository(repository, mounts)),
        ("configuration", lambda: iter(of_settings)),
        ("store", lambda: iter(of_store)),
        ("runs", lambda: _runs(place)),
        ("landings", lambda: _landings(place)),
        ("bases", lambda: remains.bases(place)),
        ("branches", lambda: _branches(place)),
        ("linked", lambda: remains.linked_worktrees(place)),
        ("locks", lambda: remains.locks(place)),
        ("ref locks", lambda: remains.ref_locks(place)),
        ("processes", lambda: remains.processes(place)),
        ("slots", lambda: chain(remains.unfinished(place), remains.frozen(place))),
        ("merging", lambda: remains.merging(place)),
        ("sandbox", lambda: _sandbox(settings)),
        ("worktrees", lambda: _worktrees(place, low_bytes)),
        ("disk", lambda: _disk(place)),
    )
    return tuple(finding for name, check in checks for finding in _looked(name, check))


@dataclass(frozen=True, slots=True)
class Mended:
    """A finding, and why it could not be mended; None where it was."""

    finding: Finding
    failure: OttoError | OSError | None = None


def mend(findings: Iterable[Finding]) -> Iterator[Mended]:
    """Do what is provably safe about findings; one that cannot be mended hides no other."""
    for finding in findings:
        if finding.mend is not None:
            try:
                finding.mend()
            except (OttoError, OSError) as error:
                yield Mended(finding, error)
            else:
                yield Mended(finding)


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
    "bases": "each run's is kept by a ref",
    "branches": "each is where its run published it",
    "linked": "none left behind",
    "locks": "none held",
    "ref locks": "none left behind",
    "processes": "none left behind",
    "slots": "nothing left unfinished",
    "merging": "none left behind",
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
    require_fetched(repository, repository.resolve("HEAD"))
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


def _store(repository: GitRepository) -> tuple[tuple[Run, ...], frozenset[str], list[Finding]]:
    """Open the store, let SQLite check it, and fold every run; also name those that are driven.

    Who drives is asked before the runs are read, and after: else one that ends meanwhile would be taken for
    one that was left in the midst of its work, and one that begins for one that nobody drives.
    """
    place = repository.store / STORE
    hint = f"keep a copy of {place}, then move it away; what landed is in Git"
    try:
        journal = Journal.read(place)
        if journal is None:
            return (), frozenset(), [Finding("ok", "store", "none yet: nothing was built here")]
        with journal:
            if faults := journal.quick_check():
                return (), frozenset(), [Finding("bad", "store", f"damaged: {faults[0]}", hint)]
            names = journal.run_ids()
            before = _driven(repository, names)
            runs, told = _folded(journal, names)
            return runs, before | _driven(repository, names), told
    except OttoError as error:
        return (), frozenset(), [Finding("bad", "store", error.message, error.hint)]
    except sqlite3.Error as error:
        return (), frozenset(), [Finding("bad", "store", f"damaged: {error}", hint)]


def _driven(repository: GitRepository, names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if is_driven(repository.store, name))


def _folded(journal: Journal, names: Iterable[str]) -> tuple[tuple[Run, ...], list[Finding]]:
    """Fold every run; one that cannot be is told, and hides no other."""
    runs, bad = [], []
    for name in names:
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
    if place.unread:
        yield Finding("note", "runs", "not all of them can be read", "mend the store first")
    elif not open_runs:
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
        return _started(repository, run, run.tasks[run.landing])
    return None


def _started(repository: GitRepository, run: Run, task: TaskState) -> Finding:
    """Tell of a landing that began and has no end: Git settles it, unless it has been asked in vain."""
    if task.undetermined is not None and task.decided is None:
        words = f"{run.id}: nobody can tell whether {task.id} landed: {task.undetermined.why}"
        return Finding("note", "landings", words, f"otto approve, retry or skip {task.id} --run {run.id}")
    words = f"{run.id}: the landing of {task.id} was cut off"
    settle = partial(settle_landing, repository, run.id)
    return Finding("note", "landings", words, "the next `otto build` settles it from Git", settle)


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
    if place.settings is not None and place.runs:
        freed = clean(place.repository, Order("", dry_run=True)).freed_bytes
        told += f"; `otto clean` frees {format_bytes(freed)}" if freed else ""
    yield Finding("ok", "disk", told)
