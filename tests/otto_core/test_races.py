"""Several Ottos at once: one of them drives, none of them breaks what another does."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.decide import decide_on
from otto_core.decisions import retry
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome, TaskStatus
from otto_core.refnames import run_ref
from tests.builders import git, make_repo
from tests.otto_core.runs import feature, run_plan, write_plan

RUNS = 10


def environ() -> dict[str, str]:
    """Give the environment in which a process finds the sources."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@contextmanager
def racers(repo: Path, count: int) -> Iterator[list["subprocess.Popen[str]"]]:
    """Start processes that wait for the name of a run to drive."""
    argv = [sys.executable, "-m", "tests.otto_core.racer"]
    pipe = subprocess.PIPE
    with ExitStack() as started:
        yield [
            started.enter_context(
                subprocess.Popen(argv, cwd=repo, env=environ(), text=True, stdin=pipe, stdout=pipe)
            )
            for _ in range(count)
        ]


def race(contestants: "list[subprocess.Popen[str]]", run: str) -> list[str]:
    """Let them drive a run at the same moment; gives what each came to."""
    for one in contestants:
        assert one.stdin is not None
        one.stdin.write(f"{run}\n")
    for one in contestants:
        assert one.stdin is not None
        one.stdin.flush()
    return [one.stdout.readline().strip() if one.stdout else "" for one in contestants]


@pytest.mark.parametrize("races", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_r_i10_of_two_drivers_that_race_for_a_run_one_drives_and_the_other_is_told(
    tmp_path: Path, races: int
) -> None:
    repo, ledger = make_repo(tmp_path), tmp_path / "ledger"
    run = run_plan(repo, feature("one", f"echo $OTTO_ATTEMPT >> {ledger}; sleep 0.4; exit 1", max_attempts=1))
    seen: Counter[str] = Counter()
    with racers(repo, 2) as contestants:
        for _ in range(races):
            decide_on(GitRepository.discover(repo), run.id, lambda now: retry(now, "one", "ada@workshop"))
            seen.update(race(contestants, run.id))
    assert set(seen) <= {"failed", "locked"}, seen
    assert seen["locked"] > 0, "they never met"
    with Journal.open(GitRepository.discover(repo).store / STORE) as journal:
        events = [stored.event for stored in journal.events(run.id)]
        after = journal.load(run.id)
    assert sum(isinstance(event, ev.RunResumed) for event in events) == races
    assert ledger.read_text().split() == [str(number) for number in range(1, races + 2)], "each once"
    assert after.tasks["one"].status is TaskStatus.FAILED


def test_ten_runs_at_once_in_one_repository_all_land_what_is_theirs(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    builds = []
    for number in range(RUNS):
        names = [f"r{number}-{task}" for task in range(5)]
        plan = write_plan(repo, *(feature(name, f"echo {name} > {name}.txt") for name in names))
        mine = plan.rename(tmp_path / f"plan-{number}.yaml")
        argv = [sys.executable, "-m", "otto_core.cli.main", "build", "--plan", str(mine)]
        quiet, told = subprocess.DEVNULL, subprocess.PIPE
        builds.append(subprocess.Popen(argv, cwd=repo, env=environ(), stdout=quiet, stderr=told))
    ended = [(build.communicate()[1].decode(), build.returncode) for build in builds]
    assert all(code == 0 for _, code in ended), ended
    with Journal.open(GitRepository.discover(repo).store / STORE) as journal:
        runs = [journal.load(name) for name in journal.run_ids()]
        sequence = [stored.seq for run in runs for stored in journal.events(run.id)]
    assert len(runs) == RUNS
    assert len(sequence) == len(set(sequence)), "I11"
    for run in runs:
        assert run.outcome is Outcome.LANDED
        landed = git(repo, "diff", "--name-only", run.start.base, run_ref(run.id, "tip")).split()
        assert sorted(landed) == sorted(f"{name}.txt" for name in run.tasks)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
