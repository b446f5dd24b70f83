"""Ctrl-C and what counts like it: it raises KeyboardInterrupt, not where work would be left half done.

Python runs a signal's handler between any two steps of the main thread. An exception raised between the start
of a process and the line that notes it would leave a process that nobody ends.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What counts as an interrupt: Ctrl-C, a request to end, a lost terminal."""

_deferring = False
_pending = False


def heed() -> None:
    """Have the signals raise KeyboardInterrupt; one ignored or heard otherwise stays so (nohup(1))."""
    for number in SIGNALS:
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise KeyboardInterrupt, or remember to where that is deferred."""
    global _pending  # noqa: PLW0603 -- handlers belong to the process, and run in one thread only
    if _deferring:
        _pending = True
    else:
        signal.default_int_handler(number, frame)


@contextmanager
def deferred() -> Iterator[None]:
    """Put off what `interrupt` raises to the end of the block, or to a `deliver` inside it.

    Other threads than the main one are never interrupted: there it changes nothing.
    """
    global _deferring  # noqa: PLW0603 -- handlers belong to the process, and run in one thread only
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _deferring
    try:
        _deferring = True
        yield
    finally:
        _deferring = before
        if not _deferring:
            deliver()


def deliver() -> None:
    """Raise what was put off, if anything was."""
    global _pending  # noqa: PLW0603 -- as above
    if _pending and threading.current_thread() is threading.main_thread():
        _pending = False
        raise KeyboardInterrupt
