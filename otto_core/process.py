"""Child processes: the only module that spawns.

A command runs as the leader of a session of its own, with an allow-listed environment that carries a
marker. When it ends, or must end, its whole tree does: TERM to the process group, a grace period, KILL,
then a sweep for the marker, until nothing with the marker is left. Only processes that carry the marker are
ever signalled beyond the group that was started here.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARKER = "OTTO_MARKER"
"""Environment variable that every process of an execution inherits."""

_POLL_S = 0.02
_PROOF_S = 10.0


_PR_SET_CHILD_SUBREAPER = 36  # prctl(2), Linux


def become_subreaper() -> bool:
    """Have orphans of all descendants become this process's children; False where the system cannot.

    So they stay in its tree, where a person looks for them; a sweep finds them by their marker either way.
    """
    if not sys.platform.startswith("linux"):
        return False
    return int(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute. Times in seconds; `log` receives both output streams."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    timeout_s: float
    grace_s: float
    marker: str
    stdin: bytes = b""


@dataclass(frozen=True, slots=True)
class Exited:
    """The command ended by itself; a negative code is the signal that ended it."""

    code: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The time limit fired and the process tree was ended."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The driver asked for the end before the command came to one."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The program could not be executed at all."""

    message: str


@dataclass(frozen=True, slots=True)
class Survived:
    """Processes of the tree could not be ended: nothing may be concluded from the worktree."""

    pids: tuple[int, ...]
    duration_s: float


Ending = Exited | TimedOut | Stopped | NotStarted | Survived


async def execute(command: Command, stop: asyncio.Event) -> Ending:
    """Run a command to its end, its time limit, or until `stop` is set; leave no process of it behind."""
    started = time.monotonic()
    env = {**command.env, MARKER: command.marker}
    try:
        with command.log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *command.argv,
                cwd=command.cwd,
                env=env,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return NotStarted(f"cannot execute {command.argv[0]!r}: {why}")
    feeding = asyncio.create_task(_feed(child, command.stdin))
    why = await _first_end(child, command.timeout_s, stop)
    survivors = await _end_tree(child, command.marker, command.grace_s)
    feeding.cancel()
    with suppress(asyncio.CancelledError):
        await feeding
    duration_s = time.monotonic() - started
    if survivors:
        return Survived(survivors, duration_s)
    match why:
        case "timeout":
            return TimedOut(duration_s)
        case "stop":
            return Stopped(duration_s)
        case _:
            return Exited(child.returncode if child.returncode is not None else -signal.SIGKILL, duration_s)


async def _feed(child: asyncio.subprocess.Process, data: bytes) -> None:
    if child.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):  # a command need not read its prompt
        child.stdin.write(data)
        await child.stdin.drain()
    child.stdin.close()


async def _first_end(child: asyncio.subprocess.Process, timeout_s: float, stop: asyncio.Event) -> str:
    exited = asyncio.create_task(child.wait())
    stopped = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait(
        {exited, stopped}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
    )
    for task in pending:
        task.cancel()
    if exited in done:
        return "exit"
    return "stop" if stopped in done else "timeout"


async def _end_tree(child: asyncio.subprocess.Process, marker: str, grace_s: float) -> tuple[int, ...]:
    """End what is left of the tree; give the processes that would not go."""
    if child.returncode is None or _group_alive(child.pid) or any(marked(marker)):
        _signal_tree(child.pid, marker, signal.SIGTERM)
        await _until_gone(child, marker, grace_s)
    deadline = time.monotonic() + _PROOF_S
    while left := _living(child, marker):
        if time.monotonic() > deadline:
            return left
        _signal_tree(child.pid, marker, signal.SIGKILL)
        await _until_gone(child, marker, _POLL_S)
    return ()


async def _until_gone(child: asyncio.subprocess.Process, marker: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while _living(child, marker) and time.monotonic() < deadline:  # noqa: ASYNC110 - orphans end without a signal
        await asyncio.sleep(_POLL_S)


def _living(child: asyncio.subprocess.Process, marker: str) -> tuple[int, ...]:
    """List what is alive of the tree: the leader, its group, and all that carry the marker."""
    pids = {process.pid for process in marked(marker)}
    if child.returncode is None or _group_alive(child.pid):
        pids.add(child.pid)
    return tuple(sorted(pids))


def _group_alive(group: int) -> bool:
    """Tell whether the process group has a member that is not a zombie.

    A zombie's group still accepts signals, so an orphan that init has not yet reaped must not count.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _signal_tree(group: int, marker: str, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
    for process in marked(marker):
        with suppress(psutil.Error):  # gone meanwhile; psutil refuses a reused pid by its start time
            process.send_signal(number)


def marked(marker: str) -> Iterator[psutil.Process]:
    """Find the living processes whose environment carries the marker."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def end_marked(marker: str) -> tuple[int, ...]:
    """End at once whatever still carries a marker, such as what a killed driver left.

    Gives what would not go.
    """
    deadline = time.monotonic() + _PROOF_S
    while left := list(marked(marker)):
        if time.monotonic() > deadline:
            return tuple(process.pid for process in left)
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(_POLL_S)
    return ()


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
