"""Child processes: limits, trees that must end, and what is passed."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from otto_core.process import Command, Ending, Exited, NotStarted, Stopped, TimedOut, capture, execute, marked


def command(
    tmp_path: Path, *argv: str, timeout_s: float = 30, grace_s: float = 2, stdin: bytes = b""
) -> Command:
    env = {"PATH": os.environ["PATH"]}
    return Command(argv, tmp_path, env, tmp_path / "log", timeout_s, grace_s, f"test/{tmp_path.name}", stdin)


def run(command: Command, stop: asyncio.Event | None = None) -> Ending:
    return asyncio.run(execute(command, stop or asyncio.Event()))


def gone(pid: int) -> bool:
    """Tell whether a process is no more, or waits only to be reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.mark.parametrize("code", [0, 3], ids=["success", "failure"])
def test_the_exit_code_is_told(tmp_path: Path, code: int) -> None:
    match run(command(tmp_path, "sh", "-c", f"exit {code}")):
        case Exited(code=told):
            assert told == code
        case other:
            pytest.fail(f"ended as {other}")


def test_both_streams_go_to_the_log_and_the_prompt_to_standard_input(tmp_path: Path) -> None:
    run(command(tmp_path, "sh", "-c", "cat; echo oops >&2", stdin=b"do it\n"))
    assert (tmp_path / "log").read_bytes() == b"do it\noops\n"


def test_a_command_that_never_reads_its_large_prompt_ends_well(tmp_path: Path) -> None:
    assert isinstance(run(command(tmp_path, "true", stdin=b"x" * 1_000_000)), Exited)


def test_a_program_that_does_not_exist_is_told_apart_from_one_that_fails(tmp_path: Path) -> None:
    ending = run(command(tmp_path, "no-such-program"))
    assert isinstance(ending, NotStarted)
    assert "no-such-program" in ending.message


def test_only_the_given_environment_and_the_marker_reach_the_command(tmp_path: Path) -> None:
    run(command(tmp_path, *python("import os; print(sorted(set(os.environ) - {'LC_CTYPE', 'PWD'}))")))
    assert (tmp_path / "log").read_text() == "['OTTO_MARKER', 'PATH']\n"


def test_i14_a_command_over_its_time_limit_is_ended_even_if_it_ignores_term(tmp_path: Path) -> None:
    ending = run(command(tmp_path, "sh", "-c", "trap '' TERM; sleep 60", timeout_s=1, grace_s=0.2))
    assert isinstance(ending, TimedOut)
    assert not list(marked(f"test/{tmp_path.name}"))


def test_a_gentle_end_comes_before_a_hard_one(tmp_path: Path) -> None:
    code = "import signal,sys,time\nsignal.signal(15, lambda *_: (print('bye'), sys.exit()))\ntime.sleep(60)"
    assert isinstance(run(command(tmp_path, *python(code), timeout_s=2, grace_s=20)), TimedOut)
    assert (tmp_path / "log").read_text() == "bye\n"


def test_a_process_has_its_whole_grace_and_is_told_once(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n    print('TERM', flush=True); time.sleep(0.7); print('bye', flush=True); sys.exit()\n"
        "signal.signal(15, end)\nprint('up', flush=True)\ntime.sleep(60)"
    )
    assert isinstance(run(command(tmp_path, *python(code), timeout_s=2, grace_s=20)), TimedOut)
    assert (tmp_path / "log").read_text() == "up\nTERM\nbye\n"


SHED = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open('pid', 'w').write(str(os.getpid()))
        os.execve('/bin/sleep', ['sleep', '60'], {})
    os._exit(0)
while not os.path.exists('pid') or not open('pid').read():
    time.sleep(0.01)
time.sleep(0.2)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="orphans are adopted on Linux only")
def test_i13_a_daemon_that_shed_its_environment_does_not_outlive_its_command(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, sys\nfrom pathlib import Path\n"
        "from otto_core.process import Command, become_subreaper, execute\n"
        "become_subreaper()\n"
        "place = Path(sys.argv[1])\n"
        "env = {'PATH': os.environ['PATH']}\n"
        "argv = (sys.executable, '-c', sys.argv[2])\n"
        "command = Command(argv, place, env, place / 'log', 30, 1, 'test/shed')\n"
        "print(asyncio.run(execute(command, asyncio.Event())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), SHED], capture_output=True, text=True, check=False
    )
    assert "Exited(code=0" in done.stdout, done.stderr
    assert gone(int((tmp_path / "pid").read_text()))


def test_the_stop_signal_of_the_driver_ends_the_command(tmp_path: Path) -> None:
    async def scenario() -> Ending:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        return await execute(command(tmp_path, "sleep", "60"), stop)

    assert isinstance(asyncio.run(scenario()), Stopped)


DETACHED = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {ignore}
        open('pid', 'w').write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
while not os.path.exists('pid') or not open('pid').read():
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "ignore", ["pass", "import signal; signal.signal(15, signal.SIG_IGN)"], ids=["gentle", "deaf to TERM"]
)
def test_i13_a_daemon_in_a_session_of_its_own_does_not_outlive_its_command(
    tmp_path: Path, ignore: str
) -> None:
    assert isinstance(run(command(tmp_path, *python(DETACHED.format(ignore=ignore)), grace_s=0.3)), Exited)
    assert gone(int((tmp_path / "pid").read_text()))


def test_r_s4_a_process_without_the_marker_is_left_alone(tmp_path: Path) -> None:
    bystander = psutil.Popen(["sleep", "60"], env={"OTTO_MARKER": "test/another"})
    try:
        run(command(tmp_path, "sh", "-c", "sleep 60 & exit 0"))
        assert bystander.is_running()
        assert bystander.status() != psutil.STATUS_ZOMBIE
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait()


def test_a_short_program_that_hangs_is_killed_and_said(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not end within"):
        capture(["sleep", "60"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path, timeout_s=0.2)


def test_a_background_child_that_holds_the_log_open_does_not_hold_up_the_end(tmp_path: Path) -> None:
    ending = run(command(tmp_path, "sh", "-c", "sleep 50 & exit 0", timeout_s=40))
    assert isinstance(ending, Exited), "the time limit fired instead"
    assert not list(marked(f"test/{tmp_path.name}"))


ADOPTER = """
import os, sys, time
from otto_core.process import become_subreaper
assert become_subreaper()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        time.sleep(1)
    os._exit(0)
os.wait()
print(os.waitpid(-1, 0)[0] > 0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="subreapers are a thing of Linux")
def test_orphans_of_descendants_become_the_drivers_children() -> None:
    done = subprocess.run([sys.executable, "-c", ADOPTER], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
