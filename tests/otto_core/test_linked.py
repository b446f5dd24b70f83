"""`isolation: linked`: slots that are linked worktrees of the user's repository while they are borrowed."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otto_core import attempts, evidence, salvage
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.refnames import task_ref
from otto_core.resume import Limits, resume
from tests.builders import git, make_repo
from tests.otto_core.held import newest
from tests.otto_core.runs import content, feature, fingerprint, run_plan, write_plan, writes
from tests.otto_core.sandboxes import NAMESPACE
from tests.waiting import until

OWN = (".git/otto", ".git/objects", ".git/refs/otto", ".git/refs/heads/otto", ".git/logs/refs/heads/otto")

LINKED = "worktrees: {isolation: linked}\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    place = make_repo(tmp_path, {"README.md": "Start.\n", "otto.yaml": LINKED})
    (place / "untracked").write_text("mine\n")
    (place / "README.md").write_text("dirty\n")
    return place


def test_i8_a_linked_run_that_behaves_leaves_all_of_the_users_repository_as_it_was(repo: Path) -> None:
    before = fingerprint(repo, less=OWN)
    commits = "git add -A; git commit -qm 'An own commit'"
    run = run_plan(
        repo,
        feature("one", f"git worktree list > one.txt; git status --porcelain >> one.txt; {commits}"),
        feature("bad", "echo x > other; exit 1", max_attempts=2),
        writes("two"),
        verify={"each": ["test -d .git"]},
    )
    assert run.outcome is Outcome.PARTIAL
    assert fingerprint(repo, less=OWN) == before
    seen, *status = content(repo, run, "one.txt").splitlines()
    assert seen.startswith(f"{repo} ")
    assert any("(detached HEAD)" in line for line in status)
    assert status[-1] == "?? one.txt"


def test_i7_the_head_of_a_linked_attempt_is_kept_as_evidence_and_its_subjects_are_quoted(repo: Path) -> None:
    script = (
        "git switch -q -c mine; for n in 1 2; do echo $n > mine.txt; git add .; git commit -qm Step-$n; done"
    )
    run = run_plan(repo, feature("mine", script))
    evidence = f"refs/otto/runs/{run.id}/tasks/mine/evidence-1"
    assert git(repo, "log", "-1", "--format=%s", evidence) == "Step-2"
    produced = run.tasks["mine"].produced
    assert produced is not None
    assert produced.summary == ("Step-1", "Step-2")
    assert git(repo, "rev-parse", "mine") == git(repo, "rev-parse", evidence)  # refs are shared


def test_what_a_task_does_to_its_entry_harms_nothing_of_ottos(repo: Path) -> None:
    entry = "d=$(git rev-parse --git-dir); rm -rf $d; mkdir -p $d/index; ln -s /etc/passwd $d/HEAD"
    spoil = f"{entry}; echo x > mine.txt"
    run = run_plan(repo, feature("mine", spoil), writes("after") | {"depends_on": ["mine"]})
    assert run.outcome is Outcome.LANDED
    assert not (repo / ".git/worktrees").exists()


def full(*_: object) -> None:
    """Stand for what a full disk refuses."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def commit_and_be_refused(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build a task that commits; the disk is full when that is to be kept, so the run is paused."""
    commits = "echo 1 > mine.txt; git add -A; git commit -qm Mine; echo 2 > mine.txt"
    with monkeypatch.context() as patch:
        patch.setattr(attempts, "keep", full)
        with pytest.raises(RepositoryUnusable, match="No space left"):
            run_plan(repo, feature("mine", commits))


def test_r_s3_what_an_attempt_committed_is_kept_though_the_machine_refused_to_capture_it(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_and_be_refused(repo, monkeypatch)
    run = resume(GitRepository.discover(repo), newest(repo).id, Limits())
    assert run.outcome is Outcome.LANDED
    assert git(repo, "log", "-1", "--format=%s", task_ref(run.id, "mine", "evidence-1")) == "Mine"
    assert not (repo / ".git/worktrees").exists()


def test_r_s3_what_an_attempt_committed_waits_for_room_though_the_disk_is_still_full_at_the_resume(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = GitRepository.discover(repo)
    commit_and_be_refused(repo, monkeypatch)
    run = newest(repo)
    with monkeypatch.context() as patch:
        patch.setattr(evidence, "pin", full)
        with pytest.raises(RepositoryUnusable, match="committed cannot be kept"):
            resume(repository, run.id, Limits())
    with monkeypatch.context() as patch:
        patch.setattr(salvage, "capture", full)
        assert resume(repository, run.id, Limits()).outcome is Outcome.LANDED
    assert git(repo, "log", "-1", "--format=%s", task_ref(run.id, "mine", "evidence-1")) == "Mine"
    assert not (repo / ".git/worktrees").exists()


def test_r_s3_what_an_attempt_committed_is_kept_though_its_files_cannot_be_converted(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.u16 text working-tree-encoding=UTF-16\n")
    git(repo, "add", ".gitattributes")
    git(repo, "commit", "-qm", "Attributes")
    commits = "echo 1 > mine.txt; git add -A; git commit -qm Mine; printf a > x.u16"
    run = run_plan(repo, feature("mine", commits, owns=["*"], max_attempts=1))
    assert run.outcome is Outcome.FAILED
    assert git(repo, "log", "-1", "--format=%s", task_ref(run.id, "mine", "evidence-1")) == "Mine"


def test_a_linked_worktree_of_the_user_stays(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "theirs"))
    before = git(repo, "worktree", "list", "--porcelain")
    assert run_plan(repo, writes("one")).outcome is Outcome.LANDED
    assert git(repo, "worktree", "list", "--porcelain") == before


def test_what_a_killed_driver_left_registered_is_removed_by_the_next_borrower(repo: Path) -> None:
    hangs = write_plan(repo, feature("mine", "echo working; sleep 60"))
    otto = "from otto_core.cli.main import main; main()"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", otto, "-C", str(repo), "build", "--plan", str(hangs)]
    logs = repo / ".git/otto/logs"
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) as driver:
        until(lambda: any("working" in log.read_text() for log in logs.glob("*/mine.1.log")))
        driver.kill()
    assert len(list((repo / ".git/worktrees").iterdir())) == 1
    (repo / "otto.yaml").write_text("worktrees: {isolation: private}\n")
    git(repo, "commit", "-qm", "Private again", "otto.yaml")
    assert run_plan(repo, writes("one")).outcome is Outcome.LANDED
    assert not (repo / ".git/worktrees").exists()


@NAMESPACE
def test_in_a_namespace_a_linked_attempt_can_commit_and_cannot_reach_the_store(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTTO_SANDBOX", "bwrap")
    looks = "ls $(git rev-parse --git-common-dir)/otto > mine.txt; echo . >> mine.txt"
    script = f"{looks}; git add -A; git commit -qm Mine"
    run = run_plan(repo, feature("mine", script))
    assert content(repo, run, "mine.txt") == "."
    assert git(repo, "log", "-1", "--format=%s", f"refs/otto/runs/{run.id}/tasks/mine/evidence-1") == "Mine"
