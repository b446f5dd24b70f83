"""The request to end what executes: gently at first, at once when it is made again."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet


class Stop:
    """A request that whoever executes, or waits to, looks at. What a person asked for stays.

    It lives in the thread of one event loop; only `is_set` may be asked from others.
    """

    def __init__(self) -> None:
        self.at_once = asyncio.Event()
        """Set where no time is left: what has a grace period loses the rest of it."""
        self.tell: Callable[[str], None] = lambda _: None
        """Told, in words for a person, what the first `ask` does and what another would."""
        self._gently = asyncio.Event()
        self._asked = False
        self._parts: WeakSet[Stop] = WeakSet()

    def part(self) -> "Stop":
        """Give a stop for a part of what executes: set whenever this one is, or alone."""
        part = Stop()
        part.at_once = self.at_once
        self._parts.add(part)
        if self.is_set():
            part.set()
        return part

    def set(self) -> None:
        """Have what executes end gently, on the driver's own account; any number of times."""
        self._gently.set()
        for part in self._parts:
            part.set()

    def ask(self) -> None:
        """Do as a person asks: the first time end gently, from the second on at once."""
        if self._asked:
            self.at_once.set()
            return
        self._asked = True
        self.set()
        with suppress(OSError):  # nobody reads on; what was asked for happens all the same
            self.tell("interrupted: what executes is asked to end; interrupt again to end it at once")

    def withdraw(self) -> None:
        """Let things begin again, unless a person asked for the end."""
        if not self._asked:
            self._gently.clear()

    def is_set(self) -> bool:
        """Tell whether anything may still begin."""
        return self._gently.is_set()

    async def wait(self) -> None:
        """Wait until the end is asked for."""
        await self._gently.wait()
