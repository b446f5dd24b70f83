"""Blocks of ports: no two holders share one, in this process or any other."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from otto_core import ports
from otto_core.errors import RepositoryUnusable
from otto_core.ports import reserve
from tests.builders import make_repo
from tests.otto_core.runs import content, feature, run_plan, writes

HOLDER = """
import sys
from otto_core import ports
from otto_core.ports import reserve
if sys.argv[2:]:
    ports._is_free = lambda _: True
with reserve(int(sys.argv[1])) as first:
    print(first, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody listen on a port: what else this machine does must not tell which block is the first."""
    monkeypatch.setattr(ports, "_is_free", lambda _: True)


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a block of 25 ports."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, "25", *({"alone"} & set(request.fixturenames))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        yield process
        process.kill()


def first_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_r_s7_two_processes_never_get_the_same_ports(elsewhere: subprocess.Popen[str]) -> None:
    theirs = first_of(elsewhere)
    taken = set(range(theirs, theirs + 25))
    with ExitStack() as held:
        for _ in range(5):
            first = held.enter_context(reserve(12))
            assert first is not None
            mine = set(range(first, first + 12))
            assert not mine & taken
            taken |= mine


@pytest.mark.usefixtures("alone")
def test_r_s7_the_ports_of_a_killed_process_are_free_at_once(elsewhere: subprocess.Popen[str]) -> None:
    theirs = first_of(elsewhere)
    elsewhere.kill()
    elsewhere.wait()
    with reserve(25) as again:
        assert again == theirs


@pytest.mark.usefixtures("alone")
def test_ports_are_given_back_and_their_lock_files_stay(hermetic: Path) -> None:
    with reserve(10) as first:
        pass
    with reserve(10) as again:
        assert again == first
    assert (hermetic / ".cache/otto/ports" / f"{first}.lock").exists()


def test_a_block_in_which_somebody_listens_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel chooses the port, as no other program of this machine may take it meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = server.getsockname()[1] - 7
        monkeypatch.setattr(ports, "FIRST", first)
        monkeypatch.setattr(ports, "LAST", first + 9)
        with pytest.raises(RepositoryUnusable, match="no block of 10 free ports"), reserve(10):
            pass
        monkeypatch.setattr(ports, "LAST", first + 999)
        with reserve(10) as other:
            assert other is not None
            assert other >= first + 10


def test_no_ports_are_asked_for_where_none_are_wanted(hermetic: Path) -> None:
    with reserve(0) as first:
        assert first is None
    assert not (hermetic / ".cache/otto/ports").exists()


@pytest.mark.usefixtures("alone")
def test_a_machine_without_free_ports_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "LAST", ports.FIRST + 19)
    with reserve(20), pytest.raises(RepositoryUnusable, match="no block of 10 free ports"), reserve(10):
        pass


def test_r_s7_attempts_that_run_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    meet = (
        f"touch {tmp_path}/$OTTO_TASK; until test -e {tmp_path}/one -a -e {tmp_path}/two; do sleep .01; done"
    )
    run = run_plan(
        repo,
        *(feature(name, f"{meet}; echo $OTTO_PORT_BASE > {name}.txt") for name in ("one", "two")),
        verify={"each": ["test $OTTO_PORT_BASE -ge 20000"]},
    )
    first, second = (int(content(repo, run, f"{name}.txt")) for name in ("one", "two"))
    assert abs(first - second) >= 10


def test_ports_can_be_turned_off(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    (repo / "otto.yaml").write_text("worktrees: {ports: 0}\n")
    run = run_plan(repo, feature("one", "echo ${OTTO_PORT_BASE-none} > one.txt"), writes("two"))
    assert content(repo, run, "one.txt") == "none"
    assert os.environ.get("OTTO_PORT_BASE") is None
