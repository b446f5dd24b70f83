"""`otto logs -f` and `otto log -f`: what goes on is shown as it does, to its end and no longer."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otto_core.cli.logs import Screen
from otto_core.model import ReasonKind
from otto_core.runlock import hold
from tests.builders import RunBuilder, make_repo, reason, task
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.cli.test_main import program

Child = subprocess.Popen[bytes]


@pytest.fixture
def built(tmp_path: Path) -> RunBuilder:
    """Give a run of `a`, then `b`, of which `a` has just begun."""
    built = RunBuilder(make_repo(tmp_path), task("a"), task("b", after=["a"]))
    built.start("a", log=b"first\n")
    return built


@pytest.fixture
def driven(built: RunBuilder) -> Iterator[RunBuilder]:
    """Hold the lock of the run, as its driver does."""
    with hold(built.store, built.run.id):
        yield built


def place(built: RunBuilder, log: str = "a.1.log") -> Path:
    return built.store / "logs" / built.run.id / log


def add(built: RunBuilder, data: bytes) -> None:
    with place(built).open("ab") as file:
        file.write(data)


def read_until(child: Child, words: bytes) -> bytes:
    """Read what a child prints until some words have come."""
    assert child.stdout is not None
    got = b""
    while words not in got:
        piece = os.read(child.stdout.fileno(), 1 << 16)
        assert piece, f"it ended after {got!r}"
        got += piece
    return got


def test_r_w1_a_log_is_followed_until_its_attempt_ends(driven: RunBuilder) -> None:
    with program("logs", "a", "-f", at=driven.repo) as child:
        got = read_until(child, b"first\n")
        add(driven, b"second")
        got += read_until(child, b"second")
        add(driven, b" and last \x1b[31m\xff\n")
        driven.produce("a")
        out, err = child.communicate()
    assert got + out == b"first\nsecond and last \x1b[31m\xff\n", "piped, it is as it is"
    assert (child.returncode, err) == (0, b"attempt 1 of a has ended: produced\n")


def test_a_log_that_does_not_exist_yet_or_is_replaced_is_followed(driven: RunBuilder) -> None:
    place(driven).unlink()
    with program("logs", "a", "-f", at=driven.repo) as child:
        add(driven, b"new\n")
        got = read_until(child, b"new\n")
        place(driven).unlink()
        add(driven, b"newer\n")
        got += read_until(child, b"newer\n")
        driven.fail("a")
        out, err = child.communicate()
    assert got + out == b"new\nnewer\n"
    assert err == b"attempt 1 of a has ended: failed\n"


def test_an_attempt_that_has_not_begun_is_waited_for(driven: RunBuilder) -> None:
    with program("logs", "b", "-f", at=driven.repo) as child:
        driven.produce("a")
        driven.land("a")
        driven.start("b", log=b"of b\n")
        got = read_until(child, b"of b\n")
        driven.produce("b")
        out, err = child.communicate()
    assert (got + out, err) == (b"of b\n", b"attempt 1 of b has ended: produced\n")


def test_following_a_task_that_never_begins_ends_with_it(driven: RunBuilder) -> None:
    with program("logs", "b", "-f", at=driven.repo) as child:
        driven.fail("a")
        driven.settle("a")
        driven.settle("b", reason(ReasonKind.DEPENDENCY_FAILED, "'a' did not land"))
        out, err = child.communicate()
    assert (child.returncode, out, err) == (0, b"", b"b did not begin: the task is failed\n")


def test_following_ends_when_the_driver_is_killed(built: RunBuilder) -> None:
    code = (
        "import sys, time; from pathlib import Path; from otto_core.runlock import hold\n"
        f"with hold(Path({str(built.store)!r}), {built.run.id!r}): print('held', flush=True); time.sleep(600)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=_env())
    with driver:
        read_until(driver, b"held")
        with (
            program("logs", "a", "-f", at=built.repo) as logs,
            program("log", "-f", at=built.repo) as log,
        ):
            read_until(logs, b"first\n")
            read_until(log, b"attempt 1 of 3 starts")
            driver.kill()
            driver.wait()
            _, of_logs = logs.communicate()
            _, of_log = log.communicate()
    assert (logs.returncode, log.returncode) == (0, 0)
    assert of_logs == f"attempt 1 of a is not followed any more: nobody drives {built.run.id}\n".encode()
    assert f"warning: nobody drives {built.run.id} any more".encode() in of_log


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def test_what_is_over_is_printed_and_not_waited_for(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    assert otto("logs", "coupons", "-f").stdout_bytes == otto("logs", "coupons").stdout_bytes
    result = otto("log", "-f")
    assert (result.stdout, result.stderr) == (otto("log").stdout, "")


@pytest.mark.parametrize("args", [("-f",), ("a", "-f", "--check"), ("a", "-f", "--attempt", "0")])
def test_what_cannot_be_followed_is_a_usage_error(
    built: RunBuilder, otto: Otto, args: tuple[str, ...]
) -> None:
    result = otto("logs", *args, at=built.repo)
    assert result.exit_code == 2
    assert "hint:" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("args", [("logs", "a", "-f"), ("log", "-f"), ("log", "-f", "--json")])
def test_control_c_and_what_counts_like_it_end_following_with_130(
    driven: RunBuilder, args: tuple[str, ...], number: signal.Signals
) -> None:
    with program(*args, at=driven.repo) as child:
        read_until(child, b"\n")
        child.send_signal(number)
        _, err = child.communicate()
    assert child.returncode == 130
    assert b"interrupted" in err


@pytest.mark.parametrize("args", [("logs", "a", "-f"), ("log", "-f")])
def test_a_reader_who_leaves_ends_following(driven: RunBuilder, args: tuple[str, ...]) -> None:
    with program(*args, at=driven.repo) as child:
        read_until(child, b"\n")
        assert child.stdout is not None
        child.stdout.close()
        add(driven, b"more\n")
        driven.fail("a", then="retry")
        child.wait()
        assert child.stderr is not None
        err = child.stderr.read()
    assert (child.returncode, err) == (128 + signal.SIGPIPE, b"")


def test_the_journal_is_followed_to_the_end_of_the_run(driven: RunBuilder) -> None:
    with program("log", "-f", "--json", at=driven.repo) as child:
        got = read_until(child, b"attempt_started")
        driven.produce("a")
        got += read_until(child, b"attempt_produced")
        driven.land("a")
        driven.do("b")
        driven.finish()
        out, err = child.communicate()
    rows = [json.loads(line) for line in (got + out).splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, driven.run.seq + 1))
    assert rows[-1]["type"] == "run_finished"
    assert (child.returncode, err) == (0, b"")


def test_on_a_terminal_what_is_followed_cannot_act_on_it(driven: RunBuilder) -> None:
    leader, follower = pty.openpty()
    with program("logs", "a", "-f", at=driven.repo, stdout=follower) as child:
        os.close(follower)
        add(driven, b"\x1b]0;title\x07 \x1b[31mred\x1b[0m caf\xc3\xa9 \xff\n")
        driven.produce("a")
        shown = b""
        while b"\\xff" not in shown:
            shown += os.read(leader, 1 << 16)
        child.communicate()
    os.close(leader)
    assert shown.replace(b"\r\n", b"\n").startswith(b"first\n\\x1b]0;title\\x07 red caf\xc3\xa9 \\xff")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Show pieces on what takes itself for a terminal; gives what came of it."""
    monkeypatch.setattr("otto_core.cli.output.on_terminal", lambda: True)

    def show(*pieces: bytes) -> str:
        screen = Screen()
        for piece in pieces:
            screen.show(piece)
        screen.close()
        return capsys.readouterr().out

    return show


def test_a_character_colour_or_line_end_that_is_cut_in_two_is_whole_again(shown: Callable[..., str]) -> None:
    assert shown(b"caf\xc3", b"\xa9 \x1b", b"[3", b"1mred\x1b[0m\r", b"\nnext") == "café red\nnext"
    assert shown(b"end \x1b[3") == "end \\x1b[3"
    assert shown(b"end \xc3") == "end \\xc3"


def test_an_endless_colour_is_not_held_back(shown: Callable[..., str]) -> None:
    assert shown(b"\x1b[" + b"1" * 100) == "\\x1b[" + "1" * 100
