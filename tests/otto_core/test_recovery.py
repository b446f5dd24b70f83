"""A landing that was cut off is settled from Git alone: it is on the branch, or it never happened (X3)."""

import itertools
from pathlib import Path

import pytest

from merge.objects import Oid
from merge.swap import swap
from otto_core import events as ev
from otto_core.decide import decide_on
from otto_core.decisions import approve
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.landing import Lander
from otto_core.model import Outcome, TaskStatus
from otto_core.reconcile import reconcile, reconcile_all
from otto_core.recovery import REPLAY, Effect, First
from otto_core.refnames import run_ref
from otto_core.resume import Limits, resume
from otto_core.runlock import hold
from otto_core.state import Run
from otto_core.transitions import TRANSITIONS
from tests.builders import git
from tests.otto_core.runs import content, run_plan, writes


class Cut(Exception):
    """Stands for the instant at which the driver died."""


def cut_off(repo: Path, monkeypatch: pytest.MonkeyPatch, *, after_swap: bool) -> Run:
    """Leave a run whose second landing is journalled as started, with or without its swap done."""
    whole = Lander._mutate

    async def mutate(self: Lander, seen: Run, produced: ev.AttemptProduced, candidate: object) -> None:
        if produced.task != "two":
            await whole(self, seen, produced, candidate)  # type: ignore[arg-type]
            return
        session = self.session
        append = session.journal.append

        def dying(run: Run, events: list[ev.Event]) -> object:
            if any(isinstance(event, ev.LandingApplied) for event in events):
                raise Cut
            return append(run, events)

        monkeypatch.setattr(session.journal, "append", dying)
        if not after_swap:
            monkeypatch.setattr("otto_core.landing.swap", _die)
        await whole(self, seen, produced, candidate)  # type: ignore[arg-type]

    monkeypatch.setattr(Lander, "_mutate", mutate)
    with pytest.raises(Cut):
        run_plan(repo, writes("one"), writes("two") | {"depends_on": ["one"]})
    monkeypatch.undo()
    with Journal.open(GitRepository.discover(repo).store / "otto.db") as journal:
        run = journal.load(journal.run_ids()[-1])
    assert run.tasks["two"].status is TaskStatus.LANDING
    return run


def _die(*_: object) -> None:
    raise Cut


def reconciled(repo: Path, run: Run) -> Run:
    repository = GitRepository.discover(repo)
    with Journal.open(repository.store / "otto.db") as journal:
        return reconcile(repository, journal, run)


def test_r_x3_a_landing_whose_swap_was_done_is_journalled_and_published(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=True)
    after = reconciled(repo, run)
    assert after.tasks["two"].status is TaskStatus.LANDED
    assert after.tip == git(repo, "rev-parse", run_ref(run.id, "tip"))
    assert git(repo, "rev-parse", "otto/test") == after.tip
    assert content(repo, after, "two.txt") == "two"


def test_r_x3_a_landing_whose_swap_was_not_done_goes_back_to_the_queue(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=False)
    after = reconciled(repo, run)
    assert after.tasks["two"].status is TaskStatus.PRODUCED
    assert after.queue == ("two",)
    assert after.tip == git(repo, "rev-parse", run_ref(run.id, "tip"))


@pytest.mark.parametrize("after_swap", [True, False])
def test_i9_a_second_recovery_changes_nothing(
    repo: Path, monkeypatch: pytest.MonkeyPatch, after_swap: bool
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=after_swap)
    once = reconciled(repo, run)
    refs = git(repo, "for-each-ref")
    assert reconciled(repo, once) == once
    assert git(repo, "for-each-ref") == refs


