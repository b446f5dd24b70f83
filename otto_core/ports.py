"""Blocks of ports: each attempt gets some that no other attempt on this machine has.

Ports are handed out in units, each with a lock file in the user's cache directory. The kernel frees the locks
when the driver dies; the files are never removed, for a second holder could lock their successors. Nothing
keeps a stranger from binding such a port: a block of which any is taken when it is asked for is passed over.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import portalocker

from otto_core.environment import cache
from otto_core.errors import RepositoryUnusable

FIRST: Final = 20_000
LAST: Final = 31_999
UNIT: Final = 10
"""Ports a lock. Below the ephemeral ports of Linux (32768 and up), which the kernel gives to clients."""


@contextmanager
def reserve(size: int) -> Iterator[int | None]:
    """Hold a block of `size` ports that follow each other, and give the first; None for a size of 0.

    Raises:
        RepositoryUnusable: none is free, or the user's cache directory cannot be written.

    """
    if size == 0:
        yield None
        return
    with ExitStack() as held:
        yield _lock_block(held, -(-size // UNIT))


def _lock_block(held: ExitStack, units: int) -> int:
    place = cache() / "ports"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for first in range(FIRST, LAST + 2 - units * UNIT, UNIT):
            with ExitStack() as taken:
                if _lock(taken, place, first, units):
                    held.push(taken.pop_all())
                    return first
    except OSError as error:
        raise RepositoryUnusable(
            f"{place} cannot be used: {error.strerror}",
            hint="give yourself access to it, or set `worktrees.ports: 0`",
        ) from error
    raise RepositoryUnusable(
        f"no block of {units * UNIT} free ports between {FIRST} and {LAST}",
        hint="end what uses them, or set `worktrees.ports` lower",
    )


def _lock(taken: ExitStack, place: Path, first: int, units: int) -> bool:
    """Lock the units of a block from `first`; False where another has one, or a port is in use."""
    for port in range(first, first + units * UNIT, UNIT):
        lock = portalocker.Lock(place / f"{port}.lock", mode="a", timeout=0, fail_when_locked=True)
        try:
            lock.acquire()
        except portalocker.LockException:
            return False
        taken.callback(lock.release)
    return all(map(_is_free, range(first, first + units * UNIT)))


def _is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of the loopback (a connection that is closing does not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
