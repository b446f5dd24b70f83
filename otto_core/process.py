"""Child processes: the only module that spawns.

A command runs as the leader of a session of its own, with an allow-listed environment that carries a
marker. When it ends, or must end, its whole tree does: TERM, a grace period, KILL, until nothing of it is
left. Of the tree are the process group, whatever carries the marker, and descendants of this process (which
adopts orphans) that work in the command's directory. Nothing else is ever signalled.
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
    place = command.cwd.resolve()  # now: the command may put something else there
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
    tree = _Tree(child.pid, command.marker, place)
    survivors = await _end_tree(child, tree, command.grace_s)
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


@dataclass(frozen=True, slots=True)
class _Tree:
    """The processes of one execution: its group, all that carry its marker, and descendants in its place."""

    group: int
    marker: str
    place: Path

    def members(self) -> list[psutil.Process]:
        """List the living members. A descendant that shed its marker is known by its working directory."""
        descendants = {process.pid for process in psutil.Process().children(recursive=True)}
        return [
            process
            for process in psutil.process_iter()
            if _is_marked(process, self.marker) or (process.pid in descendants and self._holds(process))
        ]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each member once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, number)
        for process in self.members():
            with suppress(psutil.Error, ProcessLookupError):  # gone meanwhile; psutil knows a reused pid
                if os.getpgid(process.pid) != self.group:
                    process.send_signal(number)

    def _holds(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error, OSError):
            if _group_of(process) == self.group:
                return process.status() != psutil.STATUS_ZOMBIE
            if process.environ().get(MARKER, self.marker) != self.marker:
                return False  # another execution's, wherever it works
            inside = Path(process.cwd()).is_relative_to(self.place)
            return inside and process.status() != psutil.STATUS_ZOMBIE
        return False


def _group_of(process: psutil.Process) -> int:
    return os.getpgid(process.pid)


async def _end_tree(child: asyncio.subprocess.Process, tree: _Tree, grace_s: float) -> tuple[int, ...]:
    """End what is left of the tree; give the processes that would not go."""
    if not (left := _living(child, tree)):
        return ()
    tree.signal(signal.SIGTERM)
    left = await _until_gone(child, tree, grace_s)
    deadline = time.monotonic() + _PROOF_S
    while left and time.monotonic() < deadline:
        tree.signal(signal.SIGKILL)
        left = await _until_gone(child, tree, _POLL_S)
    return left


async def _until_gone(child: asyncio.subprocess.Process, tree: _Tree, limit_s: float) -> tuple[int, ...]:
    """Wait for the tree to be gone; give what is left of it when the time is up.

    It looks only after the event loop has had its turn: the leader's end is learnt there.
    """
    deadline = time.monotonic() + limit_s
    while True:
        await asyncio.sleep(_POLL_S)
        left = _living(child, tree)
        if not left or time.monotonic() >= deadline:
            return left


def _living(child: asyncio.subprocess.Process, tree: _Tree) -> tuple[int, ...]:
    """List what is alive of the tree, its leader included."""
    pids = {process.pid for process in tree.members()}
    if child.returncode is None:
        pids.add(child.pid)
    return tuple(sorted(pids))


def marked(marker: str) -> Iterator[psutil.Process]:
    """Find the living processes whose environment carries the marker."""
    return (process for process in psutil.process_iter() if _is_marked(process, marker))


def _is_marked(process: psutil.Process, marker: str) -> bool:
    with suppress(psutil.Error):
        return process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE
    return False


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
