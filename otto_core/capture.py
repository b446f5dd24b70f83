"""Otto's own short programs, such as git: run to their end, with what they print.

It stands beside `otto_core.process`, so that a command that only looks need not get ready to spawn threads.
"""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from otto_core.children import Child, ended, start
from otto_core.interrupts import deferred, delivered

LIMIT_S: Final = 300.0
"""How long a short program may take, in seconds, unless its caller knows better."""

hurry: Final = threading.Event()
"""Set while a person will not wait any more: what goes on for longer than a few seconds is killed."""

_HURRY_S: Final = 5.0
_LOOK_S: Final = 0.5


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
    timeout_s: float = LIMIT_S,
) -> Completed:
    """Run one of Otto's own short programs (git) and collect what it prints.

    It has a session of its own: what a terminal sends, such as Ctrl-C, is for Otto alone. An interrupt here
    (`otto_core.interrupts`) kills it, with what it started; else Otto waits for its end.
    `keep` names open files that it inherits: a lock on one lasts until it has ended, also where this process
    is killed first.

    Raises:
        OSError: it cannot be executed.
        InterruptedError: it did not end in a few seconds of `hurry`, and was killed.
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
                out, err = _communicate(child, stdin, f"{argv[0]!r}", timeout_s)
        finally:
            if child.returncode is None:  # not waited for: its id, and so its group's, is no other's
                os.killpg(child.pid, signal.SIGKILL)  # with what it started, such as a filter that hangs
            with delivered():
                child.wait()
            ended(child)
    return Completed(child.returncode, out, err)


def _communicate(child: Child, stdin: bytes, name: str, timeout_s: float) -> tuple[bytes, bytes]:
    """Feed a program and collect what it prints until its end, or raise as `capture` does."""
    given: bytes | None = stdin
    deadline, hurried = time.monotonic() + timeout_s, None
    while True:
        try:
            return child.communicate(given, timeout=max(0.0, min(_LOOK_S, deadline - time.monotonic())))
        except subprocess.TimeoutExpired as error:
            given, now = None, time.monotonic()
            if now >= deadline:
                raise TimeoutError(f"{name} did not end within {timeout_s:g} s") from error
            if hurry.is_set():
                hurried = hurried or now + _HURRY_S
                if now >= hurried:
                    raise InterruptedError(errno.EINTR, f"{name} hung, and was killed") from error
