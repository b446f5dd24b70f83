"""Ctrl-C, SIGTERM and SIGHUP, once and twice, sent to real builds at different times of their life."""

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from otto_core import events as ev
from otto_core import kernel
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome, TaskStatus
from otto_core.process import MARKER
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.cli.test_approve import Terminal
from tests.otto_core.cli.test_main import PROGRAM, SOURCES
from tests.otto_core.cli.test_main import program as otto
from tests.otto_core.runs import feature, fingerprint, write_plan, writes
from tests.otto_core.sandboxes import NAMESPACE
from tests.waiting import PATIENCE_S, until

DEAF = "trap 'echo termed' TERM; echo half > mine.txt; echo up; while :; do sleep 1; done"
"""An agent that goes on when it is asked to end."""

NUMBERS = pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)


def said_in(logs: Path, which: str, word: str) -> bool:
    """Tell whether a word is in a log."""
    return any(word in log.read_text().split() for log in logs.glob(which))


class Build:
    """An `otto build` of one task, `mine`, whose agent is a script, in a process of its own."""

    def __init__(self, repo: Path, script: str, *, options: Sequence[str] = (), before: str = "") -> None:
        plan = write_plan(repo, feature("mine", script))
        argv = [*PROGRAM, "build", "--plan", str(plan), *options]
        self.repo, self.log = repo, b""
        self.child = subprocess.Popen(
            ["sh", "-c", f'{before} exec "$@"', "sh", *argv],
            cwd=repo,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
        )

    def reaches(self, word: str) -> None:
        """Wait until the agent has printed a word."""
        logs = self.repo / ".git/otto/logs"
        until(partial(said_in, logs, "*/mine.1.log", word))

    def end(self) -> tuple[int, str]:
        """Wait for the end; give the exit code and what was said on standard error."""
        _, err = self.child.communicate(timeout=PATIENCE_S)
        return self.child.returncode, err.decode()


