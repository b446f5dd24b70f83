"""What a driver makes of the signals that it is sent."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator

import pytest

from otto_core.driver import interruptible

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(driven: Coroutine[None, None, None]) -> None:
    """Run a driver in an event loop without `asyncio.run`, which has its own way with SIGINT."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(driven)
    finally:
        loop.close()


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

    run(driven())
    assert heard == []
    assert signal.getsignal(ignored) is signal.SIG_IGN


@pytest.mark.parametrize("first", INTERRUPTS, ids=lambda number: number.name)
@pytest.mark.parametrize("second", INTERRUPTS, ids=lambda number: number.name)
def test_two_signals_ask_and_a_third_finds_what_ends_the_process(
    first: signal.Signals, second: signal.Signals
) -> None:
    asked: list[str] = []
    heard = asyncio.Event()
    before = [signal.getsignal(number) for number in INTERRUPTS]

    def ask() -> None:
        asked.append("to end")
        heard.set()

    async def send(number: signal.Signals) -> None:
        heard.clear()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(heard.wait(), 60)

    async def driven() -> None:
        with interruptible(ask):
            await send(first)
            assert signal.SIG_DFL not in [signal.getsignal(number) for number in INTERRUPTS]
            await send(second)
            assert [signal.getsignal(number) for number in INTERRUPTS] == [signal.SIG_DFL] * 3

    run(driven())
    assert asked == ["to end", "to end"]
    assert [signal.getsignal(number) for number in INTERRUPTS] == before


def test_a_signal_wakes_a_driver_that_waits_for_nothing_else() -> None:
    async def driven() -> None:
        asked = asyncio.Event()
        with interruptible(asked.set):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
            await asyncio.wait_for(asked.wait(), 60)

    run(driven())


def test_after_the_driver_each_signal_does_what_it_did_before() -> None:
    async def driven(error: Exception | None) -> None:
        with interruptible(lambda: None):
            if error is not None:
                raise error

    def mine(*_: object) -> None:
        return

    before = {number: signal.signal(number, mine) for number in INTERRUPTS}
    try:
        run(driven(None))
        assert [signal.getsignal(number) for number in INTERRUPTS] == [mine] * 3
        with pytest.raises(ValueError, match="failed"):
            run(driven(ValueError("failed")))
        assert [signal.getsignal(number) for number in INTERRUPTS] == [mine] * 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
