"""Executions: limits, trees that must end, and what is passed, swept and in a namespace."""

import asyncio
import errno
import inspect
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from otto_core import execution, kernel
from otto_core.children import Child
from otto_core.execution import (
    _CENSUS_S,
    Command,
    Ending,
    Exited,
    NotStarted,
    Overgrown,
    Stopped,
    TimedOut,
    execute,
)
from otto_core.leftovers import end_marked
from otto_core.process import MARKER, spawn
from otto_core.process_tree import Tree
from otto_core.sandbox import Unusable, Usable, View, probe
from otto_core.stop import Stop
from tests.otto_core.limits import limits_fire_at
from tests.otto_core.sandboxes import NAMESPACE
from tests.waiting import until

Compose = Callable[..., Command]
"""Composes a command that runs in the test's directory."""


@pytest.fixture(params=["swept", pytest.param("namespace", marks=NAMESPACE)])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Compose:
    """Give commands in each of the ways to hold a process tree."""
    cage: tuple[str, ...] = ()
    if request.param == "namespace":
        match probe():
            case Usable(program):
                view = View(program, None, frozenset(), frozenset())
                cage = view.cage(work=tmp_path, writable=(), home=tmp_path)
            case Unusable(why):
                pytest.fail(why)

    def compose(*argv: str, timeout_s: float = 30, grace_s: float = 2, stdin: bytes = b"") -> Command:
        env = {"PATH": os.environ["PATH"]}
        log, marker = tmp_path / "log", f"test/{tmp_path}"
        return Command(argv, tmp_path, env, log, timeout_s, grace_s, marker, stdin, cage)

    return compose


def run(command: Command, stop: Stop | None = None) -> Ending:
    return asyncio.run(execute(command, stop or Stop()))


def test_a_machine_that_refuses_a_log_is_not_taken_for_a_command_that_cannot_be_executed(
    command: Compose,
) -> None:
    async def with_no_file_left() -> None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
        try:
            await execute(command("true"), Stop())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)

    with pytest.raises(OSError, match="Too many open files"):
        asyncio.run(with_no_file_left())


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


