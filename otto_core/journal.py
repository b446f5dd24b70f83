"""The journal: an append-only table of typed events in SQLite, one database per repository.

Correctness depends on four things. Every append runs in one `BEGIN IMMEDIATE` transaction, so writers are
serial. Inside it the state is folded to the head and every task that an event names must still have the
version the writer saw, so a decision made on an old state is refused and made again. Every row that is read
has the sum that says it is what was written, after what was written before it (`otto_core.store`).
`synchronous=FULL` makes a committed append survive a power cut.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from otto_core import events as ev
from otto_core.errors import IllegalTransition
from otto_core.model import Durability
from otto_core.state import Run
from otto_core.store import (
    STORE,
    STORE_VERSION,
    as_unusable,
    damaged,
    open_store,
    open_to_read,
    sum_of,
    sync_appends,
    transaction,
    version_of,
)
from otto_core.transitions import apply, fold

__all__ = ["STORE", "STORE_VERSION", "Appended", "Journal", "Outdated", "Stored"]

_AFTER_THE_END: Final = frozenset(
    {
        "shown",
        "checked",
        "run_cleaned",
        "delivery_started",
        "delivery_writing",
        "delivery_applied",
        "delivery_undone",
    }
)
"""What may follow the end of a run and does not open it again."""

_DELIVERY: Final = frozenset({"delivery_started", "delivery_applied", "delivery_undone"})


class Stored(Struct, frozen=True):
    """One journalled event; `at` is UTC in ISO 8601."""

    seq: int
    run_id: str
    at: str
    event: ev.Event


class Appended(Struct, frozen=True):
    """The events are stored; `run` is the state after them."""

    run: Run


class Outdated(Struct, frozen=True):
    """Nothing was stored: someone else moved `tasks`, took the next revision, or drives the run.

    Decide again on `run`.
    """

    run: Run
    tasks: tuple[str, ...] = ()


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Journal:
    """One open store. Not to be shared between threads."""

    def __init__(self, connection: sqlite3.Connection, path: Path, now: Callable[[], str] = _utc_now) -> None:
        self._db = connection
        self._path = path
        self._now = now
        self._data_version = 0
        self._has_sums = self.version > 1

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], str] = _utc_now, durability: Durability = "full") -> Self:
        """Open the store at `path` for writing, creating it where there is none.

        A store of an older version is brought up to this one; a copy as it was stays beside it. With
        `durability="fast"` an append is not synced; what a power cut leaves is then an earlier state.

        Raises:
            RepositoryUnusable: not writable, damaged, on a network file system, or of a version that this
                Otto does not know.

        """
        return cls(open_store(path, durability), path, now)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Open the store, of this version or an older one, for reading; None where there is none yet.

        Raises:
            RepositoryUnusable: damaged, or of a version that this Otto does not know.

        """
        db = open_to_read(path)
        return None if db is None else cls(db, path)

    def close(self) -> None:
        """Close the database; further calls fail."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def version(self) -> int:
        """The version of the store as it is on the disk."""
        return version_of(self._db)

    def sync(self, durability: Durability) -> None:
        """Have the appends that follow synced, or not, as `open` does."""
        sync_appends(self._db, durability)

    def quick_check(self) -> list[str]:
        """Let SQLite look for damage; gives what it found, nothing where all is well.

        Raises:
            RepositoryUnusable: it is so damaged that it cannot be looked at.

        """
        with as_unusable(self._path):
            told = [row[0] for row in self._db.execute("PRAGMA quick_check")]
        return [] if told == ["ok"] else told

    def run_ids(self) -> list[str]:
        """Name all runs, oldest first.

        Raises:
            RepositoryUnusable: the store is damaged.

        """
        with as_unusable(self._path), self._snapshot():
            found = self._db.execute("SELECT run_id FROM events GROUP BY run_id ORDER BY MIN(seq)")
            names = [row[0] for row in found]
            if self._has_sums and set(names) != self._heads().keys():
                raise damaged(self._path, "the list of its runs does not agree with their events")
        return names

    def unfinished(self) -> list[str]:
        """Name the runs that did not come to their end, oldest first.

        Raises:
            RepositoryUnusable: the store is damaged.

        """
        last = {run: kind for run, kind in self._swept() if kind not in _AFTER_THE_END}
        return [run for run, kind in last.items() if kind != "run_finished"]

    def ended_at(self, run_id: str) -> str | None:
        """Say when a run came to its end (UTC, ISO 8601; of several times the latest); None where it did not.

        Raises:
            RepositoryUnusable: the store is damaged.

        """
        ends = (at for _, at, kind, _ in self._rows(run_id, 0) if kind == "run_finished")
        return max(ends, default=None)

    def undelivered(self) -> list[str]:
        """Name the runs whose landing on a person's branch was started and has no end, oldest first.

        Raises:
            RepositoryUnusable: the store is damaged.

        """
        last = {run: kind for run, kind in self._swept() if kind in _DELIVERY}
        return [run for run, kind in last.items() if kind == "delivery_started"]

    def events(self, run_id: str, *, after: int = 0) -> Iterator[Stored]:
        """Give the events of a run in order, from beyond sequence number `after`.

        Raises:
            RepositoryUnusable: the store is damaged, or holds what this Otto cannot read.

        """
        for seq, at, kind, body in self._rows(run_id, after):
            yield Stored(seq, run_id, at, ev.from_json(kind, body))

    def refresh(self, run: Run) -> Run:
        """Fold what has been appended since `run` was read. Errors as for `events`."""
        for _, now in steps(run, self.events(run.id, after=run.seq)):
            run = now
        return run

    def has_news(self) -> bool:
        """Tell whether another process wrote since this was last asked (`PRAGMA data_version`)."""
        with as_unusable(self._path):
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        before, self._data_version = self._data_version, version
        return version != before

    def load(self, run_id: str) -> Run:
        """Fold a run from its first event. Errors as for `events`."""
        return self.refresh(Run(run_id))

    def append(self, run: Run, events: Sequence[ev.Event]) -> Appended | Outdated:
        """Store events decided on the state `run`, all or none.

        Raises:
            IllegalTransition: an event does not fit the state `run`; nothing is stored.
            RepositoryUnusable: the store could not be written, or is damaged; nothing is stored.

        """
        with as_unusable(self._path), transaction(self._db):
            return self._append_locked(run, events)

    def _append_locked(self, run: Run, events: Sequence[ev.Event]) -> Appended | Outdated:
        after = appended(run, self.refresh(run), events)
        if isinstance(after, Outdated):
            return after
        seq, sum_ = self._head(run.id) or (0, b"")
        for event in events:
            row = (run.id, self._now(), event.type, ev.to_json(event))
            sum_ = sum_of(sum_, *row)
            cursor = self._db.execute(
                "INSERT INTO events (run_id, at, type, body, sum) VALUES (?, ?, ?, ?, ?)", (*row, sum_)
            )
            seq = cursor.lastrowid or 0
        self._db.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (run.id, seq, sum_))
        return Appended(replace(after, seq=seq))

    # --- rows

    def _rows(self, run_id: str, after: int) -> Iterator[tuple[int, str, str, str]]:
        """Give the rows of a run beyond `after`, each as it is known to be what was written."""
        with as_unusable(self._path):
            if not self._has_sums:
                yield from self._db.execute(
                    "SELECT seq, at, type, body FROM events WHERE run_id = ? AND seq > ? ORDER BY seq",
                    (run_id, after),
                )
                return
            until, last = self._head(run_id) or (0, b"")
            before = self._sum_until(run_id, after)
            # Only up to the head: what another process has appended since has one of its own.
            rows = self._db.execute(
                "SELECT seq, at, type, body, sum FROM events WHERE run_id = ? AND seq > ? AND seq <= ?"
                " ORDER BY seq",
                (run_id, after, until),
            )
            for seq, at, kind, body, told in rows:
                before = self._proven(before, (run_id, at, kind, body), told, seq)
                yield seq, at, kind, body
            if before != last:
                raise damaged(self._path, f"events of {run_id} are missing")

    def _swept(self) -> Iterator[tuple[str, str]]:
        """Give run and type of every event of every run in order, each known to be what was written."""
        with as_unusable(self._path), self._snapshot():
            if not self._has_sums:
                yield from self._db.execute("SELECT run_id, type FROM events ORDER BY seq").fetchall()
                return
            sums: dict[str, bytes] = {}
            rows = self._db.execute("SELECT run_id, at, type, body, sum, seq FROM events ORDER BY seq")
            for run_id, at, kind, body, told, seq in rows:
                sums[run_id] = self._proven(sums.get(run_id, b""), (run_id, at, kind, body), told, seq)
                yield run_id, kind
            if sums != self._heads():
                raise damaged(self._path, "events are missing")

    def _proven(self, before: bytes, row: tuple[str, str, str, str], told: bytes, seq: int) -> bytes:
        """Give the sum of a row if it is the one that stands there.

        Raises:
            RepositoryUnusable: it is not.

        """
        found = sum_of(before, *row)
        if found != told:
            raise damaged(self._path, f"event {seq} is not as it was written")
        return found

    def _head(self, run_id: str) -> tuple[int, bytes] | None:
        """Give number and sum of a run's last event; None where it has none."""
        seq, last, begun = self._db.execute(
            "SELECT seq, sum, EXISTS (SELECT 1 FROM events WHERE run_id = ?1)"
            " FROM (SELECT 1) LEFT JOIN heads ON run_id = ?1",
            (run_id,),
        ).fetchone()
        if seq is None and begun:
            raise damaged(self._path, f"the end of {run_id} is not known")
        return None if seq is None else (seq, last)

    def _heads(self) -> dict[str, bytes]:
        return dict(self._db.execute("SELECT run_id, sum FROM heads"))

    def _sum_until(self, run_id: str, seq: int) -> bytes:
        """Give the sum of a run's last event up to a number; nothing where there is none."""
        if seq == 0:
            return b""
        found = self._db.execute(
            "SELECT sum FROM events WHERE run_id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
            (run_id, seq),
        ).fetchone()
        return bytes(found[0]) if found and isinstance(found[0], bytes) else b""

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Read what belongs together as of one moment."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            if self._db.in_transaction:
                self._db.execute("COMMIT")


