"""Otto's own short programs: their time limit."""

import os
from pathlib import Path

import pytest

from otto_core.capture import capture


def test_a_short_program_that_hangs_is_killed_and_said(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not end within"):
        capture(["sleep", "60"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path, timeout_s=0.2)
