"""The verbs that go on with a run, and those of a person's decisions, as their user meets them."""

import json
import os
from pathlib import Path

import pytest

from otto_core.runlock import hold
from tests.builders import git, make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.cli.test_build import document
from tests.otto_core.held import newest
from tests.otto_core.runs import feature, run_plan, write_plan, writes
from tests.otto_core.test_mounts import mounted

USAGE, REPOSITORY, LOCKED, BUDGET, WAITING = 2, 4, 6, 7, 10


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path)


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """Name the file without which the first task fails."""
    return tmp_path / "go"


@pytest.fixture
def failed(repo: Path, go: Path) -> str:
    """Build a run whose first task fails, and with it the second; gives its name."""
    one = feature("one", f"test -e {go} && echo 1 > one.txt", max_attempts=1)
    return run_plan(repo, one, writes("two") | {"depends_on": ["one"]}, writes("three")).id


def test_r_x6_what_failed_is_tried_again_and_the_run_lands(
    repo: Path, otto: Otto, failed: str, go: Path
) -> None:
    told = otto("status", at=repo).stdout
    assert f"otto retry one --run {failed}" in told
    result = otto("retry", "one", at=repo)
    assert result.exit_code == 0, result.output
    assert "one: to be tried again" in result.stdout
    assert "two: to be tried again, as one is" in result.stdout
    assert f"next: otto resume {failed}" in result.stdout
    assert "waiting" in otto("status", at=repo).stdout
    go.touch()
    resumed = otto("resume", at=repo)
    assert resumed.exit_code == 0, resumed.output
    assert "3 of 3 tasks landed" in resumed.stdout
    assert git(repo, "show", "otto/test:two.txt") == "two"


