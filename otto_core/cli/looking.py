"""Looking again and again at what goes on, until Ctrl-C or what counts like it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from otto_core import interrupts

POLL_S: Final = 0.2
"""How often what is followed is looked at, in seconds."""


@contextmanager
def patiently() -> Iterator[Callable[[float], None]]:
    """Give a function that waits some seconds, and raises KeyboardInterrupt if Ctrl-C was pressed before.

    So it is with SIGTERM and SIGHUP where they count like Ctrl-C. The usual handler raises wherever it
    strikes, and Python drops what a finaliser raises: a loop that does little but make and drop small objects
    would often go on. A second Ctrl-C raises at once, as for a write to a reader who stopped reading.
    """
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            interrupts.interrupt(number, frame)
        pressed = True

    def wait(seconds: float) -> None:
        if pressed:
            raise KeyboardInterrupt
        time.sleep(seconds)

    heard = [number for number in interrupts.SIGNALS if signal.getsignal(number) is interrupts.interrupt]
    for number in heard:
        signal.signal(number, press)
    try:
        yield wait
    finally:
        for number in heard:
            signal.signal(number, interrupts.interrupt)
