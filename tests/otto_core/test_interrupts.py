"""What Ctrl-C and its like raise, and where they wait."""

import signal
import threading
from collections.abc import Iterator

import pytest

from otto_core.interrupts import SIGNALS, deferred, delivered, heed, interrupt


@pytest.fixture(autouse=True)
def _as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    heed()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_raises(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_an_interrupt_that_is_deferred_raises_at_the_end_once() -> None:
    done = []

    def work(*numbers: signal.Signals) -> None:
        with deferred():
            for number in numbers:
                signal.raise_signal(number)
            done.append(numbers)

    with pytest.raises(KeyboardInterrupt):
        work(signal.SIGINT, signal.SIGTERM)
    work()
    assert done == [(signal.SIGINT, signal.SIGTERM), ()]


def test_what_was_deferred_is_delivered_where_a_block_lets_it() -> None:
    reached = []

    def work() -> None:
        with deferred():
            signal.raise_signal(signal.SIGINT)
            reached.append("deferred")
            with delivered():
                reached.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["deferred"]


def test_an_interrupt_while_it_is_delivered_raises_there_and_is_deferred_after() -> None:
    reached = []

    def work() -> None:
        with deferred():
            try:
                with delivered():
                    signal.raise_signal(signal.SIGINT)
                    reached.append("never")
            finally:
                signal.raise_signal(signal.SIGINT)
                reached.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["cleaned up"]


def test_another_thread_defers_nothing_in_the_main_one() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with deferred():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        inside.wait()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        leave.set()
        thread.join()


def test_a_signal_that_is_ignored_or_heard_by_another_stays_so() -> None:
    def other(number: int, frame: object) -> None:
        """Hear it otherwise."""

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, other)
    heed()
    assert [signal.getsignal(number) for number in SIGNALS] == [interrupt, other, signal.SIG_IGN]
