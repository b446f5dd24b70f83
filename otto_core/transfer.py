"""Moving a branch of a person's: the ref, and where it is checked out the index and the files, together.

The order is the promise. The intention is journalled; the index is locked; the files are written; the ref is
swapped, which is the commit point; the index follows in one step; the end is journalled. What a crash cut off
is finished or undone from what Git, index and files say. That files are about to be written is journalled:
before it, all that differs is a person's. After it, as every touched path was clean, each holds the old
content, the new one, nothing or the beginning of the new one; anything else is a person's, and is left.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from merge.objects import Oid
from merge.paths import show
from merge.swap import Lost, SwapBusy, SwapRefused, swap
from merge.trees import Change, Entry, apply, changes
from otto_core import events as ev
from otto_core.admission import told
from otto_core.errors import RepositoryUnusable, Stale
from otto_core.git.repository import Checkout, GitRepository
from otto_core.journal import Appended, Journal
from otto_core.report import SHORT
from otto_core.state import Run
from otto_core.usertree import (
    Move,
    Standing,
    changed_beside,
    copy_index,
    inspect,
    install_index,
    is_torn,
    rebased_in,
    release_index,
    remove_file,
    require_unlocked,
    set_entries,
    take_index,
    under_way,
    unlike_index,
    write_files,
)


class _CutOff(RepositoryUnusable):
    """A landing failed where it can be neither ended nor undone now: it has no end yet."""

    def __init__(self, run: Run, what: str) -> None:
        super().__init__(
            f"the landing was cut off: {what}",
            hint=f"mend that, then `otto land {run.id}` finishes it; until then `git status` may show it",
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """How an interrupted delivery of a run ended now: the branch is at `commit`, or (None) as it was.

    `wrote` tells whether it may have written files in `checkout`; of these, `remains` may still be there.
    """

    run: str
    target: str
    before: str
    commit: str | None
    checkout: bytes = b""
    wrote: bool = False
    remains: tuple[bytes, ...] = ()

    @property
    def left(self) -> str:
        """What a person may have to clean up, in words; empty where there is nothing."""
        names = told(map(show, self.remains), ", ")
        return f"files of it may remain in {show(self.checkout)}: {names}" if names else ""


def checkout_of(repository: GitRepository, target: str) -> Checkout | None:
    """Find where a branch (full ref) is checked out, so that it may be moved there.

    Raises:
        RepositoryUnusable: it is so twice or in a place that is gone, or git is in the middle of something.

    """
    name = target.removeprefix("refs/heads/")
    everywhere = repository.user_checkouts()
    busy = rebased_in(everywhere, target)
    if busy is not None:
        raise RepositoryUnusable(
            f"{name} is being rebased or bisected in {busy}", hint=f"finish that first: git -C {busy} status"
        )
    found = [checkout for checkout in everywhere if checkout.branch == target]
    if not found:
        return None
    checkout = found[0]
    if len(found) > 1:
        raise RepositoryUnusable(
            f"{name} is checked out in {len(found)} places",
            hint=f"git worktree list; switch all but one: git -C {found[1].path} switch --detach",
        )
    if not checkout.path.is_dir():
        raise RepositoryUnusable(
            f"{name} is checked out in {checkout.path}, which is gone", hint="git worktree prune"
        )
    if operation := under_way(checkout):
        raise RepositoryUnusable(
            f"{operation} is under way in {checkout.path}",
            hint=f"finish it or give it up: git -C {checkout.path} status",
        )
    return checkout


def require_clean(repository: GitRepository, checkout: Checkout, move: Move) -> None:
    """Make sure, before any work, that a move would find its paths clean in a checkout.

    Raises:
        RepositoryUnusable: some are not; all are named.

    """
    require_unlocked(checkout)
    copy = copy_index(checkout, _place(repository))
    _require_untouched(checkout, inspect(checkout, move, copy))


def transfer(
    repository: GitRepository,
    journal: Journal,
    run: Run,
    started: ev.DeliveryStarted,
    checkout: Checkout | None,
) -> Run:
    """Move the branch, and the checkout that is on it, from `before` to `after`; gives the state after it.

    Raises:
        RepositoryUnusable: a touched path is not clean, or something cannot be written; all is as it was,
            or the message says that it is not.
        Stale: the branch moved; all is as it was.

    """
    run = _append(journal, run, started)
    try:
        if checkout is None:
            _swap(repository, run, started)
        else:
            _move(repository, journal, run, started, checkout)
    except _CutOff:
        raise
    except BaseException as error:
        if _has_moved(repository, started):
            raise _CutOff(run, f"the branch has moved, but not all that follows ({_words(error)})") from error
        undone = ev.DeliveryUndone(target=started.target, why=_words(error))
        _end(journal, run, undone, f"it failed ({_words(error)}) and was taken back")
        raise
    applied = ev.DeliveryApplied(target=started.target, commit=started.after)
    return _end(journal, run, applied, "the branch has moved")


def settle_all(repository: GitRepository, journal: Journal) -> list[Settled]:
    """Finish or undo what earlier landings left half done. The caller holds the lock of deliveries.

    Raises:
        RepositoryUnusable: a person has to look at it first.

    """
    return [_settle(repository, journal, journal.load(run_id)) for run_id in journal.undelivered()]


# --- moving


def _move(
    repository: GitRepository, journal: Journal, run: Run, started: ev.DeliveryStarted, checkout: Checkout
) -> None:
    place, move = _place(repository), move_of(repository, started.before, started.after)
    writing = False

    def begin() -> None:
        nonlocal writing
        _append(journal, run, ev.DeliveryWriting(target=started.target))
        writing = True

    take_index(checkout, place)
    try:
        copy = copy_index(checkout, place)
        _require_untouched(checkout, inspect(checkout, move, copy))
        try:
            write_files(checkout, move.old, move.new, copy, begin=begin)
            _swap(repository, run, started)
        except BaseException as error:
            if writing and not _has_moved(repository, started):
                _take_back(repository, run, checkout, move, error)
            raise
        install_index(checkout, copy)
    finally:
        _release(run, checkout, place)


def _release(run: Run, checkout: Checkout, place: Path) -> None:
    try:
        release_index(checkout, place)
    except OSError as error:
        raise _CutOff(run, f"the index of {checkout.path} could not be unlocked ({error})") from error


def _take_back(
    repository: GitRepository, run: Run, checkout: Checkout, move: Move, failure: BaseException
) -> None:
    """Bring the files back to the old side; the index of the checkout has not changed yet.

    Raises:
        _CutOff: whatever failed in this; the files may be on either side.

    """
    try:
        copy = copy_index(checkout, _place(repository))
        _bring(repository, checkout, move, _certain(checkout, inspect(checkout, move, copy)), copy, "old")
    except BaseException as error:
        what = f"it failed half way ({_words(failure)}), and could not be taken back ({_words(error)})"
        raise _CutOff(run, what) from error


def _swap(repository: GitRepository, run: Run, started: ev.DeliveryStarted) -> None:
    name, before, after = started.target.removeprefix("refs/heads/"), *_ids(started)
    try:
        outcome = swap(repository.repo, started.target, before, after, message=f"otto land {run.id}")
    except (SwapBusy, SwapRefused) as error:
        raise RepositoryUnusable(str(error), hint=f"see `git for-each-ref {started.target}`") from error
    if isinstance(outcome, Lost):
        raise Stale(
            f"{name} was moved from {started.before[:SHORT]} to {str(outcome.actual)[:SHORT]} meanwhile",
            hint="otto land again",
        )


def _bring(
    repository: GitRepository,
    checkout: Checkout,
    move: Move,
    standings: Iterable[Standing],
    copy: Path,
    to: Literal["old", "new"],
) -> None:
    """Bring every touched file, and the copied index, to one side; a file that is gone is written again.

    The tree that git starts from is the one that the files make up now: half old, half new.
    """
    entries: dict[bytes, Entry | None] = {}
    done: list[Change] = []
    for at in standings:
        side = at.file if at.file in ("old", "new") else "old" if to == "new" else "new"
        if side == "new":
            done.append(at.change)
        if side != at.index:
            entries[at.change.path] = at.change.new if side == "new" else at.change.old
    set_entries(checkout, copy, entries)
    now = apply(repository.repo, repository.tree_of(move.old), done)
    write_files(checkout, now, repository.tree_of(move.new if to == "new" else move.old), copy)


def _require_untouched(checkout: Checkout, standings: Mapping[bytes, Standing]) -> None:
    in_the_way = [at for at in standings.values() if (at.index, at.file) != ("old", "old")]
    if in_the_way:
        names = told((show(at.change.path) for at in in_the_way), ", ")
        raise RepositoryUnusable(
            f"the landing would overwrite what is in {checkout.path}, which is not committed: {names}",
            hint="commit or stash that (git stash -u), or move it away; then land again",
        )


# --- settling


def _settle(repository: GitRepository, journal: Journal, run: Run) -> Settled:
    started = run.delivery
    if started is None:
        raise ValueError(f"{run.id} has no delivery without an end")
    home = next((c for c in repository.user_checkouts() if path_text_of(c.path) == started.checkout), None)
    if run.delivery_writes and home and home.branch == started.target and home.path.is_dir():
        _settle_checkout(repository, run, started, home)
    elif home:
        release_index(home, _place(repository))
    remains = _remains(repository, started, home) if run.delivery_writes else ()
    settled = Settled(
        run.id, started.target, started.before, None, started.checkout, run.delivery_writes, remains
    )
    at = repository.ref(started.target)
    after = Oid(hex=started.after)
    if at is not None and (at == after or repository.repo.descendant_of(at, after)):
        applied = ev.DeliveryApplied(target=started.target, commit=started.after)
        _end(journal, run, applied, "the branch has moved")
        return replace(settled, commit=started.after)
    why = "it was interrupted" + (f", and {settled.left}" if settled.left else "")
    undone = ev.DeliveryUndone(target=started.target, why=why)
    _end(journal, run, undone, "it did not come to move the branch")
    return settled


def _settle_checkout(
    repository: GitRepository, run: Run, started: ev.DeliveryStarted, checkout: Checkout
) -> None:
    """Bring files and index in line with the ref, and the ref forward if anything has moved already."""
    place, (before, after) = _place(repository), _ids(started)
    at = repository.ref(started.target)
    move = move_of(repository, started.before, started.after)
    take_index(checkout, place)
    try:
        copy = copy_index(checkout, place)
        if at not in (before, after):
            if at is not None and (changed := changed_beside(checkout, at, move.paths, copy)):
                raise _to_be_looked_at(run, started, checkout, changed)
            return
        standings = inspect(checkout, move, copy)
        begun = {p for p, s in standings.items() if s.index == "new" or s.file in ("new", "gone")}
        torn = {p for p, s in standings.items() if s.file == "other" and is_torn(checkout, s.change)}
        if at == before and not begun and not torn:
            return
        if lost := {p for p, s in standings.items() if "other" in (s.index, s.file)} - torn:
            raise _to_be_looked_at(run, started, checkout, lost)
        _bring(repository, checkout, move, _certain(checkout, standings), copy, "new")
        if at == before:
            _follow(repository, run, started, checkout)
        install_index(checkout, copy)
    finally:
        release_index(checkout, place)


def _follow(repository: GitRepository, run: Run, started: ev.DeliveryStarted, checkout: Checkout) -> None:
    """Swap the branch behind files that are on the new side already; say so where that cannot be."""
    try:
        _swap(repository, run, started)
    except (RepositoryUnusable, Stale) as error:
        branch = started.target.removeprefix("refs/heads/")
        what = f"the files in {checkout.path} have moved already, and {branch} has not: {error.message}"
        raise _CutOff(run, what) from error


def _remains(
    repository: GitRepository, started: ev.DeliveryStarted, home: Checkout | None
) -> tuple[bytes, ...]:
    """Name the touched files that may hold what a landing wrote and nothing else accounts for.

    Where the directory is no checkout of this repository any more, that is any of them.
    """
    move = move_of(repository, started.before, started.after)
    if not Path(os.fsdecode(started.checkout)).is_dir():
        return ()
    if home is None:
        return tuple(sorted(move.paths))
    return tuple(sorted(unlike_index(home, move, copy_index(home, _place(repository)))))


def _certain(checkout: Checkout, standings: Mapping[bytes, Standing]) -> list[Standing]:
    """Remove files of which only the beginning was written; what is neither side's stays and is refused."""
    found = []
    for path, at in standings.items():
        if at.file == "other" and is_torn(checkout, at.change):
            remove_file(checkout, path)
            found.append(replace(at, file="gone"))
        else:
            found.append(at)
    return found


