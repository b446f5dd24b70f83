"""What is left of an execution's processes: nothing. And nobody else is ended."""

import asyncio
import errno
import inspect
import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from otto_core import execution, kernel
from otto_core.children import Child
from otto_core.execution import (
    Command,
    Exited,
    Overgrown,
    execute,
)
from otto_core.leftovers import end_marked
from otto_core.process import MARKER, spawn
from otto_core.process_tree import Tree
from otto_core.stop import Stop
from tests.otto_core.executions import Compose, living, python, run
from tests.waiting import until


def family() -> set[int]:
    """List what descends from this process: also what earlier tests left and it adopted, or may yet."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def zombies() -> set[int]:
    """List the children of this process that wait to be reaped."""
    children = psutil.Process().children()
    return {child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE}


@pytest.fixture
def length() -> str:
    """Give a time to sleep, in seconds, that no other test of any process uses."""
    return f"61.{uuid4().int}"


def sleeping(seconds: str) -> list[int]:
    """List the living `sleep` processes of a length."""
    return [process.pid for process in psutil.process_iter() if _line(process) == ["sleep", seconds]]


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


MAKES = """#!/bin/sh
setsid sleep {length} &
echo "{{\\"child-pid\\": $!}}" > /proc/self/fd/$2
wait
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces are a thing of Linux")
def test_i13_what_a_bubblewrap_made_that_cannot_be_held_does_not_outlive_it(
    tmp_path: Path, length: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is let go by bubblewrap, it is not ended with it: a shell stands for both here."""

    def refused(_: int) -> int:
        until(lambda: bool(sleeping(length)))
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    program = tmp_path / "bwrap"
    program.write_text(MAKES.format(length=length))
    program.chmod(0o755)
    monkeypatch.setattr(os, "pidfd_open", refused)
    env = {"PATH": os.environ["PATH"]}
    command = Command(
        ("true",), tmp_path, env, tmp_path / "log", 60, 2, f"test/{tmp_path}", cage=(str(program),)
    )
    with pytest.raises(OSError, match="Too many open files"):
        run(command)
    until(lambda: not sleeping(length))


SHED = """
import os, sys
told, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve('/bin/sleep', ['sleep', sys.argv[1]], {})
    os._exit(0)
os.close(tell)
os.read(told, 1)  # the other end is closed by the execve(2) that sheds the environment
"""


def test_i13_a_daemon_that_shed_its_environment_does_not_outlive_its_command(
    command: Compose, length: str
) -> None:
    assert isinstance(run(command(*python(SHED, length), grace_s=0.3)), Exited)
    assert not sleeping(length)


DETACHED = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {ignore}
        open('up', 'w').write('up')
        time.sleep(60)
    os._exit(0)
while not os.path.exists('up') or not open('up').read():
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "ignore", ["pass", "import signal; signal.signal(15, signal.SIG_IGN)"], ids=["gentle", "deaf to TERM"]
)
def test_i13_a_daemon_in_a_session_of_its_own_does_not_outlive_its_command(
    command: Compose, tmp_path: Path, ignore: str
) -> None:
    assert isinstance(run(command(*python(DETACHED.format(ignore=ignore)), grace_s=0.3)), Exited)
    assert not living(tmp_path)


ELSEWHERE = """
import os, time
told, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.chdir('/')
    os.write(tell, b'x')
    time.sleep(600)
os.read(told, 1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells in /proc")
def test_i13_a_daemon_elsewhere_that_is_in_the_midst_of_execve_does_not_outlive_its_command(
    command: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment it shows no environment; that moment is held here for the first few looks."""
    looks: list[int] = []
    entry = os.fsencode(f"{MARKER}=test/{tmp_path}")
    entries_of, is_starting = kernel.entries_of, kernel.is_starting

    def entries(pid: int) -> list[bytes]:
        found = entries_of(pid)
        looks.extend([pid] if entry in found else [])
        return [] if 0 < looks.count(pid) < 5 else found

    monkeypatch.setattr(kernel, "entries_of", entries)
    monkeypatch.setattr(kernel, "is_starting", lambda pid: 0 < looks.count(pid) < 5 or is_starting(pid))
    assert isinstance(run(command(*python(ELSEWHERE), grace_s=0.3)), Exited)
    assert not living(tmp_path)


HEADLESS = """
import ctypes, os, threading, time
child = os.fork()
if child == 0:
    os.setsid()
    os.chdir('/')
    threading.Thread(target=time.sleep, args=(600,)).start()
    ctypes.CDLL(None).pthread_exit(None)
while open(f'/proc/{child}/stat').read().rpartition(')')[2].split()[0] != 'Z':
    time.sleep(0.01)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel tells of threads on Linux only")
def test_i13_a_process_whose_first_thread_has_ended_does_not_outlive_its_command(command: Compose) -> None:
    composed = command(*python(HEADLESS), grace_s=0.3)
    assert isinstance(run(composed), Exited)
    entry = os.fsencode(f"{MARKER}={composed.marker}")
    assert not [pid for pid in psutil.pids() if entry in kernel.entries_of(pid)]


def test_r_s4_a_process_without_the_marker_is_left_alone(command: Compose) -> None:
    bystander = psutil.Popen(["sleep", "60"], env={"OTTO_MARKER": "test/another"})
    try:
        run(command("sh", "-c", "sleep 60 & exit 0"))
        assert bystander.is_running()
        assert bystander.status() != psutil.STATUS_ZOMBIE
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait()


ADOPTER = """
import os, sys, time
from otto_core.kernel import become_subreaper
assert become_subreaper()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        time.sleep(0.1)
    os._exit(0)
os.wait()
print(os.waitpid(-1, 0)[0] > 0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="subreapers are a thing of Linux")
def test_orphans_of_descendants_become_the_drivers_children() -> None:
    done = subprocess.run([sys.executable, "-c", ADOPTER], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_i13_no_zombie_of_an_execution_stays(command: Compose) -> None:
    before = family()
    run(command("sh", "-c", "(sleep 0.1 &); (setsid sleep 60 &); sleep 60 & exit 0", grace_s=0.3))
    assert zombies() <= before


CHAIN = """
import os, sys, time
for depth in range(300):
    if os.fork():
        os.wait()
        os._exit(0)
open('up', 'w').write('up')
time.sleep(60)
"""


def test_i13_a_chain_of_processes_deeper_than_pythons_stack_is_ended(
    command: Compose, tmp_path: Path
) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        composed = replace(command(*python(CHAIN), timeout_s=120, grace_s=0.2), max_processes=250)
        assert isinstance(run(composed), Overgrown)
    finally:
        sys.setrecursionlimit(limit)
    assert not living(tmp_path)


ORPHANS = """
import asyncio, os, sys
from pathlib import Path
from otto_core.execution import Command, claim_orphans, execute
from otto_core.stop import Stop
claim_orphans()
place = Path(sys.argv[1])
shed = f"os.chdir('/'); os.setsid(); os.execve('/bin/sleep', ['sleep', '{sys.argv[2]}'], {{}})"
await_execve = "os.close(tell); os.read(told, 1)"
code = f"import os; told, tell = os.pipe(); os.fork() or exec({shed!r}); {await_execve}"
argv = (sys.executable, '-c', code)
command = Command(argv, place, dict(os.environ), place / 'log', 60, 1, 'test/orphans')
print(asyncio.run(execute(command, Stop())))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="orphans are adopted on Linux only")
def test_i13_an_orphan_that_nothing_tells_apart_is_ended_when_nothing_executes(
    tmp_path: Path, length: str
) -> None:
    argv = [sys.executable, "-c", ORPHANS, str(tmp_path), length]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Exited(code=0" in done.stdout, done.stderr
    assert not sleeping(length)


INHERITED = """
import asyncio, os, sys
from pathlib import Path
from otto_core.execution import Command, claim_orphans, execute
from otto_core.stop import Stop
claim_orphans()
place = Path(sys.argv[1])
command = Command(('true',), place, dict(os.environ), place / 'log', 60, 1, 'test/inherited')
print(asyncio.run(execute(command, Stop())))
"""


def test_r_s4_children_that_a_program_inherits_are_left_alone(tmp_path: Path, length: str) -> None:
    script = f'sleep {length} >&- 2>&- & echo $! > {tmp_path}/pid; exec {sys.executable} -c "$0" {tmp_path}'
    done = subprocess.run(["sh", "-c", script, INHERITED], capture_output=True, text=True, check=False)
    try:
        assert "Exited(code=0" in done.stdout, done.stderr
        until(lambda: bool(sleeping(length)))
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_an_execution_that_is_cancelled_leaves_nothing_behind(
    command: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        watched, first_end = asyncio.Event(), execution._first_end

        async def watch(child: Child, tree: Tree, command: Command, stop: Stop) -> str:
            watched.set()
            return await first_end(child, tree, command, stop)

        monkeypatch.setattr(execution, "_first_end", watch)
        running = asyncio.create_task(execute(command("sh", "-c", "echo > up; sleep 60"), Stop()))
        await asyncio.to_thread(until, (tmp_path / "up").exists)
        await watched.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    until(lambda: not living(tmp_path))


KILLED = """
import asyncio, os, sys
from pathlib import Path
from otto_core.execution import Command, execute
from otto_core.stop import Stop
place = Path(sys.argv[1])
argv = ('sh', '-c', f'setsid sleep {sys.argv[3]} & sleep {sys.argv[3]}')
command = Command(argv, place, dict(os.environ), place / 'log', 60, 1, sys.argv[2], cage=tuple(sys.argv[4:]))
asyncio.run(execute(command, Stop()))
"""


def test_i13_what_a_killed_driver_left_is_gone_or_can_be_ended(
    command: Compose, tmp_path: Path, length: str
) -> None:
    composed = command("true")
    argv = [sys.executable, "-c", KILLED, str(tmp_path), composed.marker, length, *composed.cage]
    with subprocess.Popen(argv) as driver:
        until(lambda: len(sleeping(length)) == 2)
        driver.kill()
    if not composed.cage:
        assert end_marked({composed.marker}) == ()
    until(lambda: not sleeping(length))


def test_i13_an_execution_that_is_cancelled_while_it_is_spawned_leaves_nothing_behind(
    command: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        told: Future[Child] = Future()
        spawned: list[Future[Child]] = []

        def late(*args: object, **more: object) -> Future[Child]:
            spawned.append(spawn(*args, **more))  # type: ignore[arg-type]
            return told

        monkeypatch.setattr(execution, "spawn", late)
        running = asyncio.create_task(execute(command("sh", "-c", "echo > up; sleep 20"), Stop()))
        await asyncio.to_thread(until, (tmp_path / "up").exists)
        running.cancel()
        await asyncio.sleep(0)
        if not told.cancelled():
            told.set_result(spawned[0].result())
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    until(lambda: not living(tmp_path))
