"""Compare-and-swap of one ref, in process: the single step by which anything lands.

The reference's lock file is taken first and its value is read again under that lock, so of two swaps that
expect the same value one wins, whoever holds them: threads, processes or the git program (which honours the
same lock, see git's lockfile API). Only one ref is ever moved at a time: neither libgit2 nor git's files
backend makes a transaction over several refs all-or-nothing. None is deleted here: libgit2 reads the packed
refs before it locks them, so its deletion would take back what others packed meanwhile.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pygit2 import GitError
from pygit2.transaction import ReferenceTransaction

from merge.objects import Oid, Repository

_FIRST_PAUSE = 0.001  # seconds; a lock is normally held for less than one millisecond
_LONGEST_PAUSE = 0.05


class SwapBusy(Exception):
    """The lock of a ref stayed taken for the whole time allowed."""


class SwapRefused(Exception):
    """The ref cannot be written at all: it is symbolic, its name is not valid, or it clashes with another."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """The ref held the expected value and now holds the new one."""


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

    deadline, cut_off = time.monotonic() + wait, False
    while True:
        try:
            with _locked(repo, ref, deadline, wait) as transaction:
                actual = value(repo, ref)
                if cut_off and actual == new:
                    return Swapped()
                if actual != expected:
                    return Lost(actual)
                transaction.set_target(ref, new, message=message)
            return Swapped()
        except GitError as exc:  # of the commit, which may have come about all the same
            if not _passes(exc):
                raise
            if time.monotonic() >= deadline:
                raise SwapBusy(f"{ref} could not be written in {wait:g} s: {exc}") from exc
            cut_off = True


@contextmanager
def _locked(repo: Repository, ref: str, deadline: float, wait: float) -> Iterator[ReferenceTransaction]:
    """Hold the lock of `ref`; what the block queued is committed when it ends normally.

    It is waited for until `deadline` (monotonic seconds), which is `wait` seconds from when that began.
    """
    pause = _FIRST_PAUSE
    while True:
        # A failed lock poisons nothing, but a transaction is cheap and a fresh one needs no such argument.
        with repo.transaction() as transaction:
            try:
                transaction.lock_ref(ref)
            except GitError as exc:
                if not _passes(exc):
                    raise SwapRefused(f"{ref} cannot be written: {exc}") from exc
                if time.monotonic() >= deadline:
                    raise SwapBusy(_still_locked(ref, wait, exc)) from exc
            else:
                yield transaction
                return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _still_locked(ref: str, wait: float, exc: GitError) -> str:
    return (
        f"{ref} is still locked after {wait:g} s ({exc}); if no git or otto process is running, remove that"
        " lock file"
    )


def _passes(exc: GitError) -> bool:
    """Tell by libgit2's words, which gives these no type of their own, what can be tried again.

    A taken lock is worded in two ways, for the moments before and while libgit2 creates the lock file. And
    `git pack-refs` removes the directory of a ref that it has packed, also one that was just made for another
    ref, and before libgit2 has synced it.
    """
    words = str(exc)
    return (
        "failed to lock file" in words
        or ("failed to create locked file" in words and os.strerror(errno.EEXIST) in words)
        or os.strerror(errno.ENOENT) in words
    )


def value(repo: Repository, ref: str) -> Oid | None:
    """Give the id that a ref holds, be there such an object or not (SwapRefused for a symbolic ref)."""
    found = repo.references.get(ref)
    if found is None:
        return None
    if not isinstance(found.target, Oid):
        raise SwapRefused(f"{ref} is a symbolic ref, to {found.target}")
    return found.target
