"""Otto's own short programs: their time limit, and what reaches them."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from otto_core import kernel
from otto_core.capture import capture
from otto_core.children import Child, start
from tests.waiting import until


def test_a_short_program_that_hangs_is_killed_and_said(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not end within"):
        capture(["sleep", "60"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path, timeout_s=0.2)


def test_a_short_program_may_read_its_input_as_late_as_it_likes() -> None:
    """More than a pipe holds, and first read after a few looks at it."""
    told = capture(["sh", "-c", "sleep 0.5; wc -c"], env=os.environ, stdin=b"x" * 1_000_000)
    assert int(told.out) == 1_000_000


def test_i13_what_a_short_program_that_was_killed_has_started_is_ended(tmp_path: Path) -> None:
    """As a git whose filter hangs, and holds its standard error open."""
    script = f"sleep 600 & echo $! > {tmp_path}/pid; kill -9 $$"
    with pytest.raises(TimeoutError):
        capture(["sh", "-c", script], env={"PATH": os.environ["PATH"]}, timeout_s=1.0)
    until(lambda: not kernel.is_running(int((tmp_path / "pid").read_text())))


@pytest.mark.usefixtures("heeded")
def test_i13_a_short_program_that_an_interrupt_leaves_unfinished_is_killed(tmp_path: Path) -> None:
    """Its parent takes the signal, as when a terminal sends it."""
    interrupting = f"echo $$ > {tmp_path}/pid; kill -INT $PPID; exec sleep 60"
    with pytest.raises(KeyboardInterrupt):
        capture(["sh", "-c", interrupting], env={"PATH": os.environ["PATH"]})
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.usefixtures("heeded")
def test_i13_a_short_program_is_killed_where_an_interrupt_comes_before_its_start_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the fork and the line that notes the child, which is where a busy machine strikes."""
    started: list[Child] = []

    def start_and_interrupt(make: Callable[[], Child]) -> Child:
        child = start(make)
        started.append(child)
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr("otto_core.capture.start", start_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        capture(["sleep", "60"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path)
    assert started[0].returncode == -signal.SIGKILL


def test_what_a_terminal_sends_reaches_no_short_program() -> None:
    """A terminal signals a whole group of processes (termios(3), ISIG)."""
    told = capture([sys.executable, "-c", "import os; print(os.getpgrp(), os.getsid(0))"], env=os.environ)
    group, session = map(int, told.out.split())
    assert group != os.getpgrp()
    assert session != os.getsid(0)
