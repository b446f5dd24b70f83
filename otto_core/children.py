"""Which processes this one has started itself, and so waits for.

Correctness depends on `start` and `strangers` excluding each other: a child is known before anyone can look.
"""

import subprocess
import threading
from collections.abc import Callable, Collection

Child = subprocess.Popen[bytes]

_turn = threading.Lock()
_own: set[int] = set()


def start(make: Callable[[], Child]) -> Child:
    """Start a child and know it as one's own."""
    with _turn:
        child = make()
        _own.add(child.pid)
        return child


def ended(child: Child) -> None:
    """Forget a child that has been waited for: its id may be another's soon."""
    _own.discard(child.pid)


def strangers(look: Callable[[Collection[int]], tuple[int, ...]]) -> tuple[int, ...]:
    """Let `look` find processes; it is told which are one's own, and none begins meanwhile."""
    with _turn:
        return look(_own)


def own() -> frozenset[int]:
    """Name the children known by now; one that begins at this moment may be missing."""
    return frozenset(_own)
