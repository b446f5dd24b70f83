"""Otto's own short programs, such as git: run to their end, with what they print.

It stands beside `otto_core.process`, so that a command that only looks need not get ready to spawn threads.
"""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from msgspec import Struct

from otto_core.children import Child, ended, start
from otto_core.interrupts import deferred, deliver

LIMIT_S: Final = 300.0
"""How long a short program may take, in seconds, unless its caller knows better."""

hurry: Final = threading.Event()
"""Set while a person will not wait any more: what goes on for longer than a few seconds is killed."""

_HURRY_S: Final = 5.0
_LOOK_S: Final = 0.1
"""How long an interrupt may have to wait."""


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
    with _holding(stdin) as given:

        def begin() -> Child:
            return subprocess.Popen(
                argv,
                cwd=cwd,
                env=dict(env),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=keep,
            )

        with deferred(), start(begin) as child:
            try:
                out, err = _read_all(child, f"{argv[0]!r}", timeout_s)
            finally:
                if child.returncode is None:  # not waited for: its id, and so its group's, is no other's
                    with suppress(ProcessLookupError):  # waited for after all, if another handler has raised
                        os.killpg(child.pid, signal.SIGKILL)  # with what it started: a filter that hangs
                _wait(child)
                ended(child)
    return Completed(child.returncode, out, err)


@contextmanager
def _holding(content: bytes) -> Iterator[IO[bytes] | int]:
    """Give a standard input that has the content: nobody has to feed it, and it needs no room on a disk."""
    if not content:
        yield subprocess.DEVNULL
        return
    in_memory = hasattr(os, "memfd_create")
    with open(os.memfd_create("stdin"), "w+b") if in_memory else TemporaryFile() as file:  # noqa: PTH123
        file.write(content)
        file.seek(0)
        yield file


def _read_all(child: Child, name: str, timeout_s: float) -> tuple[bytes, bytes]:
    """Collect what a program prints until its end, or raise as `capture` does.

    Interrupts are delivered between two looks, never within one: an exception would strike the bookkeeping of
    `subprocess` at any of its steps.
    """
    deadline, hurried = time.monotonic() + timeout_s, None
    while True:
        try:
            return child.communicate(timeout=max(0.0, min(_LOOK_S, deadline - time.monotonic())))
        except subprocess.TimeoutExpired as error:
            deliver()
            now = time.monotonic()
            if now >= deadline:
                raise TimeoutError(f"{name} did not end within {timeout_s:g} s") from error
            if hurry.is_set():
                hurried = hurried or now + _HURRY_S
                if now >= hurried:
                    raise InterruptedError(errno.EINTR, f"{name} hung, and was killed") from error


def _wait(child: Child) -> None:
    """Wait for a child that has ended, or was killed; where even that takes long, an interrupt ends it."""
    while True:
        try:
            child.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            deliver()
        else:
            return
