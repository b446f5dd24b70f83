"""Otto's own short programs: their time limit, and what reaches them."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from otto_core.capture import capture


def test_a_short_program_that_hangs_is_killed_and_said(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not end within"):
        capture(["sleep", "60"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path, timeout_s=0.2)


def test_i13_a_short_program_that_an_interrupt_leaves_unfinished_is_killed(tmp_path: Path) -> None:
    """Its parent takes the signal, as when a terminal sends it."""
    interrupts = f"echo $$ > {tmp_path}/pid; kill -INT $PPID; exec sleep 60"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            capture(["sh", "-c", interrupts], env={"PATH": os.environ["PATH"]})
    finally:
        signal.signal(signal.SIGINT, before)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_what_a_terminal_sends_reaches_no_short_program() -> None:
    """A terminal signals a whole group of processes (termios(3), ISIG)."""
    told = capture([sys.executable, "-c", "import os; print(os.getpgrp(), os.getsid(0))"], env=os.environ)
    group, session = map(int, told.out.split())
    assert group != os.getpgrp()
    assert session != os.getsid(0)
