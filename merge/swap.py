"""Compare-and-swap of one ref, in process: the single step by which anything lands.

The reference's lock file is taken first and its value is read again under that lock, so of two swaps that
expect the same value one wins, whoever holds them: threads, processes or the git program (which honours the
same lock, see git's lockfile API). Only one ref is ever moved at a time: neither libgit2 nor git's files
backend makes a transaction over several refs all-or-nothing.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pygit2 import GitError
from pygit2.transaction import ReferenceTransaction

from merge.objects import Oid, Repository

_FIRST_PAUSE = 0.001  # seconds; a lock is normally held for less than one millisecond
_LONGEST_PAUSE = 0.05


class SwapBusy(Exception):
    """The lock of a ref stayed taken for the whole time allowed."""


class _CommitBusy(SwapBusy):
    """A change was queued and could not be committed, for another lock than the ref's own was taken."""


class SwapRefused(Exception):
    """The ref cannot be written at all: it is symbolic, its name is not valid, or it clashes with another."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """The ref held the expected value and now holds the new one (or is gone, if it was to be deleted)."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The ref held something else, given here (`None`: it did not exist), and was left alone."""

    actual: Oid | None


def swap(
    repo: Repository,
    ref: str,
    expected: Oid | None,
    new: Oid,
    *,
    wait: float = 10.0,
    message: str | None = None,
) -> Swapped | Lost:
    """Set `ref` to `new` if it holds `expected`; `None` means that it must not exist yet.

    `wait` bounds the seconds spent waiting for the lock; `message` is for the ref's log. Raises SwapBusy when
    the time runs out, SwapRefused if the ref cannot be written at all, ValueError if `new` is not in the
    repository (a transaction would accept any id).
    """
    if new not in repo:
        raise ValueError(f"{new} is not in the repository: {ref} cannot point to it")

    def move(transaction: ReferenceTransaction) -> None:
        transaction.set_target(ref, new, message=message)

    return _swap(repo, ref, expected, new, move, wait)


def delete(repo: Repository, ref: str, expected: Oid, *, wait: float = 10.0) -> Swapped | Lost:
    """Delete `ref` if it holds `expected`. Errors as for `swap`."""
    return _swap(repo, ref, expected, None, lambda transaction: transaction.remove(ref), wait)


def _swap(
    repo: Repository,
    ref: str,
    expected: Oid | None,
    wanted: Oid | None,
    queue: Callable[[ReferenceTransaction], None],
    wait: float,
) -> Swapped | Lost:
    """Queue one change under the lock if the ref holds what is expected, and have it committed.

    A commit can meet the lock of the packed refs, which Git holds while it packs them; it is tried again, and
    what had come about before that lock was met counts. From then on libgit2 deletes nothing by the
    repository that met it, and does not say so: hence the look after it, and another repository.
    """
    deadline, met = time.monotonic() + wait, False
    while True:
        try:
            with _locked(repo, ref, deadline, wait) as transaction:
                actual = _value(repo, ref)
                if met and actual == wanted:
                    return Swapped()
                if actual != expected:
                    return Lost(actual)
                queue(transaction)
            if wanted is not None or _value(repo, ref) != expected:
                return Swapped()
            busy = _CommitBusy(
                f"{ref} stays: the packed refs are locked; if no git is at work, remove the lock"
            )
        except _CommitBusy as met_lock:
            busy = met_lock
        if time.monotonic() >= deadline:
            raise busy
        met, repo = True, Repository(repo.path)
        time.sleep(_LONGEST_PAUSE)


@contextmanager
def _locked(repo: Repository, ref: str, deadline: float, wait: float) -> Iterator[ReferenceTransaction]:
    """Hold the lock of `ref`; what the block queued is committed when it ends normally.

    It is waited for until `deadline` (monotonic seconds), which is `wait` seconds from when that began.
    """
    pause = _FIRST_PAUSE
    while True:
        # A failed lock poisons nothing, but a transaction is cheap and a fresh one needs no such argument.
        queued = False
        try:
            with repo.transaction() as transaction:
                try:
                    transaction.lock_ref(ref)
                except GitError as exc:
                    if not _is_contention(exc):
                        raise SwapRefused(f"{ref} cannot be written: {exc}") from exc
                    if time.monotonic() >= deadline:
                        raise SwapBusy(_still_locked(ref, wait, exc)) from exc
                else:
                    yield transaction
                    queued = True
        except GitError as exc:
            if queued and _is_contention(exc):
                raise _CommitBusy(_still_locked(ref, wait, exc)) from exc
            raise
        if queued:
            return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _still_locked(ref: str, wait: float, exc: GitError) -> str:
    return (
        f"{ref} is still locked after {wait:g} s ({exc}); if no git or otto process is running, remove that"
        " lock file"
    )


def _is_contention(exc: GitError) -> bool:
    """Tell a taken lock by libgit2's words for it, which gives it no type of its own.

    It words the two moments differently in which it may notice: before and while it creates the lock file.
    """
    words = str(exc)
    return "failed to lock file" in words or (
        "failed to create locked file" in words and os.strerror(errno.EEXIST) in words
    )


def _value(repo: Repository, ref: str) -> Oid | None:
    found = repo.references.get(ref)
    if found is None:
        return None
    if not isinstance(found.target, Oid):
        raise SwapRefused(f"{ref} is a symbolic ref, to {found.target}")
    return found.target
