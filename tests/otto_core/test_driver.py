"""What a driver makes of the signals that it is sent."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from otto_core.driver import interruptible


@pytest.fixture(params=[signal.SIGHUP, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def ignored(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """Ignore a signal, as nohup(1) and a shell's `&` do."""
    number: signal.Signals = request.param
    before = signal.signal(number, signal.SIG_IGN)
    yield number
    signal.signal(number, before)


def test_a_signal_that_is_ignored_when_the_driver_starts_stays_ignored(ignored: signal.Signals) -> None:
    heard: list[str] = []

    async def driven() -> None:
        with interruptible(lambda: heard.append("interrupted")):
            assert signal.getsignal(ignored) is signal.SIG_IGN
            os.kill(os.getpid(), ignored)
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()  # asyncio.run() has its own way with SIGINT
    try:
        loop.run_until_complete(driven())
    finally:
        loop.close()
    assert heard == []
    assert signal.getsignal(ignored) is signal.SIG_IGN
