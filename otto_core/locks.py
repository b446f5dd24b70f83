"""Locks between the runs of a repository: which task may write which paths now, and who is in its way.

One table in `otto/locks` lists the write sets of all tasks that execute. It is changed under an exclusive
lock on its guard, which Otto never deletes; reading needs no lock (`otto_core.lockfile`). Whether an entry
counts is decided by the kernel and never by a time: its holder lives while its run is driven
(`otto_core.runlock`). What the table holds of a driver's own run is written anew from memory at each of its
changes, so a table that was deleted or damaged heals.

The locks are advisory: a task of another run that executes without them (`--no-locks`) is not seen.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from otto_core.errors import Locked, RepositoryUnusable
from otto_core.lockfile import GivenUp, guarded, read, write
from otto_core.machine import remedy
from otto_core.runlock import is_driven
from otto_core.writesets import Contention, Holder, Who, WriteSet, in_the_way

PATIENCE_S: Final = 10.0
"""How long others may hold the guard of the table, which takes milliseconds, until that is told."""


def holders(store: Path) -> tuple[Holder, ...]:
    """List the tasks that hold their write sets now, in all runs of a repository. Writes nothing.

    Raises:
        RepositoryUnusable: the table is there and cannot be read.

    """
    directory = store / "locks"
    try:
        table = read(directory)
        return _living(store, table.entries if table else ())
    except OSError as error:
        raise _unusable(directory, error) from error


def abandoned(store: Path) -> tuple[Holder, ...]:
    """List the entries whose drivers are dead. They do not count, and go with the next change of the table.

    Raises:
        RepositoryUnusable: as `holders`.

    """
    living, directory = holders(store), store / "locks"
    try:
        table = read(directory)
    except OSError as error:
        raise _unusable(directory, error) from error
    return tuple(entry for entry in (table.entries if table else ()) if entry not in living)


def contentions(store: Path, wanted: Mapping[str, WriteSet], *, run: str = "") -> dict[str, Contention]:
    """Say for each task of `run` that could not start now who is in its way. Writes nothing.

    Raises:
        RepositoryUnusable: as `holders`.

    """
    others = [holder for holder in holders(store) if holder.run != run]
    found = ((task, in_the_way(others, task, writes)) for task, writes in wanted.items())
    return {task: contention for task, contention in found if contention is not None}


class LockTable:
    """The locks of one run, as its driver takes and releases them.

    Correctness depends on the driver holding the lock of its run from before the first `acquire` until after
    the last `release`. Its methods block for as long as the guard of the table is held by others, and may be
    called from any thread.
    """

    def __init__(self, store: Path, run: str, *, patience_s: float = PATIENCE_S) -> None:
        self._store = store
        self._run = run
        self._patience_s = patience_s
        self._who = Who(os.getpid(), socket.gethostname())
        self._mine: dict[str, Holder] = {}
        self._turn = threading.Lock()

    def holds(self, task: str, writes: WriteSet) -> bool:
        """Tell whether this driver holds exactly that write set for a task."""
        held = self._mine.get(task)
        return held is not None and held.writes == writes

    def clear(self) -> None:
        """Drop what an earlier driver of the run left in the table.

        Raises:
            Locked, RepositoryUnusable: as `acquire`.

        """
        self._change(lambda _: None)

    def acquire(
        self, task: str, writes: WriteSet, *, given_up: Callable[[], bool] = lambda: False
    ) -> Contention | None:
        """Take the whole write set of a task, or nothing of it and say who is in the way.

        `given_up` is asked while the guard is held by others.

        Raises:
            Locked: the guard of the table was not to be had.
            GivenUp: the caller waits no longer.
            RepositoryUnusable: the table cannot be read or written.

        """

        def take(others: tuple[Holder, ...]) -> Contention | None:
            contention = in_the_way(others, task, writes)
            if contention is None:
                since = datetime.now(UTC).isoformat(timespec="seconds")
                self._mine[task] = Holder(self._run, task, writes, self._who, since)
            return contention

        try:
            return self._change(take, given_up)
        except BaseException:
            self._mine.pop(task, None)  # what the table does not say is not held
            raise

    def release(self, task: str, *, given_up: Callable[[], bool] = lambda: False) -> None:
        """Give back the write set of a task; `given_up` is asked while the guard is held by others.

        Where the guard is not to be had, the entry leaves the table with this driver's next change, or end.

        Raises:
            RepositoryUnusable: the table cannot be written.

        """
        self._mine.pop(task, None)
        try:
            self._change(lambda _: None, given_up)
        except (Locked, GivenUp):
            return

    def _change(
        self,
        decide: Callable[[tuple[Holder, ...]], Contention | None],
        given_up: Callable[[], bool] = lambda: False,
    ) -> Contention | None:
        """Let `decide` look at the living entries of other runs; then bring the table up to date."""
        directory = self._store / "locks"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._turn, guarded(directory, self._patience_s, given_up):
                table = read(directory)
                before = table.entries if table else ()
                others = tuple(h for h in _living(self._store, before) if h.run != self._run)
                decided = decide(others)
                after = (*others, *self._mine.values())
                if after != before:
                    write(directory, table, after)
                return decided
        except OSError as error:
            raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> RepositoryUnusable:
    return RepositoryUnusable(
        f"the lock table in {directory} cannot be used: {error.strerror}",
        hint=f"{remedy(error)}, or run with `--no-locks`",
    )


def _living(store: Path, entries: Iterable[Holder]) -> tuple[Holder, ...]:
    """Leave out the entries whose drivers are dead."""
    entries = tuple(entries)
    driven = {run for run in {entry.run for entry in entries} if is_driven(store, run)}
    return tuple(entry for entry in entries if entry.run in driven)
