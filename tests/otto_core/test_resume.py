"""A run whose driver died, or that stopped, goes on: nothing lost, nothing twice, nobody left behind."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from otto_core.decide import decide_on
from otto_core.decisions import cancel, retry, skip
from otto_core.errors import ExitCode, Locked, UsageError
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.occupancy import note_of, occupied
from otto_core.recover import recover
from otto_core.refnames import task_ref
from otto_core.resume import Limits, resume
from otto_core.runlock import hold, is_driven
from otto_core.scheduler import exit_code
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.held import Otto, newest
from tests.otto_core.killed_runs import carriers
from tests.otto_core.runs import content, feature, files, fingerprint, run_plan, writes
from tests.waiting import PATIENCE_S, until

ONWARD = Limits()


def resumed(repo: Path, run: Run, limits: Limits = ONWARD) -> Run:
    return resume(GitRepository.discover(repo), run.id, limits)


def test_s3_i7_what_an_attempt_wrote_whose_driver_was_killed_is_kept_and_the_run_goes_on(
    repo: Path, otto: Otto
) -> None:
    run = otto.build(writes("one"), otto.holds("two"), writes("three") | {"depends_on": ["two"]})
    otto.kill()
    otto.let_go("two")
    after = resumed(repo, run)
    assert after.outcome is Outcome.LANDED
    first, second = after.tasks["two"].attempts
    assert getattr(first.end, "lost", False)
    kept = task_ref(run.id, "two", "salvage-1")
    assert getattr(first.end, "snapshot", None) == git(repo, "rev-parse", kept)
    assert git(repo, "show", f"{kept}:two.txt") == "two"
    assert git(repo, "rev-parse", f"{kept}^") == first.start.base
    assert second.number == 2
    names = ["one", "two", "three"]
    assert [content(repo, after, f"{name}.txt") for name in names] == names


def test_r_l3_i12_a_lost_attempt_says_why_it_has_no_telemetry_and_which_log_was_searched(
    repo: Path, otto: Otto
) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    end = resumed(repo, run).tasks["one"].attempts[0].end
    assert end is not None
    missing = end.telemetry.missing or ""
    assert run.driver in missing
    assert "one.1.log" in missing


@pytest.mark.parametrize("way", ["a session of its own", "in the background"])
def test_r_s4_i13_no_process_of_a_killed_driver_is_alive_after_the_resume(
    repo: Path, otto: Otto, way: str
) -> None:
    left = {"a session of its own": "setsid sleep 600 &", "in the background": "sleep 600 &"}[way]
    run = otto.build(otto.holds("one", left))
    otto.kill()
    assert carriers(run)
    otto.let_go("one")
    resumed(repo, run)
    assert carriers(run) == []


def test_r_s4_i13_processes_of_a_killed_driver_are_ended_though_the_note_of_their_worktree_is_gone(
    repo: Path, otto: Otto
) -> None:
    hold = f"test $OTTO_ATTEMPT = 2 || {{ {otto.hold('one')}; }}"
    run = otto.build(feature("one", f"{hold}; echo one > one.txt"))
    otto.kill()
    [(slot, _)] = occupied(Path(run.settings.worktrees))
    note_of(slot).unlink()
    assert carriers(run)
    assert resumed(repo, run).outcome is Outcome.LANDED
    assert carriers(run) == []


def test_r_i10_a_second_driver_is_told_who_drives_and_since_when(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    with pytest.raises(Locked, match=f"{run.driver} since 20..-..-..T"):
        resumed(repo, run)
    assert newest(repo) == run
    second = otto.start("resume")
    output, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == ExitCode.LOCKED
    assert run.driver in output


def test_i9_a_second_resume_changes_nothing(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    resumed(repo, run)
    before, refs = newest(repo), git(repo, "for-each-ref")
    assert resumed(repo, run) == before
    assert (newest(repo), git(repo, "for-each-ref")) == (before, refs)


def test_s3_another_run_that_borrows_the_slot_keeps_what_is_there_first(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    run_plan(repo, writes("other"))
    assert git(repo, "show", f"{task_ref(run.id, 'one', 'salvage-1')}:one.txt") == "one"
    otto.let_go("one")
    after = resumed(repo, run)
    end = after.tasks["one"].attempts[0].end
    assert getattr(end, "snapshot", None) == git(repo, "rev-parse", task_ref(run.id, "one", "salvage-1"))


def test_s3_what_no_tree_can_hold_is_set_aside_with_its_worktree(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one", "mkfifo pipe"))
    otto.kill()
    otto.let_go("one")
    end = resumed(repo, run).tasks["one"].attempts[0].end
    assert end is not None
    place = Path(run.settings.worktrees) / "kept" / run.id / "one.1"
    assert str(place) in (end.telemetry.missing or "")
    assert (place / "one.txt").read_text() == "one\n"
    assert (place / "pipe").is_fifo()


def test_s3_i7_where_the_place_of_what_is_set_aside_is_taken_the_worktree_lies_beside_the_slots_for_good(
    repo: Path, otto: Otto
) -> None:
    run = otto.build(otto.holds("one", "mkfifo pipe; echo > ../kept"))
    otto.kill()
    otto.let_go("one")
    after = resumed(repo, run)
    end, place = after.tasks["one"].attempts[0].end, Path(run.settings.worktrees) / f"kept.{run.id}.one.1"
    assert end is not None
    assert f"its worktree is kept at {place}" in (end.telemetry.missing or "")
    assert run_plan(repo, writes("again")).outcome is Outcome.LANDED
    assert (place / "one.txt").read_text() == "one\n"
    assert (place / "pipe").is_fifo()


def test_copied_files_do_not_enter_what_is_salvaged(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").write_text("worktrees: {copy: [.env]}\n")
    (repo / ".env").write_text("KEY=secret\n")
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    resumed(repo, run)
    kept = git(repo, "ls-tree", "-r", "--name-only", task_ref(run.id, "one", "salvage-1")).splitlines()
    assert "one.txt" in kept
    assert ".env" not in kept


def test_a_worktree_that_was_removed_by_hand_is_no_obstacle(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    [(slot, _)] = occupied(Path(run.settings.worktrees))
    shutil.rmtree(slot.path)
    otto.let_go("one")
    after = resumed(repo, run)
    assert after.outcome is Outcome.LANDED
    end = after.tasks["one"].attempts[0].end
    assert end is not None
    assert "left nothing behind" in (end.telemetry.missing or "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_an_interrupted_run_keeps_what_was_written_and_goes_on(
    repo: Path, otto: Otto, number: signal.Signals
) -> None:
    run = otto.build(otto.holds("one"))
    assert otto.kill(number) == ExitCode.INTERRUPTED
    stopped = newest(repo)
    assert stopped.outcome is Outcome.INTERRUPTED
    assert stopped.tasks["one"].status is TaskStatus.PENDING
    assert git(repo, "show", f"{task_ref(run.id, 'one', 'attempt-1')}:one.txt") == "one"
    otto.let_go("one")
    assert resumed(repo, run).outcome is Outcome.LANDED


def test_b6_a_run_whose_budget_is_spent_goes_on_with_a_larger_one(repo: Path) -> None:
    (repo / "otto.yaml").write_text("budget: {wall: 1s}\n")
    run = run_plan(repo, writes("one"), feature("two", "sleep 30; echo 2 > two.txt"))
    assert run.outcome is Outcome.BUDGET
    assert exit_code(run) is ExitCode.BUDGET
    again = resumed(repo, run)
    assert again.outcome is Outcome.BUDGET, "the same budget is still spent"
    assert again.elapsed_s >= run.elapsed_s
    (repo / "otto.yaml").write_text("budget: {wall: 1h}\n")
    decide_on(GitRepository.discover(repo), run.id, lambda now: skip(now, "two", "ada@workshop"))
    ended = resumed(repo, run)
    assert ended.outcome is Outcome.PARTIAL
    assert ended.settings.wall_s == 3600.0


@pytest.mark.parametrize("limits", [Limits(wall_s=3600.0), Limits(unlimited=True)], ids=["larger", "none"])
def test_b6_a_budget_can_be_given_with_the_resume(repo: Path, limits: Limits) -> None:
    (repo / "otto.yaml").write_text("budget: {wall: 1s}\n")
    go = repo.parent / "go"
    run = run_plan(repo, feature("one", f"test -e {go} || sleep 30; echo 1 > one.txt"))
    assert run.outcome is Outcome.BUDGET
    go.touch()
    assert resumed(repo, run, limits).outcome is Outcome.LANDED


def test_r_x6_a_failed_task_is_tried_again_with_what_stood_on_it(repo: Path) -> None:
    go = repo.parent / "go"
    run = run_plan(
        repo,
        feature("one", f"test -e {go} && echo 1 > one.txt", max_attempts=1),
        writes("two") | {"depends_on": ["one"]},
    )
    assert run.outcome is Outcome.FAILED
    go.touch()
    decided = decide_on(GitRepository.discover(repo), run.id, lambda now: retry(now, "one", "ada@workshop"))
    assert decided.run.outcome is Outcome.WAITING
    assert resumed(repo, run).outcome is Outcome.LANDED


def test_r_x6_a_decision_that_the_state_forbids_is_refused_and_not_journalled(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    with pytest.raises(UsageError, match="has landed"):
        decide_on(GitRepository.discover(repo), run.id, lambda now: retry(now, "one", "ada@workshop"))
    assert newest(repo) == run


def test_r_x6_a_driver_that_lives_picks_up_what_a_person_decides(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"), writes("two") | {"depends_on": ["one"]})
    repository = GitRepository.discover(repo)
    decide_on(repository, run.id, lambda now: skip(now, "two", "ada@workshop"))
    otto.let_go("one")
    assert otto.ended() == ExitCode.INCOMPLETE
    after = newest(repo)
    assert after.tasks["one"].status is TaskStatus.LANDED
    assert after.tasks["two"].status is TaskStatus.SKIPPED


def test_a_cancelled_run_is_ended_by_its_driver_with_what_was_written_kept(repo: Path, otto: Otto) -> None:
    run = otto.build(writes("zero"), otto.holds("one") | {"depends_on": ["zero"]})
    decide_on(GitRepository.discover(repo), run.id, lambda now: cancel(now, "ada@workshop"))
    assert otto.ended() == ExitCode.INCOMPLETE
    after = newest(repo)
    assert after.outcome is Outcome.PARTIAL
    reason = after.tasks["one"].reason
    assert reason is not None
    assert reason.kind is ReasonKind.CANCELLED
    assert git(repo, "show", f"{task_ref(run.id, 'one', 'attempt-1')}:one.txt") == "one"
    assert carriers(run) == []


def test_a_cancelled_run_that_nobody_drives_executes_nothing_more(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"), writes("two") | {"depends_on": ["one"]})
    otto.kill()
    otto.let_go("one")
    decide_on(GitRepository.discover(repo), run.id, lambda now: cancel(now, "ada@workshop"))
    after = resumed(repo, run)
    assert after.outcome is Outcome.FAILED
    assert [len(task.attempts) for task in after.tasks.values()] == [1, 0]
    assert git(repo, "show", f"{task_ref(run.id, 'one', 'salvage-1')}:one.txt") == "one"


def test_i8_a_killed_and_resumed_run_leaves_the_users_repository_alone(repo: Path, otto: Otto) -> None:
    published = (".git/refs/heads/otto", ".git/logs/refs/heads/otto")
    ours = (".git/otto", ".git/refs/otto", ".git/objects", *published)
    before = fingerprint(repo, less=ours)
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    resumed(repo, run)
    assert fingerprint(repo, less=ours) == before
    assert git(repo, "fsck", "--strict") == ""


def test_downtime_does_not_count_as_work(repo: Path, otto: Otto) -> None:
    begun = time.monotonic()
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    after = resumed(repo, run)
    with Journal.open(GitRepository.discover(repo).store / STORE) as journal:
        told = [stored.event.elapsed_s for stored in journal.events(run.id)]
    driven = [elapsed for elapsed in told if elapsed is not None]
    assert driven == sorted(driven)
    assert after.elapsed_s == driven[-1]
    assert run.elapsed_s <= after.elapsed_s <= time.monotonic() - begun


def test_the_lock_of_a_run_is_free_after_its_resume(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    resumed(repo, run)
    store = GitRepository.discover(repo).store
    assert not is_driven(store, run.id)
    with hold(store, run.id):
        assert is_driven(store, run.id)


def test_s3_s4_a_copy_of_a_repository_neither_ends_nor_takes_what_the_original_executes(
    repo: Path, otto: Otto, tmp_path: Path
) -> None:
    run = otto.build(otto.holds("one"))
    copy = tmp_path / "copy"
    shutil.copytree(repo, copy, symlinks=True)
    recovered = recovered_in(copy, run)
    end = recovered.tasks["one"].attempts[0].end
    assert end is not None
    assert "left nothing behind" in (end.telemetry.missing or "")
    assert carriers(run), "the original's attempt goes on"
    otto.let_go("one")
    assert otto.ended() == ExitCode.OK
    assert newest(repo).outcome is Outcome.LANDED


def recovered_in(copy: Path, run: Run) -> Run:
    repository = GitRepository.discover(copy)
    with Journal.open(repository.store / STORE) as journal, hold(repository.store, run.id):
        return recover(repository, journal, run, {Path(run.settings.worktrees)})


def test_i8_a_linked_slot_that_is_salvaged_is_private_again_for_the_next_run(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    otto.build(otto.holds("one"))
    otto.kill()
    (repo / "otto.yaml").unlink()
    config = (repo / ".git/config").read_bytes()
    run = run_plan(repo, feature("two", "git config otto.test 1; test -d .git && echo 2 > two.txt"))
    assert run.outcome is Outcome.LANDED
    assert (repo / ".git/config").read_bytes() == config


@pytest.mark.parametrize("note", ["", '{"marker": "m", "work": null, "from": "a later Otto"}'])
def test_s3_where_nobody_knows_whose_work_is_in_a_slot_it_is_set_aside(
    repo: Path, otto: Otto, note: str
) -> None:
    run = otto.build(otto.holds("one", "echo precious > precious.txt", owns=["*.txt"]))
    otto.kill()
    [(slot, _)] = occupied(Path(run.settings.worktrees))
    note_of(slot).write_text(note)
    otto.let_go("one")
    assert resumed(repo, run).outcome is Outcome.LANDED
    [kept] = (Path(run.settings.worktrees) / "kept").rglob("precious.txt")
    assert kept.read_text() == "precious\n"


def test_s3_the_work_of_another_repository_at_the_same_place_is_set_aside(
    repo: Path, otto: Otto, tmp_path: Path
) -> None:
    run = otto.build(otto.holds("one", "echo precious > precious.txt", owns=["*.txt"]))
    otto.kill()
    repo.rename(tmp_path / "moved")
    make_repo(tmp_path)
    run_plan(repo, writes("other"))
    assert git(repo, "for-each-ref", f"refs/otto/runs/{run.id}") == ""
    otto.let_go("one")
    end = resumed(tmp_path / "moved", run).tasks["one"].attempts[0].end
    assert end is not None
    place = Path(run.settings.worktrees) / "kept" / run.id / "one.1"
    assert str(place) in (end.telemetry.missing or "")
    assert (place / "precious.txt").exists()


def test_s3_i13_what_a_process_that_shed_its_marker_still_writes_does_not_reach_the_next_attempt(
    repo: Path, otto: Otto, tmp_path: Path
) -> None:
    shed, late, written = (tmp_path / name for name in ("shed", "late", "written"))
    waits = f"touch {shed}; while [ ! -e {late} ]; do sleep 0.02; done; echo late > late.txt; touch {written}"
    run = otto.build(otto.holds("one", f"setsid env -i sh -c '{waits}' &", owns=["*.txt"]))
    until(shed.exists)
    otto.kill()
    otto.let_go("one")
    hold_on = f"touch {late}; while [ ! -e {written} ]; do sleep 0.02; done; echo 2 > two.txt"
    after = run_plan(repo, feature("two", hold_on, owns=["two.txt", "late.txt"]))
    assert after.outcome is Outcome.LANDED
    assert "late.txt" not in files(repo, after)
    kept = Path(run.settings.worktrees) / "kept" / run.id / "one.1"
    assert (kept / "one.txt").exists()
    assert (kept / "late.txt").exists()


def test_b6_a_budget_that_was_lifted_stays_lifted(repo: Path) -> None:
    (repo / "otto.yaml").write_text("budget: {wall: 1s}\n")
    go = repo.parent / "go"
    run = run_plan(repo, feature("one", f"test -e {go} || sleep 30; exit 1", max_attempts=1))
    assert run.outcome is Outcome.BUDGET
    go.touch()
    repository = GitRepository.discover(repo)
    assert resumed(repo, run, Limits(unlimited=True)).outcome is Outcome.FAILED
    decide_on(repository, run.id, lambda now: retry(now, "one", "ada@workshop"))
    assert resumed(repo, run).outcome is Outcome.FAILED


def test_a_resumed_run_keeps_the_isolation_that_it_was_started_with(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one", "test -d .git || exit 9"))
    otto.kill()
    otto.let_go("one")
    (repo / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    assert resumed(repo, run).outcome is Outcome.LANDED


def test_a_task_of_a_dead_driver_is_refused_a_skip_with_the_way_to_settle_it(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    with pytest.raises(UsageError) as refused:
        decide_on(GitRepository.discover(repo), run.id, lambda now: skip(now, "one", "ada@workshop"))
    assert f"otto resume {run.id}" in refused.value.hint
