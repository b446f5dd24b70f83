"""Executing commands in tests, in each of the ways to hold a process tree."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from otto_core.execution import (
    Command,
    Ending,
    execute,
)
from otto_core.process import MARKER
from otto_core.sandbox import Unusable, Usable, View, probe
from otto_core.stop import Stop

Compose = Callable[..., Command]
"""Composes a command that runs in the test's directory."""


def composer(place: Path, *, in_namespace: bool) -> Compose:
    """Give what composes commands in a directory, with the `PATH` and nothing else."""
    cage: tuple[str, ...] = ()
    if in_namespace:
        match probe():
            case Usable(program):
                view = View(program, None, frozenset(), frozenset())
                cage = view.cage(work=place, writable=(), home=place)
            case Unusable(why):
                pytest.fail(why)

    def compose(*argv: str, timeout_s: float = 30, grace_s: float = 2, stdin: bytes = b"") -> Command:
        env = {"PATH": os.environ["PATH"]}
        log, marker = place / "log", f"test/{place}"
        return Command(argv, place, env, log, timeout_s, grace_s, marker, stdin, cage)

    return compose


def run(command: Command, stop: Stop | None = None) -> Ending:
    return asyncio.run(execute(command, stop or Stop()))


def living(tmp_path: Path) -> list[int]:
    """List the processes that carry the marker of the test's commands."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARKER) == f"test/{tmp_path}"
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def python(code: str, *args: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *args)
