"""The only module that spawns.

Whatever runs until its own end (a task's command, a check) is started here by one thread that lives as long
as this process: a parent-death signal follows the thread that spawned, not its process (prctl(2)). Otto's own
short programs, such as git, are run by `capture`.
"""

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

MARKER = "OTTO_MARKER"
"""Environment variable that every process of an execution inherits."""

Child = subprocess.Popen[bytes]


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: IO[bytes],
    output: int,
    keep: Sequence[int] = (),
) -> "Future[Child]":
    """Start a command as the leader of a session of its own, from the spawning thread.

    `output` is the descriptor that both streams go to; `keep` names further ones that the child inherits.
    The future fails with OSError or ValueError where the command cannot be executed.
    """

    def start() -> Child:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=keep,
        )

    return _spawner().submit(start)


@cache
def _spawner() -> ThreadPoolExecutor:
    """Give the one thread; it is made when it is first needed and ends with the process."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="otto-spawn")


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished short program: exit code and both streams."""

    code: int
    out: bytes
    err: bytes


def capture(
    argv: Sequence[str | bytes],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout_s: float = 300.0,
) -> Completed:
    """Run one of Otto's own short programs (git) and collect what it prints.

    Raises:
        OSError: it cannot be executed.
        TimeoutError: it did not end in time and was killed.

    """
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=dict(env), input=stdin, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{argv[0]!r} did not end within {timeout_s:g} s") from error
    return Completed(done.returncode, done.stdout, done.stderr)
