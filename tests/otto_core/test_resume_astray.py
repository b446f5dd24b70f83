"""A run is resumed of which somebody else moved, deleted or locked a ref, or whose commits are gone."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.decide import decide_on
from otto_core.decisions import Decision, cancel, skip
from otto_core.errors import ExitCode, RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.refnames import run_ref
from otto_core.resume import Limits, resume
from otto_core.scheduler import exit_code
from otto_core.state import Run
from tests.builders import git
from tests.otto_core.held import Otto, newest
from tests.otto_core.runs import run_plan, writes

ONWARD = Limits()


def resumed(repo: Path, run: Run, limits: Limits = ONWARD) -> Run:
    return resume(GitRepository.discover(repo), run.id, limits)


def test_r_x10_a_tip_that_somebody_moved_stops_the_run_until_it_is_set_back(repo: Path, otto: Otto) -> None:
    run = otto.build(writes("zero"), otto.holds("one") | {"depends_on": ["zero"]})
    otto.kill()
    otto.let_go("one")
    tip = git(repo, "rev-parse", run_ref(run.id, "tip"))
    git(repo, "update-ref", run_ref(run.id, "tip"), run.start.base)
    stopped = resumed(repo, run)
    assert stopped.outcome is Outcome.WAITING
    assert exit_code(stopped) is ExitCode.WAITING
    assert stopped.paused is not None
    assert f"git update-ref {run_ref(run.id, 'tip')} {tip}" in stopped.paused.hint
    assert resumed(repo, run) == stopped, "it is told once"
    git(repo, "update-ref", run_ref(run.id, "tip"), tip)
    assert resumed(repo, run).outcome is Outcome.LANDED


def test_a_branch_that_somebody_deleted_is_told_and_left_alone(repo: Path, otto: Otto) -> None:
    run = otto.build(writes("zero"), otto.holds("one") | {"depends_on": ["zero"]})
    otto.kill()
    otto.let_go("one")
    git(repo, "branch", "-D", "otto/test")
    after = resumed(repo, run)
    assert after.outcome is Outcome.LANDED
    assert after.withheld is not None
    assert "deleted" in after.withheld.why
    assert git(repo, "for-each-ref", "refs/heads/otto/test") == ""
    assert git(repo, "rev-parse", run_ref(run.id, "tip")) == after.tip


def test_a_result_that_is_gone_is_told_with_the_way_to_go_on_and_keeps_no_build_from_its_work(
    repo: Path, otto: Otto
) -> None:
    lock = repo / ".git/refs/heads/otto/test.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()  # so that no branch has the result
    run = otto.build(writes("zero"), otto.holds("one") | {"depends_on": ["zero"]})
    otto.kill()
    lock.unlink()
    tip = newest(repo).tip
    (repo / ".git/objects" / tip[:2] / tip[2:]).unlink()
    git(repo, "update-ref", "-d", run_ref(run.id, "tip"))
    with pytest.raises(RepositoryUnusable, match=f"{tip}, which is gone"):
        resumed(repo, run)
    otto.let_go("one")
    assert run_plan(repo, writes("other")).outcome is Outcome.LANDED
    decide_on(GitRepository.discover(repo), run.id, lambda now: cancel(now, "ada@workshop"))
    assert resumed(repo, run).outcome is Outcome.PARTIAL


def test_a_result_branch_that_somebody_made_symbolic_is_told_and_left_alone(repo: Path, otto: Otto) -> None:
    run = otto.build(writes("zero"), otto.holds("one") | {"depends_on": ["zero"]})
    git(repo, "branch", "-D", "otto/test")
    git(repo, "branch", "side")
    git(repo, "symbolic-ref", "refs/heads/otto/test", "refs/heads/side")
    otto.let_go("one")
    assert otto.ended() == ExitCode.OK
    after = newest(repo)
    assert after.withheld is not None
    assert "symbolic" in after.withheld.why
    assert git(repo, "rev-parse", "side") == run.start.base


@pytest.mark.parametrize("decision", [cancel, lambda run, by: skip(run, "two", by)], ids=["cancel", "skip"])
def test_r_x10_a_decision_in_the_moment_of_a_pause_leaves_no_run_that_nobody_drives(
    repo: Path, otto: Otto, decision: Callable[[Run, str], Decision]
) -> None:
    two = writes("two") | {"depends_on": ["one"]}
    run = otto.build(writes("zero"), otto.holds("one") | {"depends_on": ["zero"]}, two)
    otto.kill()
    otto.let_go("one")
    git(repo, "update-ref", run_ref(run.id, "tip"), run.start.base)
    person: list[Decision] = []

    def decide(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.AttemptInterrupted) and not person:
            person.append(())
            decide_on(GitRepository.discover(repo), run.id, lambda now: decision(now, "ada@workshop"))

    after = resume(GitRepository.discover(repo), run.id, ONWARD, observe=decide)
    assert person
    assert exit_code(after) in (ExitCode.WAITING, ExitCode.INCOMPLETE)
    assert after.outcome is not Outcome.RUNNING


def test_a_base_that_is_gone_is_told_with_the_way_to_go_on(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    base = run.start.base
    (repo / ".git/objects" / base[:2] / base[2:]).rename(repo.parent / "the-base")
    with pytest.raises(RepositoryUnusable, match=f"{base}, which is gone") as refused:
        resumed(repo, run)
    assert "fetch that commit" in refused.value.hint
    (repo.parent / "the-base").rename(repo / ".git/objects" / base[:2] / base[2:])
    otto.let_go("one")
    git(repo, "update-ref", "-d", run_ref(run.id, "base"))
    assert resumed(repo, run).outcome is Outcome.LANDED
    assert git(repo, "rev-parse", run_ref(run.id, "base")) == base


def test_a_dead_drivers_lock_on_a_ref_of_the_run_is_removed_and_no_other(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    otto.let_go("one")
    stale = repo / ".git" / f"{run_ref(run.id, 'tip')}.lock"
    other = repo / ".git/refs/otto/runs/r-20200101-aaaa/tip.lock"
    users = repo / ".git/refs/heads/main.lock"
    for lock in (stale, other, users):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    assert resumed(repo, run).outcome is Outcome.LANDED
    assert [lock.exists() for lock in (stale, other, users)] == [False, True, True]


def test_a_branch_whose_lock_a_dead_process_left_is_told_and_published_once_that_is_gone(
    repo: Path, otto: Otto
) -> None:
    run = otto.build(otto.holds("one"), writes("two") | {"depends_on": ["one"]})
    lock = repo / ".git/refs/heads/otto/test.lock"
    lock.parent.mkdir()
    lock.touch()
    otto.let_go("one")
    assert otto.ended() == ExitCode.OK
    withheld = newest(repo).withheld
    assert withheld is not None
    assert f"remove {lock}" in withheld.why
    assert lock.exists(), "it may be somebody's"
    assert git(repo, "rev-parse", run_ref(run.id, "tip")) == newest(repo).tip


def test_a_cancelled_run_whose_base_is_gone_comes_to_its_end(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    base = run.start.base
    (repo / ".git/objects" / base[:2] / base[2:]).unlink()
    decide_on(GitRepository.discover(repo), run.id, lambda now: cancel(now, "ada@workshop"))
    assert resumed(repo, run).outcome is Outcome.FAILED


def test_a_cancelled_run_that_was_paused_comes_to_its_end_without_its_base(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill(signal.SIGINT)
    base = run.start.base
    (repo / ".git/objects" / base[:2] / base[2:]).unlink()
    decide_on(GitRepository.discover(repo), run.id, lambda now: cancel(now, "ada@workshop"))
    assert resumed(repo, run).outcome is Outcome.FAILED
