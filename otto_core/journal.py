"""The journal: an append-only table of typed events in SQLite, one database per repository.

Correctness depends on three things. Every append runs in one `BEGIN IMMEDIATE` transaction, so writers are
serial. Inside it the state is folded to the head and every task that an event names must still have the
version the writer saw, so a decision made on an old state is refused and made again. `synchronous=FULL`
makes a committed append survive a power cut.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from otto_core import events as ev
from otto_core.errors import RepositoryUnusable
from otto_core.model import Durability
from otto_core.state import Run
from otto_core.transitions import apply

STORE = "otto.db"
"""The store's name in Otto's directory of a repository."""

STORE_VERSION = 1
"""Version of the tables and of the event bodies; kept in SQLite's `user_version`."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    at     TEXT NOT NULL,
    type   TEXT NOT NULL,
    body   TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_run ON events (run_id, seq);
"""
_LOCK_WAIT_S = 30.0

_SYNCHRONOUS: Mapping[Durability, str] = {"full": "FULL", "fast": "NORMAL"}
"""By NORMAL only checkpoints of the write-ahead log are synced: without that the store could be damaged."""


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
    """Nothing was stored: someone else moved `tasks`, or drives the run. Decide again on `run`."""

    run: Run
    tasks: tuple[str, ...] = ()


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Journal:
    """One open store. Not to be shared between threads."""

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], str] = _utc_now) -> None:
        self._db = connection
        self._now = now
        self._data_version = 0

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], str] = _utc_now, durability: Durability = "full") -> Self:
        """Open the store at `path` for writing, creating it where there is none.

        With `durability="fast"` an append is not synced; what a power cut leaves is then an earlier state.

        Raises:
            RepositoryUnusable: not writable, damaged, or written by a newer version.

        """
        with _as_unusable(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            db = sqlite3.connect(path, isolation_level=None, timeout=_LOCK_WAIT_S)
            _refuse_newer(db, path)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={_SYNCHRONOUS[durability]}")
            db.execute("PRAGMA cache_size=-512")  # KiB: a run is read once and appended to
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={STORE_VERSION}")
        return cls(db, now)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Open the store for reading; None where there is none yet.

        Raises:
            RepositoryUnusable: damaged, or written by a newer version.

        """
        if not path.exists():
            return None
        with _as_unusable(path):
            # A store in WAL mode is read with shared memory beside it, which a read-only disk cannot have.
            log = path.with_name(f"{path.name}-wal")
            unchanging = not os.access(path.parent, os.W_OK) and not log.exists()
            where = f"{path.as_uri()}?mode=ro{'&immutable=1' if unchanging else ''}"
            db = sqlite3.connect(where, uri=True, isolation_level=None, timeout=_LOCK_WAIT_S)
            _refuse_newer(db, path)
        return cls(db)

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
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def quick_check(self) -> list[str]:
        """Let SQLite look for damage; gives what it found, nothing where all is well.

        Raises:
            RepositoryUnusable: it is so damaged that it cannot be looked at.

        """
        with _as_unusable(Path(STORE)):
            told = [row[0] for row in self._db.execute("PRAGMA quick_check")]
        return [] if told == ["ok"] else told

    def run_ids(self) -> list[str]:
        """Name all runs, oldest first."""
        rows = self._db.execute("SELECT run_id FROM events GROUP BY run_id ORDER BY MIN(seq)")
        return [row[0] for row in rows]

    def unfinished(self) -> list[str]:
        """Name the runs that did not come to their end, oldest first."""
        rows = self._db.execute(
            "SELECT run_id FROM (SELECT run_id, type, MAX(seq) AS seq FROM events WHERE type NOT IN"
            " ('shown', 'checked', 'delivery_started', 'delivery_writing', 'delivery_applied',"
            " 'delivery_undone')"
            " GROUP BY run_id) WHERE type != 'run_finished' ORDER BY seq"
        )
        return [row[0] for row in rows]

    def undelivered(self) -> list[str]:
        """Name the runs whose landing on a person's branch was started and has no end, oldest first."""
        rows = self._db.execute(
            "SELECT run_id FROM (SELECT run_id, type, MAX(seq) AS seq FROM events WHERE type IN"
            " ('delivery_started', 'delivery_applied', 'delivery_undone')"
            " GROUP BY run_id) WHERE type = 'delivery_started' ORDER BY seq"
        )
        return [row[0] for row in rows]

    def events(self, run_id: str, *, after: int = 0) -> Iterator[Stored]:
        """Give the events of a run in order, from beyond sequence number `after`."""
        rows = self._db.execute(
            "SELECT seq, run_id, at, type, body FROM events WHERE run_id = ? AND seq > ? ORDER BY seq",
            (run_id, after),
        )
        for seq, run, at, kind, body in rows:
            yield Stored(seq, run, at, ev.from_json(kind, body))

    def refresh(self, run: Run) -> Run:
        """Fold what has been appended since `run` was read."""
        for stored in self.events(run.id, after=run.seq):
            run = replace(apply(run, stored.event), seq=stored.seq)
        return run

    def has_news(self) -> bool:
        """Tell whether another process wrote since this was last asked (`PRAGMA data_version`)."""
        version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        before, self._data_version = self._data_version, version
        return version != before

    def load(self, run_id: str) -> Run:
        """Fold a run from its first event."""
        return self.refresh(Run(run_id))

    def append(self, run: Run, events: Sequence[ev.Event]) -> Appended | Outdated:
        """Store events decided on the state `run`, all or none.

        Raises:
            IllegalTransition: an event does not fit the state; nothing is stored.
            RepositoryUnusable: the store could not be written; nothing is stored.

        """
        with _as_unusable(Path(STORE)):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                outcome = self._append_locked(run, events)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        return outcome

    def _append_locked(self, run: Run, events: Sequence[ev.Event]) -> Appended | Outdated:
        head = self.refresh(run)
        named = {event.task for event in events if isinstance(event, ev.TaskEvent)}
        moved = sorted(t for t in named if t in run.tasks and head.tasks[t].version != run.tasks[t].version)
        if moved or _is_overtaken(run, head, events):
            return Outdated(head, tuple(moved))
        for event in events:
            head = apply(head, event)
            cursor = self._db.execute(
                "INSERT INTO events (run_id, at, type, body) VALUES (?, ?, ?, ?)",
                (run.id, self._now(), event.type, ev.to_json(event)),
            )
            head = replace(head, seq=cursor.lastrowid or 0)
        return Appended(head)


def _is_overtaken(seen: Run, head: Run, events: Sequence[ev.Event]) -> bool:
    """Tell whether a driver decided about a run that another drives now, or the end of one that moved on."""
    by_driver = any(event.elapsed_s is not None for event in events)
    ends = any(isinstance(event, ev.RunPaused | ev.RunResumed | ev.RunFinished) for event in events)
    return (by_driver and head.drives != seen.drives) or (ends and head.seq != seen.seq)


def _refuse_newer(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > STORE_VERSION:
        raise RepositoryUnusable(
            f"the store {path} has version {version}; this Otto reads up to {STORE_VERSION}",
            hint="use the newer Otto that wrote it",
        )


@contextmanager
def _as_unusable(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise RepositoryUnusable(
            f"the store {path} cannot be used: {error}",
            hint="check that the Git directory is writable and the disk not full",
        ) from error