def steps(run: Run, stored: Iterable[Stored]) -> Iterator[tuple[ev.Event, Run]]:
    """Fold what was journalled after the state `run`; gives each event with the state after it."""
    for each in stored:
        run = replace(apply(run, each.event), seq=each.seq)
        yield each.event, run


def appended(seen: Run, head: Run, events: Sequence[ev.Event]) -> Run | Outdated:
    """Give the state after events that were decided on the state `seen`, where the run has come to `head`.

    Pure: the one rule by which the journal takes events or refuses them. What fitted the state that its
    writer saw, and does not fit any more, is outdated like all else that others were faster with.

    Raises:
        IllegalTransition: an event does not fit the state that its writer saw.

    """
    named = {event.task for event in events if isinstance(event, ev.TaskEvent)}
    moved = sorted(t for t in named if t in seen.tasks and head.tasks[t].version != seen.tasks[t].version)
    if moved or _is_overtaken(seen, head, events):
        return Outdated(head, tuple(moved))
    try:
        return fold(head, events)
    except IllegalTransition:
        if head.seq == seen.seq:
            raise
        return Outdated(head)


def _is_overtaken(seen: Run, head: Run, events: Sequence[ev.Event]) -> bool:
    """Tell whether a driver decided about a run that another drives now, or the end of one that moved on.

    Or whether somebody else took the revision that a plan was to have (G5).
    """
    by_driver = any(event.elapsed_s is not None for event in events)
    ends = any(
        isinstance(event, ev.RunPaused | ev.RunResumed | ev.RunFinished | ev.RunCleaned) for event in events
    )
    plans = any(isinstance(event, ev.PlanStored) for event in events)
    return (
        (by_driver and head.drives != seen.drives)
        or (ends and head.seq != seen.seq)
        or (plans and head.revision != seen.revision)
    )
