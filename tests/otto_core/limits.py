"""Time limits that fire at a sign, not after a time: what has to come first is there on any machine."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from otto_core import execution
from otto_core.capture import LIMIT_S
from otto_core.children import Child
from otto_core.execution import Command
from otto_core.process_tree import Tree
from otto_core.session import Session
from otto_core.stop import Stop


def limits_fire_at(monkeypatch: pytest.MonkeyPatch, sign: Callable[[], bool] | Path) -> None:
    """Let the time limit of an execution be over in the moment in which a sign is there, and never before.

    A file is a sign once each time that it is made, and is taken away for it.
    """
    if isinstance(sign, Path):
        sign = partial(_taken, sign)
    first_end = execution._first_end

    async def watch(child: Child, tree: Tree, command: Command, stop: Stop) -> str:
        real = asyncio.create_task(first_end(child, tree, command, stop))
        while not (fires := sign()) and not real.done():
            await asyncio.wait({real}, timeout=0.01)
        if not fires:
            return await real
        real.cancel()
        with suppress(asyncio.CancelledError):
            await real
        return await first_end(child, tree, replace(command, timeout_s=0.0), stop)

    monkeypatch.setattr(execution, "_first_end", watch)


def a_short_program_times_out_at(monkeypatch: pytest.MonkeyPatch, sign: Path) -> None:
    """Let the time limit of one of Otto's own programs be over when a file is there, and never before.

    It is a sign once each time that it is made, and is taken away for it.
    """
    passed_s = 0.0

    def monotonic() -> float:
        nonlocal passed_s
        passed_s += LIMIT_S * _taken(sign)
        return time.monotonic() + passed_s

    monkeypatch.setattr("otto_core.capture.time", SimpleNamespace(monotonic=monotonic))


def time_passes_at(monkeypatch: pytest.MonkeyPatch, sign: Path, seconds: float) -> None:
    """Let a driver have worked so many seconds longer as soon as a file is there."""
    real = Session.elapsed_s.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Session, "elapsed_s", property(lambda session: real(session) + seconds * sign.exists())
    )


def _taken(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
