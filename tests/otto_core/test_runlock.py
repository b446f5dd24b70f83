"""The lock of a run follows the life of its holder."""

import subprocess
import sys
from pathlib import Path

import pytest

from otto_core import runlock
from otto_core.errors import ExitCode, Locked
from otto_core.flock import take
from otto_core.model import Outcome
from otto_core.runlock import as_seen, driver_name, hold, is_driven
from tests.builders import RunBuilder, make_repo, task

HOLD = """
import sys, time
from pathlib import Path
from otto_core.runlock import hold
with hold(Path(sys.argv[1]), 'r-1'):
    print('held', flush=True)
    time.sleep(600)
"""


LEAVE = """
import os, sys
from pathlib import Path
from otto_core.runlock import hold
with hold(Path(sys.argv[1]), 'r-1'):
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    print('held', flush=True)
    os.kill(os.getpid(), 9)
"""


def test_i10_a_second_driver_is_told_who_drives(tmp_path: Path) -> None:
    with hold(tmp_path, "r-1"), pytest.raises(Locked) as refused, hold(tmp_path, "r-1"):
        pass
    assert driver_name() in refused.value.message
    assert refused.value.exit_code is ExitCode.LOCKED


def test_another_run_is_free_and_so_is_a_released_one(tmp_path: Path) -> None:
    with hold(tmp_path, "r-1"):
        assert is_driven(tmp_path, "r-1")
        assert not is_driven(tmp_path, "r-2")
    assert not is_driven(tmp_path, "r-1")


def test_a_driver_that_begins_waits_for_one_who_only_asks_also_if_that_one_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asker is let go once the driver has waited for as long as it would for another driver."""
    with hold(tmp_path, "r-1"):
        pass
    with (tmp_path / "runs/r-1.lock").open("rb") as asker:
        assert take(asker, shared=True)
        monkeypatch.setattr(runlock, "_PATIENCE_S", 0.0)
        monkeypatch.setattr("otto_core.runlock.time.sleep", lambda _: asker.close())
        with hold(tmp_path, "r-1"):
            assert asker.closed


def test_a_driver_that_begins_waits_for_a_child_of_a_dead_one_that_has_yet_to_execute_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it has all that its parent had open, such as the lock; here until its input ends."""
    command, pipe = [sys.executable, "-c", LEAVE, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as dead:
        assert dead.stdout is not None
        assert dead.stdin is not None
        assert dead.stdout.readline() == b"held\n"
        dead.wait()
        assert is_driven(tmp_path, "r-1")
        looks = iter((lambda: None, dead.stdin.close))
        monkeypatch.setattr(runlock, "_PATIENCE_S", 0.0)
        monkeypatch.setattr("otto_core.runlock.time.sleep", lambda _: next(looks, lambda: None)())
        with hold(tmp_path, "r-1"):
            assert dead.stdin.closed


def test_a_lock_that_somebody_else_keeps_for_long_is_not_said_to_be_a_dead_drivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runlock, "_UNDRIVEN_S", 0.0)
    with subprocess.Popen([sys.executable, "-c", LEAVE, str(tmp_path)], stdin=subprocess.PIPE) as dead:
        dead.wait()
        with pytest.raises(Locked, match=r"held by a process that is not .*, which has ended"):
            hold(tmp_path, "r-1").__enter__()


def test_the_kernel_frees_the_lock_of_a_killed_driver(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_driven(tmp_path, "r-1")
        holder.kill()
    assert not is_driven(tmp_path, "r-1")
    with hold(tmp_path, "r-1"):
        pass


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
@pytest.mark.parametrize("file", ["runs/r-1.lock", "locks/r-1.driver"])
def test_i10_a_driver_whose_lock_file_was_deleted_still_drives_alone(
    tmp_path: Path, file: str, *, replaced: bool
) -> None:
    with hold(tmp_path, "r-1"):
        (tmp_path / file).unlink()
        if replaced:
            (tmp_path / file).write_text("")
        assert is_driven(tmp_path, "r-1")
        with pytest.raises(Locked) as refused, hold(tmp_path, "r-1"):
            pass
        assert driver_name() in refused.value.message
    assert not is_driven(tmp_path, "r-1")


def test_where_the_lock_file_was_deleted_a_run_is_seen_as_driven(tmp_path: Path) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    with hold(built.store, built.run.id):
        (built.store / f"runs/{built.run.id}.lock").unlink()
        assert as_seen(built.store, built.run, built.journal.refresh).outcome is Outcome.RUNNING
    assert as_seen(built.store, built.run, built.journal.refresh).outcome is Outcome.INTERRUPTED
