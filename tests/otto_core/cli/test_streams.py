"""Standard streams that are closed, full or left by their reader: the program with real descriptors."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otto_core.journal import Journal
from otto_core.model import Outcome
from tests.builders import make_repo
from tests.otto_core.cli.test_main import PROGRAM, SOURCES
from tests.otto_core.runs import feature, write_plan


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path)


def shell(redirected: str, *args: str, at: Path) -> "subprocess.CompletedProcess[bytes]":
    """Run the real program as a shell does with these redirections."""
    env = {**os.environ, "PYTHONPATH": str(SOURCES)}
    command = ["sh", "-c", f'exec "$@" {redirected}', "sh", *args]
    return subprocess.run(command, cwd=at, env=env, capture_output=True, check=False)


def build(repo: Path, redirected: str, *options: str) -> "subprocess.CompletedProcess[bytes]":
    plan = write_plan(repo, feature("one", "echo told; echo 1 > one.txt"))
    return shell(redirected, *PROGRAM, "build", "--plan", str(plan), *options, at=repo)


def landed_and_no_bug(repo: Path) -> bool:
    with Journal.open(repo / ".git/otto/otto.db") as journal:
        [run] = [journal.load(name) for name in journal.run_ids()]
    return run.outcome is Outcome.LANDED and not (repo / ".git/otto/reports").exists()


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["words", "json"])
@pytest.mark.parametrize(
    ("redirected", "why"),
    [
        pytest.param(">&-", b"Bad file descriptor", id="closed"),
        pytest.param(">/dev/full", b"No space left on device", id="full"),
        pytest.param(">&- <&-", b"Bad file descriptor", id="closed, and no input"),
    ],
)
def test_an_answer_that_cannot_be_written_is_exit_4_after_the_run_has_landed(
    repo: Path, redirected: str, why: bytes, options: list[str]
) -> None:
    done = build(repo, redirected, *options)
    assert (done.returncode, done.stdout) == (4, b"")
    *_, told, hint = done.stderr.splitlines()
    assert told == b"error: standard output cannot be written: " + why
    assert hint.startswith(b"hint: what was done is done")
    assert landed_and_no_bug(repo)


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_a_standard_error_that_takes_nothing_changes_nothing(repo: Path, redirected: str) -> None:
    done = build(repo, redirected)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b": landed, 1 of 1 task landed" in done.stdout
    assert landed_and_no_bug(repo)


@pytest.mark.parametrize("redirected", [">&- 2>&- <&-", ">/dev/full 2>/dev/full"])
def test_with_no_stream_at_all_a_run_is_driven_to_its_end(repo: Path, redirected: str) -> None:
    assert build(repo, redirected).returncode == 4
    assert landed_and_no_bug(repo)


def test_a_failure_is_told_where_only_its_document_cannot_be_written(tmp_path: Path) -> None:
    done = shell(">/dev/full", *PROGRAM, "status", "--json", at=tmp_path)
    assert done.returncode == 4
    first, *more = done.stderr.splitlines()
    assert first.endswith(b" is not in a Git repository")
    assert b"error: standard output cannot be written: No space left on device" in more


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["build", "--help"]], ids=" ".join)
def test_help_and_version_on_a_full_output_are_no_bug(tmp_path: Path, args: list[str]) -> None:
    done = shell(">/dev/full", *PROGRAM, *args, at=tmp_path)
    assert done.returncode == 4
    assert done.stderr.startswith(b"error: standard output cannot be written: ")


def test_an_answer_larger_than_any_buffer_is_no_bug_either(repo: Path) -> None:
    plan = write_plan(repo, feature("one", "yes | head -c 300000; echo 1 > one.txt"))
    assert shell("", *PROGRAM, "build", "--plan", str(plan), at=repo).returncode == 0
    done = shell(">/dev/full", *PROGRAM, "logs", "one", at=repo)
    assert done.returncode == 4
    assert done.stderr.startswith(b"error: standard output cannot be written: No space left on device")


def test_a_reader_of_standard_error_who_leaves_changes_nothing(repo: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    plan = write_plan(repo, feature("one", "echo 1 > one.txt"))
    env = {**os.environ, "PYTHONPATH": str(SOURCES)}
    command = [*PROGRAM, "build", "--plan", str(plan)]
    done = subprocess.run(command, cwd=repo, env=env, stdout=subprocess.PIPE, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == 0
    assert b": landed, 1 of 1 task landed" in done.stdout
    assert landed_and_no_bug(repo)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_would_not_wait_for_its_reader_is_waited_for(name: str) -> None:
    """What somebody else made non-blocking (fcntl(2), O_NONBLOCK) is so for all who have it open."""
    reader, writer = os.pipe()
    room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    os.write(writer, b"x" * room)
    code = f"import sys; from otto_core.cli import streams; streams.set_up(); sys.{name}.write('x' * 300000)"
    env = {**os.environ, "PYTHONPATH": str(SOURCES)}
    out, err = (writer if name == one else None for one in ("stdout", "stderr"))
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=out, stderr=err) as child:
        os.close(writer)
        with os.fdopen(reader, "rb") as read:
            assert len(read.read()) == room + 300_000
    assert child.returncode == 0


def test_no_file_gets_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os; from otto_core.cli import streams; streams.set_up(); open('found', 'w').write("
        " ' '.join(os.readlink(f'/proc/self/fd/{n}') for n in range(3)))"
    )
    done = shell(">&- 2>&- <&-", sys.executable, "-c", code, at=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "found").read_text() == "/dev/null /dev/null /dev/null"