def python(code: str, *args: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *args)


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time limit fire as soon as the command has printed `up`."""
    log = tmp_path / "log"
    limits_fire_at(monkeypatch, lambda: log.exists() and b"up" in log.read_bytes())


@pytest.mark.parametrize("code", [0, 3], ids=["success", "failure"])
def test_the_exit_code_is_told(command: Compose, code: int) -> None:
    match run(command("sh", "-c", f"exit {code}")):
        case Exited(code=told):
            assert told == code
        case other:
            pytest.fail(f"ended as {other}")


def test_both_streams_go_to_the_log_and_the_prompt_to_standard_input(
    command: Compose, tmp_path: Path
) -> None:
    run(command("sh", "-c", "cat; echo oops >&2", stdin=b"do it\n"))
    assert (tmp_path / "log").read_bytes() == b"do it\noops\n"


def test_a_command_that_never_reads_its_large_prompt_ends_well(command: Compose) -> None:
    assert isinstance(run(command("true", stdin=b"x" * 1_000_000)), Exited)


def test_a_program_that_does_not_exist_is_told_apart_from_one_that_fails(command: Compose) -> None:
    ending = run(command("no-such-program"))
    assert isinstance(ending, NotStarted)
    assert "no-such-program" in ending.message


def test_a_program_file_that_is_cut_off_is_no_fault_of_the_machine(command: Compose, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path(os.path.realpath(shutil.which("true") or "")).read_bytes()[:800])
    program.chmod(0o755)
    ending = run(command("./program"))
    assert not (isinstance(ending, Exited) and ending.code == 0)


def test_where_no_file_is_left_to_watch_a_command_by_it_is_not_blamed(
    command: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refused)
    composed = command("sh", "-c", "sleep 0.1; exit 3")
    if composed.cage:  # a namespace is watched by nothing else
        with pytest.raises(OSError, match="Too many open files"):
            run(composed)
    else:
        assert isinstance(ending := run(composed), Exited)
        assert ending.code == 3


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


def test_only_the_given_environment_and_the_marker_reach_the_command(
    command: Compose, tmp_path: Path
) -> None:
    run(command(*python("import os; print(sorted(set(os.environ) - {'LC_CTYPE', 'PWD'}))")))
    assert (tmp_path / "log").read_text() == "['OTTO_MARKER', 'PATH']\n"


@pytest.mark.usefixtures("limited")
def test_i14_a_command_over_its_time_limit_is_ended_even_if_it_ignores_term(
    command: Compose, tmp_path: Path
) -> None:
    ending = run(command("sh", "-c", "trap '' TERM; echo up; sleep 60", timeout_s=600, grace_s=0.2))
    assert isinstance(ending, TimedOut)
    assert not living(tmp_path)


@pytest.mark.usefixtures("limited")
def test_a_gentle_end_comes_before_a_hard_one(command: Compose, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\nsignal.signal(15, lambda *_: (print('bye'), sys.exit()))\n"
        "print('up', flush=True)\ntime.sleep(60)"
    )
    assert isinstance(run(command(*python(code), timeout_s=600, grace_s=60)), TimedOut)
    assert (tmp_path / "log").read_text() == "up\nbye\n"


@pytest.mark.usefixtures("limited")
def test_a_process_has_its_whole_grace_and_is_told_once(command: Compose, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n    print('TERM', flush=True); time.sleep(0.7); print('bye', flush=True); sys.exit()\n"
        "signal.signal(15, end)\nprint('up', flush=True)\ntime.sleep(60)"
    )
    assert isinstance(run(command(*python(code), timeout_s=600, grace_s=60)), TimedOut)
    assert (tmp_path / "log").read_text() == "up\nTERM\nbye\n"


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


def test_the_stop_signal_of_the_driver_ends_the_command(command: Compose) -> None:
    async def scenario() -> Ending:
        stop = Stop()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        return await execute(command("sleep", "60"), stop)

    assert isinstance(asyncio.run(scenario()), Stopped)


@pytest.mark.parametrize("ends", [Stopped, TimedOut], ids=["while it executes", "after a time limit"])
def test_a_stop_at_once_takes_what_is_left_of_the_grace(
    command: Compose, tmp_path: Path, request: pytest.FixtureRequest, ends: type[Ending]
) -> None:
    if ends is TimedOut:
        request.getfixturevalue("limited")
    script = "trap 'echo term' TERM; echo up; while :; do sleep 1; done"

    async def scenario() -> Ending:
        stop = Stop()
        composed = command("sh", "-c", script, timeout_s=600, grace_s=86_400)
        running = asyncio.create_task(execute(composed, stop))
        await asyncio.to_thread(until, lambda: log.exists() and b"up" in log.read_bytes())
        if ends is Stopped:
            stop.ask()
        await asyncio.to_thread(until, lambda: b"term" in log.read_bytes())
        assert living(tmp_path), "asked once, it is left its grace"
        stop.ask()
        stop.ask()
        return await running

    log = tmp_path / "log"
    assert isinstance(asyncio.run(scenario()), ends)
    assert not living(tmp_path)


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


def test_a_background_child_that_holds_the_log_open_does_not_hold_up_the_end(
    command: Compose, tmp_path: Path
) -> None:
    ending = run(command("sh", "-c", "sleep 50 & exit 0", timeout_s=40))
    assert isinstance(ending, Exited), "the time limit fired instead"
    assert not living(tmp_path)


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


def test_i14_a_command_that_forks_without_end_is_ended_and_the_limit_named(
    command: Compose, tmp_path: Path
) -> None:
    ending = run(replace(command("sh", "-c", "while :; do sleep 60 & done", grace_s=1), max_processes=50))
    assert isinstance(ending, Overgrown)
    assert ending.limit == 50
    assert not living(tmp_path)


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


def test_known_secrets_do_not_reach_the_log(command: Compose, tmp_path: Path) -> None:
    script = "printf 'key s3cr'; sleep 0.2; echo 3t-value.; head -c 300000 /dev/zero; echo s3cr3t-value"
    run(replace(command("sh", "-c", script), secrets={"s3cr3t-value": "API_KEY"}))
    log = (tmp_path / "log").read_bytes()
    assert log.startswith(b"key [redacted API_KEY].\n")
    assert log.endswith(b"[redacted API_KEY]\n")
    assert len(log) == 300_000 + len(b"key [redacted API_KEY].\n") + len(b"[redacted API_KEY]\n")


def test_a_log_can_be_read_by_its_owner_only(command: Compose, tmp_path: Path) -> None:
    run(command("true"))
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


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


def test_r_s8_a_command_that_neither_prints_nor_works_is_left_alone_while_no_limit_fires(
    command: Compose,
) -> None:
    """It idles for several looks at its tree, and nobody takes it for dead."""
    match run(command("sleep", "1.6")):
        case Exited(code=code, duration_s=duration_s):
            assert code == 0
            assert duration_s > 3 * _CENSUS_S
        case other:
            pytest.fail(f"ended as {other}")


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
