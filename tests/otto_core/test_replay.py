"""The replay table, row by row, with real runs: what a resume executes and repeats in each state (X4)."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from otto_core import events as ev
from otto_core.decide import decide_on
from otto_core.decisions import Verb, cancel, retry, skip
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal, Outdated
from otto_core.model import Outcome, TaskStatus
from otto_core.reconcile import reconcile_all
from otto_core.recovery import REPLAY, Effect, First
from otto_core.resume import Limits, resume
from otto_core.runlock import hold
from otto_core.session import Session
from otto_core.state import Run
from otto_core.transitions import fold
from tests.builders import git, make_repo
from tests.otto_core.held import Otto, newest
from tests.otto_core.killed_runs import carriers
from tests.otto_core.runs import feature, run_plan
from tests.waiting import until

S = TaskStatus
PERSON = "ada@workshop"


class Killed(BaseException):
    """Stands for the instant at which the driver died: nothing is journalled after it."""


def die_at(
    monkeypatch: pytest.MonkeyPatch, kind: type[ev.Event], *, before: bool = False
) -> Callable[[], None]:
    """Have the driver die when it journals an event of a kind; gives what lets the next one live."""
    journal = Session.append
    dead = False

    def append(self: Session, *events: ev.Event, seen: Run | None = None) -> bool:
        nonlocal dead
        if dead or (before and any(isinstance(event, kind) for event in events)):
            dead = True
            raise Killed
        done = journal(self, *events, seen=seen)
        if any(isinstance(event, kind) for event in events):
            dead = True
            raise Killed
        return done

    monkeypatch.setattr(Session, "append", append)
    return lambda: monkeypatch.setattr(Session, "append", journal)


ROWS: dict[TaskStatus, tuple[str, type[ev.Event]]] = {
    S.PENDING: ("echo 1 > one.txt", ev.AttemptStarted),
    S.PRODUCED: ("echo 1 > one.txt", ev.AttemptProduced),
    S.LANDING: ("echo 1 > one.txt", ev.LandingStarted),
    S.LANDED: ("echo 1 > one.txt", ev.LandingApplied),
    S.UNCHANGED: ("true", ev.AttemptUnchanged),
    S.HELD: ("exit 1", ev.AttemptFailed),
    S.FAILED: ("exit 1", ev.TaskFailed),
    S.SKIPPED: ("echo 1 > one.txt", ev.AttemptStarted),
}
"""For each state: a command that leads there, and the event at which the driver dies.

Not for the state `running`: that is left by a real driver, killed while its attempt executes.
"""

ENDS = {
    **dict.fromkeys((S.PENDING, S.RUNNING, S.PRODUCED, S.LANDING, S.LANDED), S.LANDED),
    S.UNCHANGED: S.UNCHANGED,
    **dict.fromkeys((S.HELD, S.FAILED), S.FAILED),
    S.SKIPPED: S.SKIPPED,
}


@pytest.mark.parametrize("state", S)
def test_r_x4_o11_a_resume_does_what_the_row_of_a_state_allows_and_no_more(
    repo: Path, otto: Otto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: TaskStatus
) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    if state is S.RUNNING:
        run = killed_in_the_midst(otto, ledger)
    else:
        run = dead_in_the_state(state, repo, ledger, monkeypatch)
    assert run.tasks["one"].status is state
    before = ledger.read_text().split()

    after = resume(GitRepository.discover(repo), run.id, Limits())
    repeated = ledger.read_text().split()[len(before) :]
    row = REPLAY[state]
    assert after.tasks["one"].status is ENDS[state]
    executes = Effect.EXECUTE in row.repeats or row.leaves is S.PENDING
    assert repeated.count("ran") == executes, "the command"
    checks = Effect.CHECK in row.repeats or executes
    assert repeated.count("checked") == checks, "the checks"
    assert journalled(repo, run, after) == {
        ev.AttemptStarted: executes,
        ev.LandingStarted: Effect.PREPARE in row.repeats or (executes and ENDS[state] is S.LANDED),
        ev.LandingLost: Effect.SWAP in row.repeats,
        ev.BranchPublished: ENDS[state] is S.LANDED and state is not S.LANDED,
    }
    ends = [attempt.end for attempt in after.tasks["one"].attempts]
    lost = [end for end in ends if isinstance(end, ev.AttemptInterrupted) and end.lost]
    assert carriers(after) == [], "what executed is ended"
    assert len(lost) == (row.first is First.SALVAGE)
    for end in lost:
        assert end.snapshot is not None, "what it wrote is kept"
        assert git(repo, "show", f"{end.snapshot}:one.txt") == "1"
    assert landings(repo, after) == (["one"] if ENDS[state] is S.LANDED else []), "never twice"


def task_and_checks(ledger: Path, command: str) -> tuple[dict[str, object], dict[str, object]]:
    """Give a task that notes that it ran, and what checks it."""
    task = feature("one", f"echo ran >> {ledger}; {command}", max_attempts=1, allow_empty=True)
    return task, {"each": [f"echo checked >> {ledger}"]}


def dead_in_the_state(state: TaskStatus, repo: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Have a driver die where the row of a state says."""
    command, event = ROWS[state]
    task, verify = task_and_checks(ledger, command)
    live = die_at(monkeypatch, event, before=state in (S.PENDING, S.SKIPPED))
    with pytest.raises(Killed):
        run_plan(repo, task, verify=verify)
    live()
    run = newest(repo)
    if state is not S.SKIPPED:
        return run
    return decide_on(GitRepository.discover(repo), run.id, lambda now: skip(now, "one", PERSON)).run


