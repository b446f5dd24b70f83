"""The file of the journal: how it is made, opened, brought up from an older version, and known to be whole.

Correctness depends on this. A store gets its name when it is complete, so a file of that name that is no
store was damaged. Every row has a sum over itself and the row of its run before it, and every run a head that
says which row is its last: SQLite checks its log and its own structure, but not the content of a page.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from otto_core.errors import RepositoryUnusable
from otto_core.flock import take
from otto_core.machine import remedy
from otto_core.model import Durability
from otto_core.mounts import require_local

STORE: Final = "otto.db"
"""The store's name in Otto's directory of a repository."""

STORE_VERSION: Final = 2
"""Version of the tables and of the event bodies; kept in SQLite's `user_version`."""

_TABLES: Final = (
    """CREATE TABLE events (
        seq    INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL,
        at     TEXT NOT NULL,
        type   TEXT NOT NULL,
        body   TEXT NOT NULL,
        sum    BLOB NOT NULL
    )""",
    "CREATE INDEX events_of_run ON events (run_id, seq)",
    """CREATE TABLE heads (
        run_id TEXT PRIMARY KEY,
        seq    INTEGER NOT NULL,
        sum    BLOB NOT NULL
    ) WITHOUT ROWID""",
)
LOCK_WAIT_S: Final = 30.0
_POLL_S: Final = 0.005
_SUM_BYTES: Final = 16

_SYNCHRONOUS: Final[Mapping[Durability, str]] = {"full": "FULL", "fast": "NORMAL"}
"""By NORMAL only checkpoints of the write-ahead log are synced: without that the store could be damaged."""

_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_CONSTRAINT_TRIGGER,
    }
)
"""What SQLite says of the place of a store, or of others who use or guard it, and not of the store."""


def open_store(path: Path, durability: Durability) -> sqlite3.Connection:
    """Open a store for writing: make it where there is none, bring it up to this version where it is older.

    Raises:
        RepositoryUnusable: not writable, damaged, on a network file system, or of a version that this Otto
            does not know.

    """
    with as_unusable(path):
        require_local(path.parent.resolve())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        db = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=LOCK_WAIT_S)
        try:
            _require_known(db, path)
            db.execute("PRAGMA journal_mode=WAL")
            sync_appends(db, durability)
            db.execute("PRAGMA cache_size=-512")  # KiB: a run is read once and appended to
            _migrate(db, path)
            _require_sound(db, path)
        except BaseException:
            db.close()
            raise
    return db


def sync_appends(db: sqlite3.Connection, durability: Durability) -> None:
    """Have each append that follows synced to the disk (`full`) or left to the system (`fast`)."""
    db.execute(f"PRAGMA synchronous={_SYNCHRONOUS[durability]}")


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """Open a store of this version or an older one for reading; None where there is none yet.

    Raises:
        RepositoryUnusable: damaged, or of a version that this Otto does not know.

    """
    if not path.exists():
        _require_no_log(path)
        return None
    with as_unusable(path):
        # A store in WAL mode is read with shared memory beside it, which a read-only disk cannot have.
        log = path.with_name(f"{path.name}-wal")
        unchanging = not os.access(path.parent, os.W_OK) and not log.exists()
        where = f"{path.as_uri()}?mode=ro{'&immutable=1' if unchanging else ''}"
        db = sqlite3.connect(where, uri=True, isolation_level=None, timeout=LOCK_WAIT_S)
        try:
            _require_known(db, path)
        except BaseException:
            db.close()
            raise
    return db


def version_of(db: sqlite3.Connection) -> int:
    """Give the version of a store as it is on the disk."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def sum_of(before: bytes, run_id: str, at: str, kind: str, body: str) -> bytes:
    """Give the sum of a row: BLAKE2b (RFC 7693) of the sum `before` it in its run and of what it says.

    No part of that holds a NUL: names and times do not, and JSON escapes it.
    """
    content = f"{run_id}\0{at}\0{kind}\0{body}".encode()
    return blake2b(before + content, digest_size=_SUM_BYTES).digest()


def damaged(path: Path, what: object) -> RepositoryUnusable:
    """Say that a store is damaged, and what to do."""
    aside = path.parent / "damaged"
    return RepositoryUnusable(
        f"the store {path} is damaged: {what}",
        hint=f"`otto doctor` looks closer. What landed is in Git (git log --all --grep=Otto-Run). To go on"
        f" without this history, move it away: mkdir {aside} && mv {path}* {aside}",
    )


@contextmanager
def as_unusable(path: Path) -> Iterator[None]:
    """Translate what SQLite and the disk say about a store."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite quotes what it cannot make sense of, byte for byte
        raise damaged(path, repr(error.object)) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _in_use(path) from error
        raise (_unusable if _is_of_the_disk(code, path) else damaged)(path, error) from error
    except OSError as error:
        raise _unusable(path, error) from error


def _is_of_the_disk(code: int, path: Path) -> bool:
    """Tell whether SQLite's code speaks of a store's place; a store may say itself that it is read-only."""
    if code == sqlite3.SQLITE_READONLY:
        return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    return not _DISK.isdisjoint({code, code & 0xFF}) and code != sqlite3.SQLITE_IOERR_SHORT_READ


