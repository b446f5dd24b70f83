"""The checks of a build: on which tree they run, whom a failure is blamed on, and what follows."""

from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.model import Outcome, ReasonKind, TaskStatus
from tests.builders import git, make_repo
from tests.otto_core.limits import limits_fire_at
from tests.otto_core.runs import content, feature, files, reason_of, run_plan, writes


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"README.md": "Start.\n", "src/app.py": "print('hello')\n"})


def test_a_failing_task_check_is_fed_back_and_passes_on_retry(repo: Path) -> None:
    script = "if grep -q 'not good enough'; then echo good; else echo poor; fi > mine.txt"
    check = "grep -q good mine.txt || { echo not good enough; exit 1; }"
    run = run_plan(repo, feature("mine", script, verify=[check]))
    assert [type(a.end) for a in run.tasks["mine"].attempts] == [ev.AttemptProduced, ev.AttemptProduced]
    assert content(repo, run, "mine.txt") == "good"


def test_a_failing_check_uses_up_the_attempts_and_names_the_command(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "echo x > mine.txt", verify=["exit 7"], max_attempts=2))
    reason = reason_of(run, "mine")
    assert reason.kind is ReasonKind.VERIFY_FAILED
    assert "exited with 7" in reason.message
    assert "exit 7" in reason.message
    assert len(run.tasks["mine"].attempts) == 2


def test_i14_a_check_that_hangs_names_its_limit(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits_fire_at(monkeypatch, tmp_path / "hangs")
    run = run_plan(
        repo,
        feature("mine", "echo x > mine.txt", max_attempts=1),
        verify={"each": [f"! test -f mine.txt || {{ touch {tmp_path}/hangs; sleep 600; }}"], "timeout": "2h"},
    )
    reason = reason_of(run, "mine")
    assert reason.kind is ReasonKind.VERIFY_TIMEOUT
    assert "`verify.timeout` of 2h" in reason.message


def test_checks_have_a_temporary_directory_of_their_own_and_no_prompt(repo: Path) -> None:
    check = 'test -d "$TMPDIR" && test "$TMPDIR" != /tmp && test -z "$OTTO_PROMPT_FILE"'
    run = run_plan(repo, writes("one"), verify={"each": [check], "baseline": False})
    assert run.outcome is Outcome.LANDED


def test_r_m3_checks_see_the_merged_tree_and_nothing_else(repo: Path) -> None:
    check = (
        'test -z "$(git status --porcelain --ignored)" && git ls-files | sort > /dev/null && touch litter.txt'
    )
    run = run_plan(repo, writes("one"), writes("two"), verify={"each": [check, check]})
    assert run.outcome is Outcome.LANDED
    assert "litter.txt" not in files(repo, run)


def test_r_m3_the_second_of_two_tasks_is_checked_with_the_first_merged_in(repo: Path) -> None:
    run = run_plan(
        repo, writes("one"), writes("two"), verify={"each": ["ls one.txt two.txt || test ! -f both"]}
    )
    trees = {v.tree for task in run.tasks.values() for v in task.verdicts}
    assert trees == {git(repo, "rev-parse", f"{task.commit}^{{tree}}") for task in run.tasks.values()}


def test_r_m7_a_failure_already_on_the_base_is_not_blamed_on_a_task(repo: Path) -> None:
    run = run_plan(repo, writes("one"), verify={"each": ["test -f never"]})
    assert run.outcome is Outcome.LANDED


def test_without_a_baseline_a_failure_on_the_base_counts(repo: Path) -> None:
    run = run_plan(
        repo,
        writes("one") | {"max_attempts": 1},
        verify={"each": ["test -f never"], "baseline": False},
    )
    assert run.outcome is Outcome.FAILED


def test_a_check_that_began_to_pass_is_required_from_then_on(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("adds", "echo x > flag.txt", owns=["flag.txt"]),
        feature("removes", "rm flag.txt", owns=["flag.txt"], depends_on=["adds"], max_attempts=1),
        verify={"each": ["test -f flag.txt"]},
    )
    assert run.tasks["adds"].status is TaskStatus.LANDED
    assert reason_of(run, "removes").kind is ReasonKind.VERIFY_FAILED


@pytest.mark.parametrize(
    ("final", "outcome"),
    [
        ("test -f one.txt", Outcome.LANDED),
        ("test ! -f one.txt", Outcome.REGRESSION),
        ("exit 1", Outcome.LANDED),
    ],
    ids=["passes on the result", "passes on the base only", "fails on both"],
)
def test_final_checks_are_judged_against_the_base(repo: Path, final: str, outcome: Outcome) -> None:
    assert run_plan(repo, writes("one"), verify={"final": [final]}).outcome is outcome


def test_without_a_baseline_a_final_check_is_never_run_on_the_base(repo: Path) -> None:
    run = run_plan(repo, writes("one"), verify={"final": ["exit 1"], "baseline": False})
    assert run.outcome is Outcome.REGRESSION
