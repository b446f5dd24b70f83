"""Otto's own short programs: their time limit, and what reaches them."""

import os
import sys
from pathlib import Path

import pytest

from otto_core.capture import capture


def test_a_short_program_that_hangs_is_killed_and_said(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not end within"):
        capture(["sleep", "60"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path, timeout_s=0.2)


def test_what_a_terminal_sends_reaches_no_short_program() -> None:
    """A terminal signals a whole group of processes (termios(3), ISIG)."""
    told = capture([sys.executable, "-c", "import os; print(os.getpgrp(), os.getsid(0))"], env=os.environ)
    group, session = map(int, told.out.split())
    assert group != os.getpgrp()
    assert session != os.getsid(0)
