"""The lock table as files: two copies, of which the newer whole one counts, and the guard of both.

A change overwrites the older copy in place and gives it the next number. So whoever reads, without any lock,
finds one copy whole, even where a writer was killed half-way; a checksum tells. A rename would do as well,
but file systems write the data out before they replace a file by another, which costs a hundred times as much
as the change itself. Nothing here need outlive a power cut: no holder of a lock does.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from otto_core.errors import Locked
from otto_core.flock import take
from otto_core.writesets import Holder, Who, WriteSet

COPIES: Final = ("table.0", "table.1")
"""The copies by the last bit of their numbers."""

_GUARD: Final = "guard"
_POLL_S: Final = 0.005
_LOOKS: Final = 5
"""How often a reader looks again: two changes in the time of one look leave it without a whole copy."""


class GivenUp(Exception):
    """Whoever waited for the guard of the table has been asked to stop."""


class Table(NamedTuple):
    """What a whole copy holds."""

    number: int
    entries: tuple[Holder, ...]


def read(directory: Path) -> Table | None:
    """Read the table; None where there is none, or none that is whole.

    Raises:
        OSError: a copy is there and cannot be read.

    """
    for look in range(_LOOKS):
        contents = [content for name in COPIES if (content := _content(directory / name)) is not None]
        tables = [table for content in contents if (table := _parsed(content)) is not None]
        if tables or not contents:
            return max(tables, default=None, key=lambda table: table.number)
        time.sleep(0.001 * look)
    return None


def write(directory: Path, before: Table | None, entries: Iterable[Holder]) -> None:
    """Write the table that follows `before`. The caller holds the guard.

    Raises:
        OSError: it cannot be written; the table is as it was.

    """
    number = before.number + 1 if before else 1
    body = json.dumps([asdict(entry) for entry in entries]).encode("ascii")
    content = b"%d %d\n%b" % (number, crc32(body), body)
    copy = directory / COPIES[number % 2]
    with os.fdopen(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b", buffering=0) as file:
        written = 0
        while written < len(content):
            written += file.write(content[written:]) or 0
        file.truncate(len(content))


def _content(copy: Path) -> bytes | None:
    try:
        return copy.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _parsed(content: bytes) -> Table | None:
    """Read a copy; None if it is not whole."""
    try:
        head, _, body = content.partition(b"\n")
        number, checksum = map(int, head.split())
        if checksum != crc32(body):
            return None
        return Table(number, tuple(map(_holder, json.loads(body))))
    except (ValueError, TypeError, KeyError):
        return None


def _holder(row: Mapping[str, object]) -> Holder:
    """Read an entry.

    Raises:
        TypeError, KeyError, ValueError: it is none.

    """
    match row:
        case {
            "run": str(run),
            "task": str(task),
            "since": str(since),
            "writes": {"owns": [*owns], "extends": [*extends]},
            "who": {"pid": int(pid), "host": str(host)},
        }:
            writes = WriteSet(tuple(map(str, owns)), tuple(map(str, extends)))
            return Holder(run, task, writes, Who(pid, host), since)
    raise ValueError("no entry of the lock table")


@contextmanager
def guarded(directory: Path, patience_s: float, given_up: Callable[[], bool]) -> Iterator[None]:
    """Hold the guard of the table. `given_up` is asked while others hold it.

    Raises:
        Locked: it was not to be had in time.
        GivenUp: the caller waits no longer.
        OSError: there can be none.

    """
    guard = directory / _GUARD
    deadline = time.monotonic() + patience_s
    while True:
        with os.fdopen(os.open(guard, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            if take(file) and _is(guard, file.fileno()):
                file.write(b"%-10d\n" % os.getpid())
                yield
                return
        if given_up():
            raise GivenUp
        if time.monotonic() >= deadline:
            raise _stuck(guard, patience_s)
        time.sleep(_POLL_S)


def _is(path: Path, file: int) -> bool:
    """Tell whether a name still stands for an open file: someone may have deleted it meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _stuck(guard: Path, patience_s: float) -> Locked:
    pid = guard.read_text("utf-8", "replace").strip()
    return Locked(
        f"the lock table has been in use for {patience_s:g}s by process {pid or 'unknown'}",
        hint=f"it may be stopped: `kill -CONT {pid}`" if pid else "it may be stopped: look for it and go on",
    )
