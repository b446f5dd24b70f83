"""Otto's own short programs, such as git: run to their end, with what they print.

It stands beside `otto_core.process`, so that a command that only looks need not get ready to spawn threads.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from otto_core.children import Child, ended, start
from otto_core.interrupts import deferred, delivered


class Completed(Struct, frozen=True):
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
    keep: Sequence[int] = (),
    timeout_s: float = 300.0,
) -> Completed:
    """Run one of Otto's own short programs (git) and collect what it prints.

    It has a session of its own: what a terminal sends, such as Ctrl-C, is for Otto alone. An interrupt here
    (`otto_core.interrupts`) kills it, with what it started; else Otto waits for its end.
    `keep` names open files that it inherits: a lock on one lasts until it has ended, also where this process
    is killed first.

    Raises:
        OSError: it cannot be executed.
        TimeoutError: it did not end in time and was killed.

    """

    def begin() -> Child:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            pass_fds=keep,
        )

    with deferred(), start(begin) as child:
        try:
            with delivered():
                out, err = child.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{argv[0]!r} did not end within {timeout_s:g} s") from error
        finally:
            if child.returncode is None:  # not waited for: its id, and so its group's, is no other's
                os.killpg(child.pid, signal.SIGKILL)  # with what it started, such as a filter that hangs
            with delivered():
                child.wait()
            ended(child)
    return Completed(child.returncode, out, err)
