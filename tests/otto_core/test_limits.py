"""A limit that fires while nobody looks: what came first counts."""

import asyncio
import os
from pathlib import Path

from otto_core.children import ended
from otto_core.execution import Command, _first_end
from otto_core.process import spawn
from otto_core.process_tree import Swept
from otto_core.stop import Stop


def test_a_command_that_ended_while_otto_was_stopped_is_not_blamed_for_a_limit_that_is_over_too(
    tmp_path: Path,
) -> None:
    """As after Ctrl-Z and fg: Otto learns at once that the command has ended and that its time is up."""
    with Path(os.devnull).open("r+b") as nothing:
        child = spawn(["true"], cwd=tmp_path, env=os.environ, stdin=nothing, output=nothing.fileno()).result()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    command = Command(("true",), tmp_path, {}, tmp_path / "log", timeout_s=0.0, grace_s=0.0, marker="m")
    tree = Swept(child.pid, command.marker, tmp_path)
    assert asyncio.run(_first_end(child, tree, command, Stop())) == "exit"
    assert child.returncode == 0
    ended(child)
