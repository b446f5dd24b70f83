"""What `otto doctor --fix` mends, made broken for real; and what it leaves to a person."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.errors import Locked
from otto_core.examination import Mended, examine, mend
from otto_core.findings import Finding
from otto_core.git.repository import GitRepository
from otto_core.linked import entries
from otto_core.locks import LockTable, abandoned
from otto_core.marker import marker_of
from otto_core.model import Outcome, TaskStatus
from otto_core.occupancy import occupied
from otto_core.process import MARKER
from otto_core.refnames import run_ref, task_ref
from otto_core.resume import Limits, resume
from otto_core.runlock import hold, hold_delivery
from otto_core.slots import borrow
from otto_core.state import Run
from otto_core.writesets import WriteSet
from tests.builders import RunBuilder, git, make_repo, plan, task
from tests.otto_core.held import Otto, newest
from tests.otto_core.runs import fingerprint, run_plan, writes
from tests.waiting import until_marked

OURS = (".git/otto", ".git/refs/otto", ".git/objects")


def found(repo: Path, check: str) -> list[Finding]:
    """Give what a check has to tell."""
    return [f for f in examine(GitRepository.discover(repo)) if f.check == check and f.level != "ok"]


def fixed(repo: Path) -> list[Mended]:
    """Mend what can be mended; nothing is left to mend after it."""
    done = list(mend(examine(GitRepository.discover(repo))))
    assert [one.failure for one in done] == [None] * len(done)
    assert list(mend(examine(GitRepository.discover(repo)))) == []
    return done


def checks(done: list[Mended]) -> list[str]:
    return [one.finding.check for one in done]


def test_lock_files_on_the_refs_of_a_run_go_and_a_persons_stay(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    stale = repo / ".git" / f"{run_ref(run.id, 'tip')}.lock"
    elsewhere, users = repo / ".git/refs/otto/mine.lock", repo / ".git/refs/heads/main.lock"
    for lock in (stale, elsewhere, users):
        lock.touch()
        os.utime(lock, (1, 1))
    assert checks(fixed(repo)) == ["ref locks"]
    assert [lock.exists() for lock in (stale, elsewhere, users)] == [False, True, True]
    [left] = found(repo, "ref locks")
    assert left.hint == f"rm {elsewhere}"


def test_a_lock_file_that_a_landing_left_just_now_goes_at_once(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    lock = repo / ".git" / f"{run_ref(run.id, 'delivery')}.lock"
    lock.touch()
    [told] = found(repo, "ref locks")
    assert (told.level, told.hint) == ("note", "otto doctor --fix removes it if it stays")
    assert checks(fixed(repo)) == ["ref locks"]
    assert not lock.exists()


def test_paths_in_hints_can_be_typed_as_they_are(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, name="a repo; rm -r x")
    lock = repo / ".git/refs/otto/mine.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (1, 1))
    [left] = found(repo, "ref locks")
    subprocess.run(["sh", "-c", left.hint], check=True, cwd=tmp_path)
    assert not lock.exists()


def left_process(run: Run, store: Path) -> "subprocess.Popen[bytes]":
    marker = marker_of(store, run.id, "one/1")
    env = {**os.environ, MARKER: marker}
    child = subprocess.Popen([sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE)
    until_marked(child.pid, marker)
    return child


def test_r_s4_processes_with_the_marker_of_a_run_that_nobody_drives_are_ended(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    with left_process(run, repo / ".git/otto") as child:
        assert checks(fixed(repo)) == ["processes"]
        assert child.wait() == -signal.SIGKILL


def test_r_s4_processes_of_the_repository_that_this_one_was_copied_from_are_left_alone(
    repo: Path, tmp_path: Path
) -> None:
    run = run_plan(repo, writes("one"))
    copy = Path(shutil.copytree(repo, tmp_path / "copy", symlinks=True))
    with left_process(run, repo / ".git/otto") as child:
        assert checks(fixed(copy)) == []
        assert child.poll() is None
        child.communicate(b"\n")


def test_r_s4_the_checks_of_a_landing_that_goes_on_are_left_alone(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    with left_process(run, repo / ".git/otto") as child:
        [left] = found(repo, "processes")
        with hold_delivery(repo / ".git/otto"):
            assert found(repo, "processes") == []
            assert left.mend is not None
            with pytest.raises(Locked):
                left.mend()
        assert child.poll() is None
        child.communicate(b"\n")


def cut_off(repo: Path, *, landed: bool) -> RunBuilder:
    """Make a run whose driver died after it had said that a task lands."""
    built = RunBuilder(repo, task("a"), whole=plan(git(repo, "rev-parse", "HEAD"), task("a"), each=[]))
    built.start("a")
    built.produce("a")
    produced = built.run.tasks["a"].produced
    assert produced is not None
    trailers = f"Otto-Run: {built.run.id}\nOtto-Task: a\nOtto-Attempt: 1\nOtto-Plan: {'0' * 64}"
    parents = ("-p", built.base, "-p", produced.snapshot)
    candidate = git(repo, "commit-tree", produced.tree, *parents, "-m", f"a\n\n{trailers}")
    built.append(
        ev.LandingStarted(
            task="a",
            attempt=1,
            expected_tip=built.base,
            candidate=candidate,
            tree=produced.tree,
            strategy="tree",
        )
    )
    if landed:
        git(repo, "update-ref", run_ref(built.run.id, "tip"), candidate)
    built.journal.close()
    return built


@pytest.mark.parametrize(("landed", "state"), [(True, TaskStatus.LANDED), (False, TaskStatus.PRODUCED)])
def test_a_landing_that_was_cut_off_is_settled_from_git(repo: Path, landed: bool, state: TaskStatus) -> None:
    cut_off(repo, landed=landed)
    assert checks(fixed(repo)) == ["landings"]
    assert newest(repo).tasks["a"].status is state


def test_r_x10_a_landing_that_git_cannot_tell_of_is_left_to_a_person(repo: Path) -> None:
    built = cut_off(repo, landed=False)
    git(repo, "update-ref", "-d", run_ref(built.run.id, "tip"))
    git(repo, "update-ref", run_ref(built.run.id, "tip"), git(repo, "commit-tree", "HEAD^{tree}", "-m", "x"))
    list(mend(examine(GitRepository.discover(repo))))
    [told] = found(repo, "landings")
    assert "nobody can tell whether a landed" in told.message
    assert f"otto approve, retry or skip a --run {built.run.id}" in told.hint
    assert told.mend is None


def test_r_s3_an_unfinished_attempt_is_kept_as_a_commit_and_its_run_goes_on(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    assert found(repo, "slots") == [], "its driver lives"
    otto.kill()
    [left] = found(repo, "slots")
    assert left.message.endswith(f"holds what {run.id}/one/1 left unfinished")
    done = fixed(repo)
    assert "slots" in checks(done)
    assert list(occupied(Path(run.settings.worktrees))) == []
    assert git(repo, "show", f"{task_ref(run.id, 'one', 'salvage-1')}:one.txt") == "one"
    otto.let_go("one")
    assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.LANDED


def test_all_that_a_killed_driver_left_is_mended_and_a_second_time_there_is_nothing(
    repo: Path, otto: Otto
) -> None:
    (repo / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    git(repo, "add", "otto.yaml")
    git(repo, "commit", "--quiet", "--message", "configure")
    run = otto.build(writes("zero"), otto.holds("one", "setsid sleep 600 &") | {"depends_on": ["zero"]})
    before = fingerprint(repo, less=(*OURS, ".git/worktrees"))
    otto.kill()
    done = checks(fixed(repo))
    assert {"linked", "locks", "processes", "slots", "merging"} == set(done)
    assert entries(GitRepository.discover(repo)) == ()
    assert abandoned(repo / ".git/otto") == ()
    assert not (repo / ".git/otto/merge" / f"{run.id}.git").exists()
    assert fingerprint(repo, less=(*OURS, ".git/worktrees")) == before
    otto.let_go("one")


def test_a_driven_run_is_never_touched(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    lock = repo / ".git" / f"{run_ref(run.id, 'tip')}.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    git(repo, "update-ref", "-d", run_ref(run.id, "base"))
    assert fixed(repo) == []
    assert lock.exists()
    lock.unlink()
    otto.let_go("one")
    assert otto.ended() == 0


def test_an_entry_of_the_lock_table_whose_driver_is_dead_goes(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    with hold(built.store, built.run.id):
        LockTable(built.store, built.run.id).acquire("a", WriteSet(owns=("a/**",), extends=()))
        assert found(repo, "locks") == []
    [left] = found(repo, "locks")
    assert left.message.endswith("is gone: what it held does not count")
    assert checks(fixed(repo)) == ["locks"]


def test_the_ref_of_a_base_is_set_again_where_its_commit_is_there(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    ref = run_ref(run.id, "base")
    git(repo, "update-ref", "-d", ref)
    assert checks(fixed(repo)) == ["bases"]
    assert git(repo, "rev-parse", ref) == run.start.base


def test_a_mend_of_a_run_that_somebody_drives_by_now_is_refused(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    git(repo, "update-ref", "-d", run_ref(run.id, "base"))
    [left] = found(repo, "bases")
    assert left.mend is not None
    with hold(repo / ".git/otto", run.id), pytest.raises(Locked):
        left.mend()


def test_a_mend_that_fails_hides_no_other() -> None:
    def fail() -> None:
        raise OSError("no")

    done: list[str] = []
    mends = [
        Finding("bad", "one", "", "", fail),
        Finding("note", "two", ""),
        Finding("bad", "three", "", "", lambda: done.append("three")),
    ]
    told = list(mend(mends))
    assert [(one.finding.check, one.failure is None) for one in told] == [("one", False), ("three", True)]
    assert done == ["three"]


def test_the_entry_of_a_slot_that_somebody_uses_is_not_removed(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    git(repo, "add", "otto.yaml")
    git(repo, "commit", "--quiet", "--message", "configure")
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    [left] = found(repo, "linked")
    assert left.mend is not None
    with borrow(Path(run.settings.worktrees), "slot"), pytest.raises(Locked, match="in use by another Otto"):
        left.mend()
    assert entries(GitRepository.discover(repo))