Start = Callable[..., Build]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Give a repository whose runs would wait a day for an agent that was asked to end."""
    return make_repo(tmp_path, {"otto.yaml": "defaults: {grace: 24h}\n"})


@pytest.fixture(params=["subreaper", pytest.param("bwrap", marks=NAMESPACE)])
def build(repo: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Give a function that starts a build, in each of the ways to hold a process tree."""
    monkeypatch.setenv("OTTO_SANDBOX", request.param)
    started: list[Build] = []

    def start(script: str, **more: object) -> Build:
        started.append(Build(repo, script, **more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for one in started:
        one.child.kill()
        one.child.communicate()
        if (repo / ".git/otto" / STORE).exists():
            for pid in marked(run_in(repo)):
                os.kill(pid, signal.SIGKILL)


def run_in(repo: Path) -> Run:
    """Give the one run of a repository as the journal has it now."""
    with contextlib.closing(Journal.open(repo / ".git/otto" / STORE)) as journal:
        (run,) = (journal.load(name) for name in journal.run_ids())
        return run


def marked(run: Run) -> list[int]:
    """List the living processes that carry the marker of any of a run's executions."""
    start = os.fsencode(f"{MARKER}={run.id}/")
    found = [pid for pid in psutil.pids() if any(e.startswith(start) for e in kernel.entries_of(pid))]
    return [pid for pid in found if kernel.is_running(pid)]


def assert_paused_and_safe(repo: Path) -> None:
    """Make sure that a run is paused, what its attempt wrote is kept, and none of its processes lives."""
    run = run_in(repo)
    assert run.outcome is Outcome.INTERRUPTED
    assert run.tasks["mine"].status is TaskStatus.PENDING
    end = run.tasks["mine"].attempts[0].end
    assert isinstance(end, ev.AttemptInterrupted)
    assert git(repo, "show", f"{end.snapshot}:mine.txt") == "half", "I7"
    assert marked(run) == [], "I13"


@NUMBERS
def test_i7_i13_a_signal_during_an_attempt_pauses_the_run_with_exit_130(
    build: Start, repo: Path, number: signal.Signals
) -> None:
    building = build("echo half > mine.txt; echo up; exec sleep 3600")
    building.reaches("up")
    building.child.send_signal(number)
    code, said = building.end()
    assert code == 130
    assert "warning: interrupted: what executes is asked to end; interrupt again to end it at once" in said
    assert_paused_and_safe(repo)


@NUMBERS
def test_i7_i13_a_second_signal_ends_an_agent_that_will_not_end_without_its_grace(
    build: Start, repo: Path, number: signal.Signals
) -> None:
    building = build(DEAF)
    building.reaches("up")
    building.child.send_signal(number)
    building.reaches("termed")
    assert building.child.poll() is None
    building.child.send_signal(number)
    code, said = building.end()
    assert code == 130
    assert said.count("warning: interrupted") == 1
    assert_paused_and_safe(repo)


def test_i7_i13_sigterm_after_control_c_is_the_second_signal(build: Start, repo: Path) -> None:
    building = build(DEAF, options=["--json"])
    building.reaches("up")
    building.child.send_signal(signal.SIGINT)
    building.reaches("termed")
    building.child.send_signal(signal.SIGTERM)
    out, _ = building.child.communicate(timeout=PATIENCE_S)
    assert (building.child.returncode, json.loads(out)["outcome"]) == (130, "interrupted")
    assert_paused_and_safe(repo)


def test_i7_i13_a_second_signal_ends_a_filter_of_git_that_hangs(
    tmp_path: Path, hermetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git runs it to convert what the attempt left; what was written is kept by the next resume."""
    monkeypatch.setenv("OTTO_SANDBOX", "subreaper")
    repo = make_repo(tmp_path, {".gitattributes": "*.txt filter=slow\n"})
    hangs = tmp_path / "hangs"
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\ncat\ntest -e {hangs} || {{ echo $$ > {hangs}; sleep 3600; }}\n")
    slow.chmod(0o700)
    with (hermetic / ".gitconfig").open("a") as config:
        config.write(f'[filter "slow"]\n\tclean = {slow}\n')
    building = Build(repo, "echo half > mine.txt; echo up")
    until(lambda: hangs.exists() and hangs.read_text().endswith("\n"))
    building.child.send_signal(signal.SIGTERM)
    building.child.send_signal(signal.SIGHUP)  # another one: the kernel puts two of a kind together
    code, said = building.end()
    until(lambda: not kernel.is_running(int(hangs.read_text())))
    assert code == 4, said
    assert "see what it waited for, such as a filter; then otto resume" in said
    with otto("resume", at=repo) as resumed:
        resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0
    assert git(repo, "show", "otto/test:mine.txt") == "half"


def test_a_second_signal_ends_a_check_without_its_grace(repo: Path) -> None:
    plan = write_plan(repo, writes("one"), verify={"each": [DEAF], "baseline": False})
    argv = [*PROGRAM, "build", "--plan", str(plan)]
    env = {**os.environ, "PYTHONPATH": str(SOURCES)}
    with subprocess.Popen(argv, cwd=repo, env=env, stderr=subprocess.PIPE) as child:
        logs = repo / ".git/otto/logs"
        for word in ("up", "termed"):
            until(partial(said_in, logs, "*/one.1.each*", word))
            child.send_signal(signal.SIGTERM)
        child.communicate(timeout=PATIENCE_S)
    run = run_in(repo)
    assert (child.returncode, run.outcome) == (130, Outcome.INTERRUPTED)
    assert run.tasks["one"].status is TaskStatus.PRODUCED
    assert marked(run) == [], "I13"


@NUMBERS
def test_i9_a_run_that_was_interrupted_goes_on_and_can_be_interrupted_again(
    build: Start, repo: Path, number: signal.Signals
) -> None:
    script = 'echo half > mine.txt; echo up; test "$OTTO_ATTEMPT" = 3 || exec sleep 3600'
    building = build(script)
    building.reaches("up")
    building.child.send_signal(number)
    assert building.end()[0] == 130
    with otto("resume", at=repo) as again:
        until(partial(said_in, repo / ".git/otto/logs", "*/mine.2.log", "up"))
        again.send_signal(number)
        again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 130
    assert_paused_and_safe(repo)
    with otto("resume", at=repo) as last:
        last.communicate(timeout=PATIENCE_S)
    assert (last.returncode, run_in(repo).outcome) == (0, Outcome.LANDED)


STUCK = """#!/bin/sh
case "$*" in *read-tree*) test -e {place}/go || {{ echo $$ > {place}/stuck; exec sleep 3600; }};; esac
exec {git} "$@"
"""
"""A git that never comes back from a checkout."""


def heeds(child: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal (proc(5), `SigCgt`)."""
    status = Path(f"/proc/{child.pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) & 1 << (number - 1))


@NUMBERS
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell of handlers")
def test_a_third_signal_ends_otto_where_it_waits_for_what_does_not_end_and_it_can_be_resumed(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    shim = tmp_path / "shim/git"
    shim.parent.mkdir()
    shim.write_text(STUCK.format(place=tmp_path, git=shutil.which("git")))
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    stuck = tmp_path / "stuck"
    building = Build(repo, "echo half > mine.txt")
    try:
        until(lambda: stuck.exists() and bool(stuck.read_text()))
        building.child.send_signal(number)
        assert building.child.stderr is not None
        while b"warning: interrupted" not in building.child.stderr.readline():
            assert building.child.poll() is None
        building.child.send_signal(number)
        until(lambda: not heeds(building.child, number))
        assert building.child.poll() is None
        building.child.send_signal(number)
        assert building.end()[0] == -number
    finally:
        building.child.kill()
        os.kill(int(stuck.read_text()), signal.SIGKILL)
    (tmp_path / "go").touch()
    with otto("resume", at=repo) as again:
        again.communicate(timeout=PATIENCE_S)
    assert (again.returncode, run_in(repo).outcome) == (0, Outcome.LANDED)


@NUMBERS
def test_a_signal_before_the_run_is_exit_130_with_the_usual_words_and_writes_nothing(
    repo: Path, number: signal.Signals
) -> None:
    write_plan(repo, writes("mine"))
    before = fingerprint(repo)
    terminal = Terminal(repo, "--json")
    terminal.asked()
    # A signal between the last look for signals and the reading of the answer is only seen after it.
    until(lambda: psutil.Process(terminal.child.pid).status() == psutil.STATUS_SLEEPING)
    terminal.child.send_signal(number)
    out, err = terminal.child.communicate(timeout=PATIENCE_S)
    assert terminal.child.returncode == 130
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert b"error: interrupted\nhint: what is journalled is safe: otto status\n" in err
    assert fingerprint(repo) == before


@NUMBERS
def test_a_signal_that_is_ignored_from_the_start_does_not_end_a_build(
    build: Start, repo: Path, number: signal.Signals
) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap - {name}; echo up; until test -e go; do sleep 0.1; done; rm go; echo done > mine.txt"
    building = build(script, before=f"trap '' {name};")
    building.reaches("up")
    building.child.send_signal(number)
    (worktree,) = Path(os.environ["XDG_CACHE_HOME"]).glob("otto/worktrees/*/slot-*/")
    (worktree / "go").touch()
    code, said = building.end()
    assert code == 0, said
    assert run_in(repo).outcome is Outcome.LANDED


@pytest.mark.parametrize("kind", ["dumb", "xterm"], ids=["lines", "redrawn"])
def test_i7_i13_a_terminal_that_is_closed_pauses_the_run_with_exit_130_and_is_no_bug(
    repo: Path, kind: str
) -> None:
    plan = write_plan(repo, feature("mine", "echo half > mine.txt; echo up; exec sleep 3600"))
    screen, follower = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(
        [*PROGRAM, "build", "--plan", str(plan)],
        cwd=repo,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "TERM": kind},
        preexec_fn=take_terminal,  # noqa: PLW1509 -- no thread of this test holds a lock
    )
    os.close(follower)
    os.set_blocking(screen, False)

    def is_up() -> bool:
        with contextlib.suppress(BlockingIOError):  # what nobody reads is full in a few seconds, and stops it
            os.read(screen, 1 << 16)
        return said_in(repo / ".git/otto/logs", "*/mine.1.log", "up")

    until(is_up)
    os.close(screen)
    assert child.wait(PATIENCE_S) == 130
    assert not (repo / ".git/otto/reports").exists()
    assert_paused_and_safe(repo)
