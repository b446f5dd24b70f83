"""The only module that spawns what is not Otto's own.

Whatever runs until its own end (a task's command, a check) is started here by one thread that lives as long
as this process: a parent-death signal follows the thread that spawned, not its process (prctl(2)). Otto's own
short programs, such as git, are run by `otto_core.capture`.
"""

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO

from otto_core.children import Child, start

MARKER = "OTTO_MARKER"
"""Environment variable that every process of an execution inherits."""


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

    def begin() -> Child:
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

    return _spawner().submit(start, begin)


@cache
def _spawner() -> ThreadPoolExecutor:
    """Give the one thread; it is made when it is first needed and ends with the process."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="otto-spawn")
