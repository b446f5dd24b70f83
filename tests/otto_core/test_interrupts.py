"""What Ctrl-C and its like raise, and where they wait."""

import signal
import threading

import pytest

from otto_core.interrupts import SIGNALS, deferred, deliver, heed, interrupt

pytestmark = pytest.mark.usefixtures("heeded")


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


def test_what_was_deferred_is_delivered_where_it_is_asked_for() -> None:
    reached = []

    def work() -> None:
        with deferred():
            deliver()
            signal.raise_signal(signal.SIGINT)
            reached.append("deferred")
            try:
                deliver()
            finally:
                signal.raise_signal(signal.SIGINT)
                reached.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["deferred", "cleaned up"]


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
