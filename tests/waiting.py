"""How tests wait: for a sign of what has to come about, never for a time."""

import time
from collections.abc import Callable

from otto_core import kernel
from otto_core.process import MARKER

PATIENCE_S = 60.0
"""How long a test waits for what has to come about, also on a machine that is busy with much else."""


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that has to come about; fail where it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def until_marked(pid: int, marker: str) -> None:
    """Wait until a process shows its marker: in the midst of execve(2) it shows no environment."""
    until(lambda: kernel.environment_of(pid).get(MARKER) == marker)