def _in_use(path: Path) -> RepositoryUnusable:
    return RepositoryUnusable(
        f"the store {path} has been in use by another process for {LOCK_WAIT_S:g} s",
        hint="`otto doctor` tells who is at work; do this again",
    )


def _unusable(path: Path, error: Exception) -> RepositoryUnusable:
    return RepositoryUnusable(
        f"the store {path} cannot be used: {error}",
        hint=remedy(error),
    )


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do all or nothing, alone among writers."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # on a full disk SQLite may have done this itself
            db.execute("ROLLBACK")
        raise


# --- making


def _create(path: Path) -> None:
    """Make an empty store under another name, and give it its own when it is complete.

    One process at a time does this: the lock is that of the directory, which nothing else locks.
    """
    made = path.with_name(f"{path.name}.new")
    with _alone_in(path.parent):
        if path.exists():
            return
        _require_no_log(path)
        for left in path.parent.glob(f"{made.name}*"):
            left.unlink()
        # The write-ahead log comes last: SQLite does not tell what it cannot copy from one that it closes.
        with closing(sqlite3.connect(made, isolation_level=None)) as db:
            with transaction(db):
                for table in _TABLES:
                    db.execute(table)
                db.execute(f"PRAGMA user_version={STORE_VERSION}")
            db.execute("PRAGMA journal_mode=WAL")
        _publish(made, path)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + LOCK_WAIT_S
    try:
        while not take(file):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{directory} is locked by another process")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(file)


def _publish(made: Path, path: Path) -> None:
    """Give a complete file its name, so that both survive a power cut."""
    _sync(made)
    made.rename(path)
    _sync(path.parent)


def _sync(place: Path) -> None:
    file = os.open(place, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# --- opening


def _require_no_log(path: Path) -> None:
    """Refuse to begin anew beside the log of a store that is gone: SQLite would mix both.

    A store that another process makes at this moment is none: it is there when its log is.
    """
    log = path.with_name(f"{path.name}-wal")
    with suppress(FileNotFoundError):  # whoever made that store has closed it meanwhile
        if log.exists() and log.stat().st_size and not path.exists():
            raise damaged(path, f"it is gone, but its log {log.name} is there")


def _require_known(db: sqlite3.Connection, path: Path) -> None:
    version = version_of(db)
    if version > STORE_VERSION:
        raise RepositoryUnusable(
            f"the store {path} has version {version}; this Otto reads up to {STORE_VERSION}",
            hint="use the newer Otto that wrote it",
        )
    if version < min(_MIGRATIONS):
        raise damaged(path, f"it has version {version}; this Otto reads {min(_MIGRATIONS)} and up")


def _require_sound(db: sqlite3.Connection, path: Path) -> None:
    """Refuse to write to a store in which SQLite would take a used page for a free one.

    That takes some 3 ms for 10,000 events.
    """
    told = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if told != "ok":
        raise damaged(path, told)


# --- older versions


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring a store up to this version, step by step, each after a copy of the store as it was."""
    if version_of(db) == STORE_VERSION:
        return
    for version, step in sorted(_MIGRATIONS.items()):
        with transaction(db):
            if version_of(db) != version:  # another process was quicker
                continue
            _require_sound(db, path)
            _keep_copy(path, version)
            step(db)
            db.execute(f"PRAGMA user_version={version + 1}")
    with suppress(sqlite3.Error):  # free pages cost room, nothing else
        db.execute("VACUUM")


def _keep_copy(path: Path, version: int) -> None:
    """Keep the store as it is beside it, as `otto.db.v1`; the caller is its only writer meanwhile."""
    kept = path.with_name(f"{path.name}.v{version}")
    made = path.with_name(f"{kept.name}.new")
    for left in path.parent.glob(f"{made.name}*"):
        left.unlink()
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(made)) as target,
    ):
        source.backup(target)
    _publish(made, kept)


def _from_1(db: sqlite3.Connection) -> None:
    """Give every row its sum, and every run its head.

    The table is made anew: an Otto of version 1 that still has it open then cannot append a row without sum.
    """
    db.execute("ALTER TABLE events RENAME TO events_of_1")
    db.execute("DROP INDEX events_of_run")
    for table in _TABLES:
        db.execute(table)
    heads: dict[str, tuple[int, bytes]] = {}
    rows = db.execute("SELECT seq, run_id, at, type, body FROM events_of_1 ORDER BY seq")
    for seq, run_id, at, kind, body in rows:
        _, before = heads.get(run_id, (0, b""))
        heads[run_id] = seq, sum_of(before, run_id, at, kind, body)
        db.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (seq, run_id, at, kind, body, heads[run_id][1])
        )
    db.executemany("INSERT INTO heads VALUES (?, ?, ?)", ((run, *head) for run, head in heads.items()))
    db.execute("DROP TABLE events_of_1")


_MIGRATIONS: Final[Mapping[int, Callable[[sqlite3.Connection], None]]] = {1: _from_1}
"""By the version that they start from."""
