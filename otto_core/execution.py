"""One execution: a command from its start to the proof that nothing of it is left.

A command is the leader of a session of its own, with a marker in its environment. When it ends, or must end,
its whole tree does: TERM, a grace period, KILL, and then proof. What the tree is depends on the machine
(`otto_core.process_tree`): where `cage` is a bubblewrap command line, it is a namespace.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from errno import EIO
from functools import partial
from pathlib import Path

from otto_core import kernel
from otto_core.children import Child, ended, strangers
from otto_core.model import is_sent
from otto_core.process import MARKER, spawn
from otto_core.process_tree import POLL_S, Namespace, Swept, Tree, end_unheld, readable
from otto_core.redaction import Redactor
from otto_core.refusals import is_of_the_machine
from otto_core.stop import Stop

_PROOF_S = 10.0
_CENSUS_S = 0.5
"""How often the processes of an execution are counted."""

_SHUTDOWN_S = 1.0
"""How long Otto waits for the signal that has reached what it executes to reach Otto too."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute. Times in seconds; `log` receives both output streams, less the `secrets`.

    `cage` is put before `argv` where the command runs in a namespace of its own.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    timeout_s: float
    grace_s: float
    marker: str
    stdin: bytes = b""
    cage: tuple[str, ...] = ()
    max_processes: int = 1000
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values that must not reach the log, by the names that stand there instead."""


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
class Overgrown:
    """The command had more than `limit` processes at once, and its tree was ended."""

    limit: int
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
class Unconfined:
    """The sandbox could not be made, or the program is not there in it: the command did not begin."""

    message: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Survived:
    """Processes of the tree could not be ended: nothing may be concluded from the worktree."""

    pids: tuple[int, ...]
    duration_s: float


Ending = Exited | TimedOut | Overgrown | Stopped | NotStarted | Unconfined | Survived

_live: set[str] = set()
"""Markers of the executions under way in this process."""

_owns_orphans = False


def claim_orphans() -> None:
    """Say that this process is Otto's own: what descends from it is its, or an execution's.

    Then what an execution left and nothing tells whose it is (it shed its environment, or may not be looked
    at) is ended as soon as nothing executes. A host of this library may have children of other kinds, so
    only a program that is all Otto's says so.

    It is not so for the first process of a container, which adopts everybody's orphans, nor for one that has
    children from before: a shell may have left them to it.
    """
    global _owns_orphans  # noqa: PLW0603 -- a property of the process, like being a subreaper
    _owns_orphans = os.getpid() != 1 and not kernel.descendants(os.getpid())


async def execute(command: Command, stop: Stop) -> Ending:
    """Run a command to its end, a limit, or until `stop` is set; leave no process of it behind.

    A stop `at_once` takes what is left of the grace period.

    Raises:
        OSError: the machine refused what Otto itself needs for it, such as room for a log.

    """
    kernel.become_subreaper()
    _live.add(command.marker)
    try:
        return await _execute(command, stop)
    finally:
        _live.discard(command.marker)
        if _owns_orphans and not _live:
            await _end_orphans()


async def _execute(command: Command, stop: Stop) -> Ending:
    started = time.monotonic()
    try:
        async with _log_of(command) as output:
            child, tree = await _start(command, output)
            try:
                why = await _first_end(child, tree, command, stop)
                if why == "exit" and await _is_shut_down(child.returncode, stop):
                    why = "stop"
                survivors = await _end(child, tree, command.grace_s, stop)
                began = bool(survivors) or tree.began()
            except BaseException:
                tree.kill()
                child.wait()
                raise
            finally:
                ended(child)
                tree.close()
    except (OSError, ValueError) as error:
        cut_off = isinstance(error, OSError) and (error.errno, error.filename) == (EIO, command.argv[0])
        if is_of_the_machine(error) and not cut_off:  # the system says so of a program file that is not whole
            raise
        fault = error.strerror if isinstance(error, OSError) else error
        return NotStarted(f"cannot execute {command.argv[0]!r}: {fault}")
    duration_s = time.monotonic() - started
    if survivors:
        return Survived(survivors, duration_s)
    match why:
        case "limit":
            return TimedOut(duration_s)
        case "overgrown":
            return Overgrown(command.max_processes, duration_s)
        case "stop":
            return Stopped(duration_s)
        case _ if not began and child.returncode >= 0:  # below, a signal ended bubblewrap, at any time
            said = f"bubblewrap ended with {child.returncode}, and why is in the log"
            return Unconfined(f"cannot execute {command.argv[0]!r} in the sandbox: {said}", duration_s)
        case _:
            return Exited(child.returncode, duration_s)


async def _end_orphans() -> None:
    """End what descends from this process and is neither its own child nor any execution's."""
    deadline, refused = time.monotonic() + _PROOF_S, set[int]()
    while time.monotonic() < deadline and not _live:
        found = strangers(lambda own: kernel.descendants(os.getpid(), beside=own))
        if not (left := [pid for pid in found if pid not in refused]):
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except PermissionError:  # another user's by now: not to be ended, and not to be waited for
                refused.add(pid)
            except ProcessLookupError:
                continue
            kernel.reap(pid)
        await asyncio.sleep(POLL_S)