def _to_be_looked_at(
    run: Run, started: ev.DeliveryStarted, checkout: Checkout, paths: Iterable[bytes]
) -> RepositoryUnusable:
    names = [show(path) for path in sorted(paths)]
    branch = started.target.removeprefix("refs/heads/")
    return RepositoryUnusable(
        f"the landing of {run.id} on {branch} was cut off, and these paths in {checkout.path} are neither as"
        f" before nor as after it: {told(names, ', ')}",
        hint=f"keep what you need of them, then: git -C {checkout.path} restore --source=HEAD --staged"
        f" --worktree -- {told(names, ' ')}; otto land {run.id}",
    )


# ---


def move_of(repository: GitRepository, before: str, after: str) -> Move:
    """Compare two commits."""
    old, new = Oid(hex=before), Oid(hex=after)
    found: list[Change] = changes(repository.repo, repository.tree_of(old), repository.tree_of(new))
    return Move(old, new, tuple(found))


def path_text_of(path: Path) -> bytes:
    """Give a directory as the journal holds it."""
    return str(path).encode("utf-8", "surrogateescape")


def _has_moved(repository: GitRepository, started: ev.DeliveryStarted) -> bool:
    return repository.ref(started.target) == Oid(hex=started.after)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _ids(started: ev.DeliveryStarted) -> tuple[Oid, Oid]:
    return Oid(hex=started.before), Oid(hex=started.after)


def _place(repository: GitRepository) -> Path:
    return repository.store / "delivery"


def _end(journal: Journal, run: Run, event: ev.DeliveryApplied | ev.DeliveryUndone, what: str) -> Run:
    """Journal how a landing ended; `what` says so to the one who has to know that this did not work."""
    try:
        return _append(journal, run, event)
    except RepositoryUnusable as error:
        raise _CutOff(run, f"{what}, but that could not be journalled ({error.message})") from error


def _append(journal: Journal, run: Run, event: ev.DeliveryEvent) -> Run:
    match journal.append(run, [event]):
        case Appended(after):
            return after
        case outdated:
            return outdated.run
