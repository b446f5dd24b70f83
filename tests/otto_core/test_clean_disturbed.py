"""`otto clean` killed at any step, beside builds and other cleans, and where a person is quicker."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otto_core.decide import decide_on
from otto_core.decisions import retry
from otto_core.errors import Locked
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome
from otto_core.refnames import run_ref
from otto_core.resume import Limits, resume
from otto_core.runlock import hold_cleaning
from otto_core.state import Run
from otto_core.sweep import Cleaned
from tests.builders import git
from tests.otto_core.cleans import cleaned, kept, pool, refs
from tests.otto_core.held import Otto, newest
from tests.otto_core.runs import feature, run_and_merge, writes


class Killed(BaseException):
    """Stands for the end of the process: nothing of the program comes after it."""


def _leftovers(repo: Path, run: Run) -> list[str]:
    places = [repo / ".git/otto/logs" / run.id, *(pool(run) / name for name in ("slot-0", ".otto/slot-0"))]
    return [*(str(place) for place in places if place.exists()), *refs(repo).splitlines()]


def newest_of(repo: Path, run_id: str) -> Run:
    with Journal.open(repo / ".git/otto" / STORE) as journal:
        return journal.load(run_id)


def test_r_s3_a_clean_that_is_killed_before_any_of_its_steps_is_finished_by_the_next(repo: Path) -> None:
    """Each round kills one step later than the one before, until none is left to kill."""
    rounds = 0
    while True:
        run = run_and_merge(repo, writes(f"task{rounds}"), verify={"each": ["true"]})
        steps: list[str] = []

        def before(step: str, steps: list[str] = steps, last: int = rounds) -> None:
            steps.append(step)
            if len(steps) > last:
                raise Killed

        try:
            cleaned(repo, before=before)
        except Killed:
            assert git(repo, "rev-parse", run.branch) == run.tip
            assert run_and_merge(repo, writes("between")).outcome is Outcome.LANDED, "the pool can be used"
            assert kept(cleaned(repo)) == {}
            assert _leftovers(repo, run) == []
        else:
            break
        rounds += 1
    assert rounds > 8
    assert git(repo, "fsck", "--strict") == ""


def test_r_s3_a_clean_that_is_killed_for_real_is_finished_by_the_next(repo: Path) -> None:
    run = run_and_merge(repo, *(writes(f"task{number}") for number in range(6)))
    program = (
        "import os, pathlib, sys\n"
        "from otto_core.clean import clean\n"
        "from otto_core.sweep import Order\n"
        "from otto_core.git.repository import GitRepository\n"
        "steps = iter(range(int(sys.argv[1])))\n"
        "def before(step):\n"
        "    next(steps, None) is None and os.kill(os.getpid(), 9)\n"
        "clean(GitRepository.discover(pathlib.Path('.')), Order('ada'), before=before)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    codes = []
    for steps in (1, 4, 5, 9, 2, 7, 100):
        argv = [sys.executable, "-c", program, str(steps)]
        codes.append(subprocess.run(argv, cwd=repo, env=env, check=False).returncode)
        assert git(repo, "rev-parse", run.branch) == run.tip
    assert codes[0] == -signal.SIGKILL
    assert codes[-1] == 0
    assert refs(repo) == ""
    assert cleaned(repo) == Cleaned((), ())


def test_two_cleans_at_once_do_not_meet(repo: Path) -> None:
    run_and_merge(repo, writes("one"))
    with hold_cleaning(repo / ".git/otto"), pytest.raises(Locked, match="being cleaned by"):
        cleaned(repo)
    assert cleaned(repo).kept == ()


def test_a_clean_in_another_process_is_told_who_cleans(repo: Path) -> None:
    run_and_merge(repo, writes("one"))
    with hold_cleaning(repo / ".git/otto"):
        done = subprocess.run(
            [sys.executable, "-m", "otto_core.cli.main", "clean"],
            cwd=repo,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert f"being cleaned by {os.getpid()}@" in done.stderr


def test_r_s3_cleaning_beside_builds_loses_nothing_of_them(repo: Path, otto: Otto) -> None:
    """One run holds a slot and has others done beside it, while another process cleans without a pause."""
    held = otto.build(otto.holds("one"))
    script = f"while [ ! -e {repo.parent}/enough ]; do {sys.executable} -m otto_core.cli.main clean; done"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(["sh", "-c", script], cwd=repo, env=env, stdout=subprocess.DEVNULL) as cleaner:
        try:
            runs = [run_and_merge(repo, *(writes(f"{name}{turn}") for name in "abc")) for turn in range(4)]
        finally:
            (repo.parent / "enough").touch()
        assert cleaner.wait() == 0
    assert [run.outcome for run in runs] == [Outcome.LANDED] * 4
    for turn, run in enumerate(runs):
        names = git(repo, "ls-tree", "-r", "--name-only", run.branch).splitlines()
        assert {f"{name}{turn}.txt" for name in "abc"} <= set(names)
    otto.let_go("one")
    assert otto.ended() == 0
    assert newest_of(repo, held.id).outcome is Outcome.LANDED
    assert git(repo, "fsck", "--strict") == ""


def test_a_person_who_retries_at_the_same_moment_goes_first(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), feature("two", "exit 1", max_attempts=1))

    def before(step: str) -> None:
        if step == f"noting that {run.id} is cleaned":
            decide_on(GitRepository.discover(repo), run.id, lambda now: retry(now, "two", "bob@workshop"))

    done = cleaned(repo, before=before)
    assert kept(done) == {run.id: "somebody decided something about it meanwhile"}
    assert newest(repo).cleaned is None
    assert run_ref(run.id, "tip") in refs(repo)
    assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.PARTIAL


def test_a_ref_that_moves_at_the_last_moment_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    ref = run_ref(run.id, "tip")

    def before(step: str) -> None:
        if step == f"removing the refs of {run.id}":
            git(repo, "update-ref", ref, run.start.base)

    assert kept(cleaned(repo, before=before)) == {ref: "somebody moved it meanwhile"}
    assert git(repo, "rev-parse", ref) == run.start.base
