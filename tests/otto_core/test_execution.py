"""Executions: how they end, their limits, what they are given and what is kept of what they print."""

import asyncio
import errno
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from otto_core.execution import (
    _CENSUS_S,
    Ending,
    Exited,
    NotStarted,
    Overgrown,
    Stopped,
    TimedOut,
    execute,
)
from otto_core.stop import Stop
from tests.otto_core.executions import Compose, living, python, run
from tests.otto_core.limits import limits_fire_at
from tests.waiting import until


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
        "import os, signal, sys, time\n"  # os.write: a print may be interrupted by its like, and refuse it
        "signal.signal(15, lambda *_: (os.write(1, b'bye\\n'), sys.exit()))\n"
        "os.write(1, b'up\\n')\ntime.sleep(60)"
    )
    assert isinstance(run(command(*python(code), timeout_s=600, grace_s=60)), TimedOut)
    assert (tmp_path / "log").read_text() == "up\nbye\n"


@pytest.mark.usefixtures("limited")
def test_a_process_has_its_whole_grace_and_is_told_once(command: Compose, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "def end(*_):\n    os.write(1, b'TERM\\n'); time.sleep(0.7); os.write(1, b'bye\\n'); sys.exit()\n"
        "signal.signal(15, end)\nos.write(1, b'up\\n')\ntime.sleep(60)"
    )
    assert isinstance(run(command(*python(code), timeout_s=600, grace_s=60)), TimedOut)
    assert (tmp_path / "log").read_text() == "up\nTERM\nbye\n"


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


def test_a_background_child_that_holds_the_log_open_does_not_hold_up_the_end(
    command: Compose, tmp_path: Path
) -> None:
    ending = run(command("sh", "-c", "sleep 50 & exit 0", timeout_s=40))
    assert isinstance(ending, Exited), "the time limit fired instead"
    assert not living(tmp_path)


def test_i14_a_command_that_forks_without_end_is_ended_and_the_limit_named(
    command: Compose, tmp_path: Path
) -> None:
    ending = run(replace(command("sh", "-c", "while :; do sleep 60 & done", grace_s=1), max_processes=50))
    assert isinstance(ending, Overgrown)
    assert ending.limit == 50
    assert not living(tmp_path)


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