async def _start(command: Command, output: int) -> tuple[Child, Tree]:
    """Start the command, with its standard input in a file: nobody has to feed it."""
    place = command.cwd.resolve()  # now: the command may put something else there
    env = {**command.env, MARKER: command.marker}
    if command.cage:
        _require_program(command)
    with tempfile.TemporaryFile() as stdin:
        stdin.write(command.stdin)
        stdin.seek(0)
        if not command.cage:
            child = await _spawned(spawn(command.argv, cwd=command.cwd, env=env, stdin=stdin, output=output))
            return child, Swept(child.pid, command.marker, place)
        told, tell = os.pipe()
        try:
            argv = (command.cage[0], "--json-status-fd", str(tell), *command.cage[1:], *command.argv)
            spawning = spawn(argv, cwd=command.cwd, env=env, stdin=stdin, output=output, keep=(tell,))
            child = await _spawned(spawning)
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
        try:
            return child, await asyncio.to_thread(Namespace.of, child.pid, told)
        except BaseException:  # nobody would watch it
            made = end_unheld(child.pid)
            child.wait()
            ended(child)
            for pid in made:
                kernel.reap(pid)
            os.close(told)
            raise


async def _spawned(spawning: "Future[Child]") -> Child:
    """Wait for a child. Where that is cancelled, the child is ended as soon as it is there."""
    try:
        return await asyncio.shield(asyncio.wrap_future(spawning))
    except asyncio.CancelledError:
        spawning.add_done_callback(_end_unwatched)
        raise


def _end_unwatched(spawning: "Future[Child]") -> None:
    if spawning.cancelled() or spawning.exception() is not None:
        return
    child = spawning.result()
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    ended(child)


def _require_program(command: Command) -> None:
    """Tell a missing program from one that fails: in a namespace both end with exit code 1.

    Raises:
        FileNotFoundError: there is no such program.

    """
    name = command.argv[0]
    beside = command.cwd / name if "/" in name else name
    if shutil.which(beside, path=command.env.get("PATH", os.defpath)) is None:
        raise FileNotFoundError(2, os.strerror(2), name)


@asynccontextmanager
async def _log_of(command: Command) -> AsyncIterator[int]:
    """Open the log for both streams; secrets are taken out on the way where there are any."""
    log = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if not command.secrets:
            yield log
            return
        redactor = Redactor(command.secrets, partial(_write, log))
        loop = asyncio.get_running_loop()
        source, sink = os.pipe()
        os.set_blocking(source, False)
        loop.add_reader(source, _pass_on, source, redactor)
        try:
            yield sink
        finally:
            os.close(sink)
            loop.remove_reader(source)
            while _pass_on(source, redactor):
                pass
            redactor.close()
            os.close(source)
    finally:
        os.close(log)


def _pass_on(source: int, redactor: Redactor) -> bool:
    """Hand what has been printed to the redactor; False where there is nothing for now, or no more."""
    with suppress(BlockingIOError):
        data = os.read(source, 1 << 16)
        redactor.feed(data)
        return bool(data)
    return False


def _write(log: int, data: bytes) -> None:
    with suppress(OSError):  # a full disk costs the rest of a log, not the attempt
        while data:
            data = data[os.write(log, data) :]


# --- waiting


async def _first_end(child: Child, tree: Tree, command: Command, stop: Stop) -> str:
    exited = asyncio.create_task(_exit_of(child))
    stopped = asyncio.create_task(stop.wait())
    deadline = time.monotonic() + command.timeout_s
    try:
        while True:
            left_s = deadline - time.monotonic()
            await asyncio.wait(
                {exited, stopped},
                timeout=max(0.0, min(left_s, _CENSUS_S)),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if exited.done():
                exited.result()
                return "exit"
            if stopped.done():
                return "stop"
            if left_s <= _CENSUS_S:  # Otto itself may have been stopped, and see both only now
                return "limit" if child.poll() is None else "exit"
            if len(tree.members()) > command.max_processes:
                return "overgrown"
    finally:
        exited.cancel()
        stopped.cancel()


async def _is_shut_down(code: int, stop: Stop) -> bool:
    """Tell whether what has just ended was ended with Otto: then its exit code says nothing of its work.

    A shutdown signals them all, in any order.
    """
    if is_sent(code):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _SHUTDOWN_S)
    return stop.is_set()


async def _exit_of(child: Child) -> None:
    """Wait for the leader's end: by a pidfd, or by a thread where the system has none, or none left."""
    try:
        pidfd = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        await asyncio.to_thread(child.wait)
        return
    try:
        await readable(pidfd, None)
        child.wait()
    finally:
        os.close(pidfd)


# --- ending


async def _end(child: Child, tree: Tree, grace_s: float, stop: Stop) -> tuple[int, ...]:
    """End what is left of the tree; give the processes that would not go."""
    if child.poll() is not None and await tree.is_gone(POLL_S):
        return ()
    tree.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while not (gone := await _is_gone(child, tree, POLL_S)) and time.monotonic() < deadline:
        if stop.at_once.is_set():
            break
    deadline, late = time.monotonic() + _PROOF_S, False
    while not gone and not late:
        late = time.monotonic() >= deadline  # the last look comes after it: Otto itself may be stopped
        tree.signal(signal.SIGKILL)
        gone = await _is_gone(child, tree, POLL_S)
    return () if gone else (tree.members() or (child.pid,))


async def _is_gone(child: Child, tree: Tree, limit_s: float) -> bool:
    if child.poll() is None:
        await asyncio.sleep(limit_s)
    return child.poll() is not None and await tree.is_gone(limit_s)
