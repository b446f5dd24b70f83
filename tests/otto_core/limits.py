"""Time limits that fire at a sign, not after a time: what has to come first is there on any machine."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from otto_core import execution
from otto_core.children import Child
from otto_core.execution import Command
from otto_core.process_tree import Tree
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


def _taken(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
