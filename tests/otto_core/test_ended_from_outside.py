"""What somebody else ended: a shutdown that signals Otto and all it started, an out-of-memory killer."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from otto_core.execution import Command, Ending, Exited, Stopped, execute
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.stop import Stop
from tests.otto_core.executions import Compose, composer, living
from tests.otto_core.runs import reason_of, run_plan
from tests.otto_core.sandboxes import NAMESPACE
from tests.waiting import until


def ending(command: Command, happens: Callable[[Stop], None]) -> Ending:
    """Execute a script; once it says that it is up, let something happen in one go."""

    async def scenario() -> Ending:
        stop = Stop()
        running = asyncio.create_task(execute(command, stop))
        await asyncio.to_thread(until, lambda: command.log.exists() and b"up" in command.log.read_bytes())
        happens(stop)
        return await running

    return asyncio.run(scenario())


def signal_all(place: Path, number: signal.Signals) -> None:
    """Send a signal to all that was started in a place."""
    for pid in living(place):
        with suppress(ProcessLookupError):  # with a namespace's first process the rest of it ends
            os.kill(pid, number)


def test_what_traps_a_shutdown_and_ends_well_is_stopped_all_the_same(
    command: Compose, tmp_path: Path
) -> None:
    """Else half of its work would pass for the whole."""

    def shut_down(stop: Stop) -> None:
        signal_all(tmp_path, signal.SIGTERM)
        stop.ask()

    script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done"
    assert isinstance(ending(command("sh", "-c", script), shut_down), Stopped)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_shutdown_signals_before_it_signals_otto_is_stopped(
    command: Compose, tmp_path: Path, number: signal.Signals
) -> None:
    def shut_down(stop: Stop) -> None:
        signal_all(tmp_path, number)
        asyncio.get_running_loop().call_later(0.1, stop.ask)

    assert isinstance(ending(command("sh", "-c", "echo up; sleep 60"), shut_down), Stopped)


@pytest.mark.parametrize("code", [0, 3])
def test_what_ends_by_itself_before_a_stop_has_its_exit_code(
    command: Compose, tmp_path: Path, code: int
) -> None:
    def let_go(_: Stop) -> None:
        (tmp_path / "go").touch()

    script = f"echo up; until test -e go; do sleep 0.01; done; exit {code}"
    ended = ending(command("sh", "-c", script), let_go)
    assert isinstance(ended, Exited)
    assert ended.code == code


@NAMESPACE
def test_a_sandbox_that_is_killed_is_not_one_in_which_nothing_could_be_executed(tmp_path: Path) -> None:
    def kill(_: Stop) -> None:
        (outermost,) = (pid for pid in living(tmp_path) if psutil.Process(pid).ppid() == os.getpid())
        os.kill(outermost, signal.SIGKILL)

    command = composer(tmp_path, in_namespace=True)
    ended = ending(command("sh", "-c", "echo up; sleep 60"), kill)
    assert isinstance(ended, Exited)
    assert ended.code == -signal.SIGKILL


BREAKS = {"id": "breaks", "owns": ["bad.txt"], "run": "echo bad > bad.txt", "max_attempts": 1}


@pytest.mark.parametrize("killed", ["kill -9 $$", "sh -c 'kill -9 $$'"], ids=["itself", "what it ran"])
def test_r_m7_a_check_that_was_killed_on_the_base_excuses_nothing(repo: Path, killed: str) -> None:
    run = run_plan(repo, BREAKS, verify={"each": [f"! test -f bad.txt && {{ {killed}; }}"]})
    assert run.tasks["breaks"].status is TaskStatus.FAILED
    assert reason_of(run, "breaks").kind is ReasonKind.VERIFY_FAILED


def test_r_m7_a_final_check_that_was_killed_on_the_base_excuses_nothing(repo: Path) -> None:
    run = run_plan(repo, BREAKS, verify={"final": ["! test -f bad.txt && kill -9 $$"]})
    assert run.outcome is Outcome.REGRESSION


def killed_once(tmp_path: Path) -> str:
    """Give a command that a signal ends the first time, and that then succeeds."""
    return f"{{ test -e {tmp_path}/killed || {{ touch {tmp_path}/killed; kill -9 $$; }}; }}"


def test_r_m7_a_base_whose_check_was_killed_is_asked_again(repo: Path, tmp_path: Path) -> None:
    check = f"test -f bad.txt || {killed_once(tmp_path)}; exit 1"
    run = run_plan(repo, BREAKS, verify={"each": [check]})
    assert run.outcome is Outcome.LANDED


def test_a_check_of_a_result_that_was_killed_is_run_again(repo: Path, tmp_path: Path) -> None:
    run = run_plan(repo, BREAKS, verify={"each": [killed_once(tmp_path)]})
    assert run.outcome is Outcome.LANDED
    assert [verdict.exit_code for verdict in run.tasks["breaks"].verdicts] == [-signal.SIGKILL, 0]