def test_the_start_of_the_next_build_settles_it(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = cut_off(repo, monkeypatch, after_swap=True)
    run_plan(repo, writes("three"))
    with Journal.open(GitRepository.discover(repo).store / "otto.db") as journal:
        assert journal.load(run.id).tasks["two"].status is TaskStatus.LANDED


def test_i10_a_run_that_a_living_process_drives_is_left_alone(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=True)
    repository = GitRepository.discover(repo)
    with Journal.open(repository.store / "otto.db") as journal, hold(repository.store, run.id):
        assert reconcile_all(repository, journal) == []
        assert journal.load(run.id).tasks["two"].status is TaskStatus.LANDING


def test_r_x10_a_tip_that_does_not_stand_on_the_base_is_not_guessed_about(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=True)
    alien = Oid(hex=git(repo, "commit-tree", "-m", "alien", "HEAD^{tree}"))
    repository = GitRepository.discover(repo)
    tip_ref = run_ref(run.id, "tip")
    swap(repository.repo, tip_ref, repository.ref(tip_ref), alien)
    after = reconciled(repo, run)
    assert after.tasks["two"].status is TaskStatus.LANDING
    unknown = after.tasks["two"].undetermined
    assert unknown is not None
    assert "does not stand on the run's base" in unknown.why
    assert reconciled(repo, after) == after, "it is asked once"


@pytest.mark.parametrize("after_swap", [True, False])
@pytest.mark.parametrize("then", ["landed", "retry", "skip"])
def test_r_x10_what_a_person_says_of_a_rewritten_tip_is_done(
    repo: Path, monkeypatch: pytest.MonkeyPatch, after_swap: bool, then: ev.Decided
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=after_swap)
    git(repo, "update-ref", "-d", run_ref(run.id, "tip"))
    before = reconciled(repo, run)
    landing = before.tasks["two"].landing
    assert landing is not None
    decision = ev.LandingDecided(task="two", attempt=1, then=then, by="ada@workshop")
    with Journal.open(GitRepository.discover(repo).store / "otto.db") as journal:
        appended = journal.append(before, [decision])
    after = reconciled(repo, appended.run)
    tip = git(repo, "rev-parse", run_ref(run.id, "tip"))
    expected = {"landed": TaskStatus.LANDED, "retry": TaskStatus.PRODUCED, "skip": TaskStatus.SKIPPED}
    assert after.tasks["two"].status is expected[then]
    assert tip == after.tip == (landing.candidate if then == "landed" else before.tip)
    assert reconciled(repo, after) == after


def test_r_x10_what_a_person_says_is_done_before_the_verb_returns(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=True)
    git(repo, "update-ref", "-d", run_ref(run.id, "tip"))
    unknown = reconciled(repo, run)
    landing = unknown.tasks["two"].landing
    assert landing is not None
    decided = decide_on(GitRepository.discover(repo), run.id, lambda now: approve(now, "two", "ada@workshop"))
    assert decided.run.tasks["two"].status is TaskStatus.LANDED
    assert git(repo, "rev-parse", run_ref(run.id, "tip")) == landing.candidate
    assert git(repo, "rev-parse", "otto/test") == landing.candidate


def test_a_clock_that_jumps_changes_nothing_but_the_times_that_are_shown(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = itertools.cycle(["2031-01-01T00:00:00.000000+00:00", "1999-12-31T23:59:59.000000+00:00"])
    opened = Journal.open
    monkeypatch.setattr(Journal, "open", lambda path, **more: opened(path, now=lambda: next(jumps), **more))
    run = cut_off(repo, monkeypatch, after_swap=True)
    monkeypatch.setattr(Journal, "open", lambda path, **more: opened(path, now=lambda: next(jumps), **more))
    after = resume(GitRepository.discover(repo), run.id, Limits())
    assert after.outcome is Outcome.LANDED
    with opened(GitRepository.discover(repo).store / STORE) as journal:
        told = list(journal.events(run.id))
    assert {stored.at[:4] for stored in told} == {"2031", "1999"}
    assert [stored.seq for stored in told] == sorted(stored.seq for stored in told)


def test_r_x10_a_tip_that_a_person_set_back_answers_by_itself(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_off(repo, monkeypatch, after_swap=True)
    git(repo, "update-ref", "-d", run_ref(run.id, "tip"))
    unknown = reconciled(repo, run)
    git(repo, "update-ref", run_ref(run.id, "tip"), unknown.tip)
    assert reconciled(repo, unknown).tasks["two"].status is TaskStatus.PRODUCED


def test_r_x4_every_state_has_its_row_and_no_row_allows_what_the_state_machine_forbids() -> None:
    assert set(REPLAY) == set(TaskStatus)
    for status, row in REPLAY.items():
        executes = Effect.EXECUTE in row.repeats
        startable = row.leaves in TRANSITIONS[ev.AttemptStarted][0]
        assert startable or not executes, f"{status}: an attempt cannot start from {row.leaves}"
        lands = Effect.SWAP in row.repeats or Effect.PREPARE in row.repeats
        assert not lands or row.leaves in TRANSITIONS[ev.LandingStarted][0]
        assert (row.first is First.NOTHING) == (row.leaves is status)