def killed_in_the_midst(otto: Otto, ledger: Path) -> Run:
    """Kill a real driver whose attempt has written; the attempt lives on, until somebody ends it."""
    hold = f"test $OTTO_ATTEMPT = 2 || {{ {otto.hold('one')}; }}"
    task, verify = task_and_checks(ledger, f"echo 1 > one.txt; {hold}")
    run = otto.build(task, verify=verify)
    otto.kill()
    assert carriers(run), "its attempt lives on"
    return run


def journalled(repo: Path, before: Run, after: Run) -> dict[type, int]:
    """Count the events of a resume that tell of an effect."""
    kinds = (ev.AttemptStarted, ev.LandingStarted, ev.LandingLost, ev.BranchPublished)
    with Journal.open(GitRepository.discover(repo).store / STORE) as journal:
        events = [stored.event for stored in journal.events(after.id, after=before.seq)]
    return {kind: sum(isinstance(event, kind) for event in events) for kind in kinds}


def landings(repo: Path, run: Run) -> list[str]:
    """Name the tasks on the run's branch, each as often as it is there."""
    told = "--format=%(trailers:key=Otto-Task,valueonly,separator=)"
    return git(repo, "log", "--first-parent", told, f"{run.start.base}..{run.tip}").split()


def test_r_s10_o11_what_stands_on_a_landing_that_was_cut_off_starts_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, ledger = make_repo(tmp_path), tmp_path / "ledger"
    live = die_at(monkeypatch, ev.LandingApplied, before=True)
    two = feature("two", "cp one.txt two.txt", depends_on=["one"])
    with pytest.raises(Killed):
        run_plan(repo, feature("one", f"echo 1 > one.txt; echo ran >> {ledger}"), two)
    live()
    run = newest(repo)
    assert run.tasks["one"].status is S.LANDING
    after = resume(GitRepository.discover(repo), run.id, Limits())
    assert after.tasks["two"].attempts[0].start.base == after.tasks["one"].commit
    assert landings(repo, after) == ["two", "one"]
    assert ledger.read_text() == "ran\n", "what is on the branch is neither executed nor landed again"


def test_r_o10_a_landing_is_claimed_once_a_live_claimant_is_not_robbed_and_a_dead_one_is_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path)
    live = die_at(monkeypatch, ev.LandingStarted)
    with pytest.raises(Killed):
        run_plan(repo, feature("one", "echo 1 > one.txt"))
    live()
    repository, claimed = GitRepository.discover(repo), newest(repo)
    claim = claimed.tasks["one"].landing
    assert claim is not None
    with Journal.open(repository.store / STORE) as journal:
        *earlier, _ = journal.events(claimed.id)
        folded = fold(Run(claimed.id), [stored.event for stored in earlier])
        before = structs.replace(folded, seq=earlier[-1].seq)
        assert isinstance(journal.append(before, [claim]), Outdated), "somebody else claimed it first"
        with hold(repository.store, claimed.id):
            assert reconcile_all(repository, journal) == []
            assert journal.load(claimed.id) == claimed, "its claimant lives"
    after = resume(repository, claimed.id, Limits())
    assert after.tasks["one"].status is S.LANDED
    assert landings(repo, after) == ["one"]


@pytest.mark.parametrize("verb", [skip, retry])
def test_r_x10_a_landing_that_nobody_can_determine_waits_for_a_person_though_the_base_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    repo = make_repo(tmp_path)
    live = die_at(monkeypatch, ev.LandingStarted)
    with pytest.raises(Killed):
        run_plan(repo, feature("one", "echo 1 > one.txt"))
    live()
    repository, run = GitRepository.discover(repo), newest(repo)
    (repo / ".git/objects" / run.start.base[:2] / run.start.base[2:]).unlink()
    decide_on(repository, run.id, lambda now: cancel(now, PERSON))
    after = resume(repository, run.id, Limits())
    assert after.outcome is Outcome.WAITING
    decide_on(repository, run.id, lambda now: verb(now, "one", PERSON))
    assert resume(repository, run.id, Limits()).outcome is Outcome.FAILED


@pytest.mark.parametrize("torn", [False, True], ids=["gone", "torn"])
@pytest.mark.parametrize("swapped", [False, True], ids=["before the swap", "after it"])
def test_r_x10_a_candidate_whose_commit_a_power_cut_took_keeps_no_other_run_from_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: bool, torn: bool
) -> None:
    repo = make_repo(tmp_path)
    live = die_at(monkeypatch, ev.LandingApplied if swapped else ev.LandingStarted, before=swapped)
    with pytest.raises(Killed):
        run_plan(repo, feature("one", "echo 1 > one.txt"))
    live()
    run = newest(repo)
    landing = run.tasks["one"].landing
    assert landing is not None
    lost = repo / ".git/objects" / landing.candidate[:2] / landing.candidate[2:]
    lost.unlink()
    if torn:
        lost.touch()
    second = int(time.time())
    until(lambda: int(time.time()) > second)  # so that the next candidate is another commit
    assert run_plan(repo, feature("two", "echo 2 > two.txt")).outcome is Outcome.LANDED
    after = resume(GitRepository.discover(repo), run.id, Limits())
    assert after.outcome is (Outcome.WAITING if swapped else Outcome.LANDED)
