"""Two builds in one repository whose tasks write the same paths: real processes, each policy."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import yaml

from otto_core import events as ev
from otto_core.errors import ExitCode, Locked
from otto_core.journal import STORE, Journal
from otto_core.locks import LockTable, holders
from otto_core.model import Outcome, TaskStatus
from otto_core.state import Run
from tests.builders import make_repo
from tests.otto_core.runs import feature, fingerprint, run_plan
from tests.waiting import PATIENCE_S, until


class Builds:
    """Starts `otto build` in processes of their own; tasks named with `waits` end when `let_go` says so."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self.store = repo / ".git/otto"
        self._running: list[subprocess.Popen[str]] = []
        self._waiting: list[str] = []

    def waits(self, name: str, *owns: str, **more: object) -> dict[str, object]:
        """Describe a task that holds its locks until it is let go."""
        self._waiting.append(name)
        target = f"{owns[0].removesuffix('/**')}/{name}"
        begun, go = self._sign("begun", name), self._sign("go", name)
        wait = f"touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done"
        return feature(name, f"{wait}; mkdir -p $(dirname {target}); echo x > {target}", owns=owns, **more)

    def let_go(self, name: str) -> None:
        self._sign("go", name).touch()

    def _sign(self, what: str, name: str) -> Path:
        return self.repo.parent / f"{what}-{name}"

    def start(
        self, intent: str, *tasks: dict[str, object], options: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        plan = self.repo.parent / f"{intent}.yaml"
        plan.write_text(yaml.safe_dump({"version": 1, "intent": intent, "tasks": list(tasks)}))
        process = subprocess.Popen(
            [sys.executable, "-m", "otto_core.cli.main", "build", "--plan", str(plan), *options],
            cwd=self.repo,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self._running.append(process)
        return process

    def hold(self, intent: str, *tasks: dict[str, object]) -> subprocess.Popen[str]:
        """Start a build and wait until its first task, which waits, holds its locks and executes."""
        process = self.start(intent, *tasks)
        until(self._sign("begun", str(tasks[0]["id"])).exists)
        return process

    def run(self, intent: str) -> Run | None:
        """Give the run of an intent as the journal has it now."""
        if not (self.store / STORE).exists():
            return None
        with Journal.open(self.store / STORE) as journal:
            runs = map(journal.load, journal.run_ids())
            return next((run for run in runs if run.start.intent == intent), None)

    def status(self, intent: str, task: str) -> TaskStatus | None:
        run = self.run(intent)
        return run.tasks[task].status if run else None

    def waiting(self, intent: str) -> bool:
        run = self.run(intent)
        return run is not None and bool(run.contended)

    def close(self) -> None:
        for name in self._waiting:  # what a killed driver leaves behind would wait on for good
            self.let_go(name)
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def builds(tmp_path: Path) -> Iterator[Builds]:
    started = Builds(make_repo(tmp_path))
    yield started
    started.close()


API = feature("api", "mkdir -p src/api; echo x > src/api/a", owns=["src/api/**"])
DOCS = feature("docs", "mkdir -p docs; echo x > docs/a", owns=["docs/**"])


def test_r_g3_a_build_that_another_run_is_in_the_way_of_is_refused_and_writes_nothing(builds: Builds) -> None:
    holder = builds.hold("theirs", builds.waits("slow", "src/**"))
    shared = [f".git/otto/{STORE}-shm"]  # SQLite's, of whoever reads
    before = fingerprint(builds.repo, less=shared)
    refused = builds.start("mine", DOCS, API, options=["--json"])
    out, err = refused.communicate(timeout=PATIENCE_S)
    assert refused.returncode == ExitCode.LOCKED, err
    assert fingerprint(builds.repo, less=shared) == before
    told = json.loads(out)["error"]
    run = builds.run("theirs")
    assert run is not None
    assert told["kind"] == "locked"
    assert f"'slow' of {run.id} ({holder.pid}@" in told["message"]
    assert "is writing src/**, which meets src/api/**" in told["message"]
    builds.let_go("slow")
    assert holder.wait(PATIENCE_S) == 0
    assert holders(builds.store) == ()


def test_builds_that_share_no_path_are_not_in_each_others_way(builds: Builds) -> None:
    holder = builds.hold("theirs", builds.waits("slow", "src/**"))
    assert builds.start("mine", DOCS).wait(PATIENCE_S) == 0
    builds.let_go("slow")
    assert holder.wait(PATIENCE_S) == 0


def test_r_g3_with_wait_the_rest_goes_on_and_the_contended_task_follows(builds: Builds) -> None:
    holder = builds.hold("theirs", builds.waits("slow", "src/**"))
    mine = builds.start("mine", API, DOCS, options=["--wait", "--concurrency=1"])
    until(lambda: builds.status("mine", "docs") is TaskStatus.LANDED)
    assert builds.waiting("mine")
    assert builds.status("mine", "api") is TaskStatus.PENDING
    builds.let_go("slow")
    assert mine.wait(PATIENCE_S) == 0
    assert holder.wait(PATIENCE_S) == 0
    theirs, run = builds.run("theirs"), builds.run("mine")
    assert theirs is not None
    assert run is not None
    with Journal.open(builds.store / STORE) as journal:
        ended = [s.seq for s in journal.events(theirs.id) if isinstance(s.event, ev.AttemptProduced)]
        events = list(journal.events(run.id))
    started = [s.seq for s in events if isinstance(s.event, ev.AttemptStarted) and s.event.task == "api"]
    assert ended[0] < started[0], "G2: the lock is held until the end of the attempt is journalled"
    assert [s.event.task for s in events if isinstance(s.event, ev.LockContended)] == ["api"], "told once"
    assert [s.event.task for s in events if isinstance(s.event, ev.LockFreed)] == ["api"]


def test_r_g3_a_wait_that_runs_out_pauses_the_run_and_leaves_the_task_pending(builds: Builds) -> None:
    builds.hold("theirs", builds.waits("slow", "src/**"))
    mine = builds.start("mine", API, DOCS, options=["--wait=0.3s"])
    out, _ = mine.communicate(timeout=PATIENCE_S)
    assert mine.returncode == ExitCode.LOCKED
    assert "the `--wait` of 0.3s" in out
    run = builds.run("mine")
    assert run is not None
    assert run.outcome is Outcome.WAITING
    assert run.tasks["api"].status is TaskStatus.PENDING
    assert run.tasks["docs"].status is TaskStatus.LANDED


def test_r_g3_contention_that_comes_up_later_ends_in_exit_6_when_nothing_else_can_go_on(
    builds: Builds,
) -> None:
    later = builds.waits("first", "docs/**")
    mine = builds.hold("mine", later, {**API, "depends_on": ["first"]})
    builds.hold("theirs", builds.waits("slow", "src/**"))
    builds.let_go("first")
    out, _ = mine.communicate(timeout=PATIENCE_S)
    assert mine.returncode == ExitCode.LOCKED, out
    run, theirs = builds.run("mine"), builds.run("theirs")
    assert run is not None
    assert theirs is not None
    assert [task.status for task in run.tasks.values()] == [TaskStatus.LANDED, TaskStatus.PENDING]
    assert run.paused is not None
    assert f"'slow' of {theirs.id}" in run.paused.message
    assert f"otto status {theirs.id}" in out


def test_r_g2_the_locks_of_a_killed_driver_are_free_at_once(builds: Builds) -> None:
    holder = builds.hold("theirs", builds.waits("slow", "src/**"))
    mine = builds.start("mine", API, options=["--wait"])
    until(lambda: builds.waiting("mine"))
    holder.kill()
    holder.communicate()
    builds.let_go("slow")  # what it left behind ends, too
    assert mine.wait(PATIENCE_S) == 0


def test_an_interrupt_ends_the_wait_for_a_lock(builds: Builds) -> None:
    builds.hold("theirs", builds.waits("slow", "src/**"))
    mine = builds.start("mine", API, options=["--wait"])
    until(lambda: builds.waiting("mine"))
    mine.send_signal(signal.SIGINT)
    assert mine.wait(PATIENCE_S) == ExitCode.INTERRUPTED
    assert builds.status("mine", "api") is TaskStatus.PENDING


def test_r_g6_without_locks_a_run_goes_on_beside_others_and_says_so_everywhere(builds: Builds) -> None:
    builds.hold("theirs", builds.waits("slow", "src/**"))
    mine = builds.start("mine", builds.waits("api", "src/api/**"), options=["--no-locks", "--json"])
    until(lambda: builds.status("mine", "api") is TaskStatus.RUNNING)
    assert [holder.task for holder in holders(builds.store)] == ["slow"], "G6: only what is really held"
    builds.let_go("api")
    out, err = mine.communicate(timeout=PATIENCE_S)
    assert mine.returncode == 0
    assert json.loads(out)["locks"] == "unlocked"
    assert "locks unlocked" in err
    run = builds.run("mine")
    assert run is not None
    assert run.start.settings.locks == "unlocked"


@pytest.mark.parametrize(
    ("command", "ends"),
    [
        ("echo x > mine.txt", ev.AttemptProduced),
        ("exit 3", ev.AttemptFailed),
        ("echo x > other.txt", ev.AttemptFailed),
        ("sleep 60", ev.AttemptFailed),
        ("true", ev.AttemptUnchanged),
    ],
    ids=["success", "failure", "refused by the write gate", "time limit", "no change"],
)
def test_r_g2_locks_are_held_from_before_the_start_until_the_end_is_journalled(
    tmp_path: Path, command: str, ends: type[ev.AttemptEnd]
) -> None:
    repo = make_repo(tmp_path)
    held: list[tuple[type[ev.Event], list[str]]] = []

    def look(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.AttemptStarted | ev.AttemptEnd):
            held.append((type(event), [holder.task for holder in holders(repo / ".git/otto")]))

    may_be_empty = ends is ev.AttemptUnchanged
    mine = feature(
        "mine",
        command,
        max_attempts=1,
        timeout="1s" if "sleep" in command else "60s",
        allow_empty=may_be_empty,
    )
    run_plan(repo, mine, observe=look)
    assert held == [(ev.AttemptStarted, ["mine"]), (ends, ["mine"])]
    assert holders(repo / ".git/otto") == ()


GUARDIAN = """
import sys, time
import portalocker
with portalocker.Lock(sys.argv[1], mode="a+", timeout=60):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_table_that_is_in_use_for_long_pauses_the_run_and_keeps_what_landed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path)
    guard = repo / ".git/otto/locks/guard"
    monkeypatch.setattr("otto_core.build.LockTable", partial(LockTable, patience_s=0.1))
    seen: list[Run] = []
    with ExitStack() as stack:

        def look(event: ev.Event, run: Run) -> None:
            seen.append(run)
            if isinstance(event, ev.AttemptStarted):
                argv = [sys.executable, "-c", GUARDIAN, str(guard)]
                guardian = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE))
                stack.callback(guardian.kill)
                assert guardian.stdout is not None
                assert guardian.stdout.readline() == b"held\n"
                guardian.send_signal(signal.SIGSTOP)

        with pytest.raises(Locked, match="the lock table"):
            run_plan(
                repo,
                feature("one", "echo x > one.txt"),
                feature("two", "echo x > two.txt", depends_on=["one"]),
                observe=look,
            )
    assert seen[-1].outcome is Outcome.WAITING
    assert [task.status for task in seen[-1].tasks.values()] == [TaskStatus.LANDED, TaskStatus.PENDING]


def test_a_run_says_in_the_journal_that_it_locks_and_does_not_wait(tmp_path: Path) -> None:
    settings = run_plan(make_repo(tmp_path), feature("one", "echo x > one.txt")).start.settings
    assert (settings.locks, settings.lock_wait_s) == ("held", 0)
