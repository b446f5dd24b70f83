"""A limit that fires while nobody looks: what came first counts."""

import asyncio
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from otto_core.children import ended
from otto_core.execution import Command, _end, _first_end
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


class Dying:
    """A tree that is gone when Otto goes on, after it was stopped for longer than an end may take."""

    def __init__(self) -> None:
        self.now, self.gone = 0.0, False

    def members(self) -> tuple[int, ...]:
        return ()

    def signal(self, number: signal.Signals) -> None:
        """Be gone when it is killed a second time; Otto is stopped after the first one."""
        self.gone = self.now > 0.0
        if number is signal.SIGKILL:
            self.now = 1000.0

    async def is_gone(self, _: float) -> bool:
        return self.gone


def test_what_is_gone_when_otto_goes_on_is_not_told_as_what_could_not_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open("r+b") as nothing:
        child = spawn(["true"], cwd=tmp_path, env=os.environ, stdin=nothing, output=nothing.fileno()).result()
    child.wait()
    ended(child)
    tree, stop = Dying(), Stop()
    monkeypatch.setattr("otto_core.execution.time", SimpleNamespace(monotonic=lambda: tree.now))
    assert asyncio.run(_end(child, tree, 0.0, stop)) == ()  # type: ignore[arg-type]