def test_the_lock_of_a_ref_that_goes_at_this_moment_is_in_no_resumes_way(
    repo: Path, otto: Otto, failed: str, go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    otto("retry", "one", at=repo)
    go.touch()
    held = repo / ".git" / f"refs/otto/runs/{failed}/tip.lock"
    held.touch()
    lstat = Path.lstat

    def just_after(place: Path) -> os.stat_result:
        if place.name == held.name:
            held.unlink(missing_ok=True)
        return lstat(place)

    monkeypatch.setattr(Path, "lstat", just_after)
    assert otto("resume", at=repo).exit_code == 0
    assert not held.exists()


def test_a_resume_in_json_is_the_document_of_a_build(repo: Path, otto: Otto, failed: str, go: Path) -> None:
    otto("retry", "one", at=repo)
    go.touch()
    told = document(otto("resume", failed, "--json", at=repo))
    assert (told["run"], told["outcome"]) == (failed, "landed")


def test_what_a_resume_lands_can_go_into_a_branch_at_once(
    repo: Path, otto: Otto, failed: str, go: Path
) -> None:
    git(repo, "branch", "next")
    otto("retry", "one", at=repo)
    go.touch()
    result = otto("resume", failed, "--into", "next", at=repo)
    assert result.exit_code == 0, result.output
    assert git(repo, "show", "next:two.txt") == "two"
    assert otto("resume", "--into", "nowhere", at=repo).exit_code == USAGE


@pytest.mark.usefixtures("failed")
def test_a_run_that_is_over_stays_as_it_is_and_tells_how_it_ended(repo: Path, otto: Otto) -> None:
    before = newest(repo)
    result = otto("resume", at=repo)
    assert result.exit_code == 1
    assert "1 of 3 tasks landed" in result.stdout
    assert newest(repo).tasks == before.tasks


def test_r_i10_a_resume_of_a_driven_run_is_told_who_drives(repo: Path, otto: Otto, failed: str) -> None:
    with hold(repo / ".git/otto", failed):
        result = otto("resume", at=repo)
    assert result.exit_code == LOCKED
    assert "is driven by" in result.stderr
    assert "since" in result.stderr


@pytest.mark.usefixtures("failed")
@pytest.mark.parametrize("verb", ["retry", "skip", "approve"])
def test_r_x6_a_decision_that_the_state_forbids_says_why_and_what_can_be_done(
    repo: Path, otto: Otto, verb: str
) -> None:
    result = otto(verb, "three", at=repo)
    assert result.exit_code == USAGE
    assert "'three'" in result.stderr
    assert "hint: otto status" in result.stderr
    assert newest(repo).tasks["three"].status.value == "landed"


@pytest.mark.usefixtures("failed")
def test_several_tasks_are_decided_about_together_or_not_at_all(repo: Path, otto: Otto) -> None:
    assert otto("retry", "one", "three", at=repo).exit_code == USAGE
    assert newest(repo).tasks["one"].status.value == "failed"
    assert otto("retry", "two", "one", at=repo).exit_code == 0, "the second names what stands on it"
    assert newest(repo).tasks["two"].status.value == "pending"


def test_a_decision_in_json_says_what_was_decided(repo: Path, otto: Otto, failed: str) -> None:
    told = json.loads(otto("retry", "one", "--json", at=repo).stdout)
    assert told["run"] == failed
    assert told["driven"] is False
    assert [row["subject"] for row in told["decided"]] == ["one", "two"]


@pytest.mark.usefixtures("failed")
def test_a_task_that_is_skipped_is_told_so(repo: Path, otto: Otto) -> None:
    otto("retry", "one", at=repo)
    assert otto("skip", "one", at=repo).exit_code == 0
    told = document(otto("status", "--json", at=repo))
    tasks = told["tasks"]
    assert isinstance(tasks, list)
    assert [task["state"] for task in tasks] == ["skipped", "pending", "landed"]
    assert tasks[0]["reason"]["kind"] == "skipped_by_user"
    assert otto("resume", at=repo).exit_code == 1


@pytest.mark.usefixtures("failed")
def test_a_run_that_nobody_drives_is_cancelled_here(repo: Path, otto: Otto) -> None:
    otto("retry", "one", at=repo)
    result = otto("cancel", at=repo)
    assert result.exit_code == 0, result.output
    assert "the run was cancelled by" in result.stdout
    assert otto("cancel", at=repo).exit_code == USAGE
    assert otto("resume", at=repo).exit_code == 1


def test_b6_a_spent_budget_ends_with_7_and_goes_on_with_a_larger_one(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").write_text("budget: {wall: 1s}\n")
    go = repo.parent / "go"
    plan = write_plan(repo, feature("one", f"test -e {go} || sleep 60; echo 1 > one.txt"))
    result = otto("build", "--plan", str(plan), at=repo)
    assert result.exit_code == BUDGET
    assert "`budget.wall` of 1s" in result.stdout
    assert "--wall DURATION" in result.stdout
    assert otto("resume", at=repo).exit_code == BUDGET
    go.touch()
    assert otto("resume", "--wall", "1h", at=repo).exit_code == 0


@pytest.mark.usefixtures("failed")
def test_a_wall_that_is_no_duration_is_a_usage_error(repo: Path, otto: Otto) -> None:
    result = otto("resume", "--wall", "soon", at=repo)
    assert result.exit_code == USAGE
    assert "--wall" in result.stderr


def test_r_x10_a_moved_tip_ends_with_10_and_the_command_that_sets_it_back(
    repo: Path, otto: Otto, failed: str
) -> None:
    otto("retry", "one", at=repo)
    run = newest(repo)
    git(repo, "update-ref", f"refs/otto/runs/{failed}/tip", run.start.base)
    result = otto("resume", at=repo)
    assert result.exit_code == WAITING
    assert f"git update-ref refs/otto/runs/{failed}/tip {run.tip}" in result.stdout
    assert document(otto("resume", "--json", at=repo))["outcome"] == "waiting"


@pytest.mark.usefixtures("failed")
@pytest.mark.parametrize("verb", ["resume", "cancel", "retry one", "skip one"])
def test_a_journal_on_a_network_file_system_is_not_written(
    repo: Path, otto: Otto, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = newest(repo)
    monkeypatch.setattr("otto_core.mounts.MOUNTS", mounted(repo.parent, "nfs4"))
    result = otto(*verb.split(), at=repo)
    assert result.exit_code == REPOSITORY
    assert "network file system" in result.stderr
    assert newest(repo) == before


@pytest.mark.parametrize("verb", ["resume", "cancel", "retry one", "skip one", "approve one"])
def test_a_repository_without_runs_says_so(repo: Path, otto: Otto, verb: str) -> None:
    result = otto(*verb.split(), at=repo)
    assert result.exit_code == USAGE
    assert "no runs" in result.stderr
    assert not (repo / ".git/otto").exists()
