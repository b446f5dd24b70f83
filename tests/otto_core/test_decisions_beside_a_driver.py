"""A person decides in the very moment in which a driver acts: one of both is told to look again."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from otto_core import attempts
from otto_core import events as ev
from otto_core.decide import decide_on
from otto_core.decisions import Decision, cancel, retry, skip, together
from otto_core.errors import ExitCode, UsageError
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal, Stored
from otto_core.locks import LockTable
from otto_core.model import Outcome, TaskStatus
from otto_core.refnames import run_ref
from otto_core.resume import Limits, resume
from otto_core.slots import Slot
from otto_core.state import Run
from otto_core.writesets import Contention, WriteSet
from tests.builders import git
from tests.otto_core.held import Otto, newest
from tests.otto_core.killed_runs import carriers
from tests.otto_core.runs import feature, run_plan, write_plan, writes
from tests.waiting import PATIENCE_S, until

PERSON = "ada@workshop"


def cancel_one(now: Run) -> Decision:
    return cancel(now, PERSON)


def skip_one(now: Run) -> Decision:
    return skip(now, "one", PERSON)


def test_a_task_that_is_skipped_while_its_worktree_is_made_does_not_start(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish = attempts._furnish

    def furnishing(session: object, slot: Slot, pinned: object, name: str) -> None:
        furnish(session, slot, pinned, name)  # type: ignore[arg-type]
        if name == "one":
            run = newest(repo)
            decide_on(GitRepository.discover(repo), run.id, lambda now: skip(now, "one", PERSON))

    monkeypatch.setattr(attempts, "_furnish", furnishing)
    run = run_plan(repo, writes("one"), writes("two"), overrides={"concurrency": 1})
    assert run.tasks["one"].status is TaskStatus.SKIPPED
    assert run.tasks["one"].attempts == ()
    assert run.tasks["two"].status is TaskStatus.LANDED
    assert run.outcome is Outcome.PARTIAL


def test_a_task_that_is_skipped_while_its_locks_are_waited_for_does_not_start(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, told = LockTable.acquire, threading.Event()

    def acquiring(table: LockTable, task: str, writes: WriteSet, **more: Any) -> Contention | None:
        if task == "one":
            decide_on(GitRepository.discover(repo), newest(repo).id, skip_one)
            assert told.wait(PATIENCE_S)
        return acquire(table, task, writes, **more)

    def look(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.TaskSkipped):
            told.set()

    monkeypatch.setattr(LockTable, "acquire", acquiring)
    run = run_plan(repo, writes("one"), writes("two"), observe=look)
    assert run.tasks["one"].status is TaskStatus.SKIPPED
    assert run.tasks["one"].attempts == ()
    assert run.tasks["two"].status is TaskStatus.LANDED


def test_a_result_that_is_skipped_while_it_is_checked_does_not_land(repo: Path, otto: Otto) -> None:
    run = otto.build(
        writes("one"),
        writes("two") | {"depends_on": ["one"]},
        until="check",
        verify={"each": [otto.hold("check")]},
    )
    decide_on(GitRepository.discover(repo), run.id, lambda now: skip(now, "one", PERSON))
    assert otto.ended() == ExitCode.INCOMPLETE
    after = newest(repo)
    assert after.tasks["one"].status is TaskStatus.SKIPPED
    assert git(repo, "rev-parse", run_ref(run.id, "tip")) == after.start.base
    assert carriers(run) == [], "the check is ended with the run"


def test_a_check_ends_when_its_task_is_skipped_and_the_next_result_lands(repo: Path, otto: Otto) -> None:
    held = f"if [ -e one.txt ]; then {otto.hold('check')}; fi"
    run = otto.build(writes("one"), otto.holds("two"), until="check", verify={"each": [held]})
    decide_on(GitRepository.discover(repo), run.id, skip_one)
    otto.let_go("two")
    assert otto.ended() == ExitCode.INCOMPLETE
    after = newest(repo)
    assert after.tasks["one"].status is TaskStatus.SKIPPED
    assert after.tasks["two"].status is TaskStatus.LANDED


def test_the_final_checks_end_when_a_task_is_tried_again_and_judge_what_came_of_it(
    repo: Path, otto: Otto, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    two = feature("two", f"[ -e {mended} ] && echo two > two.txt", max_attempts=1)
    final = f"if [ ! -e two.txt ]; then {otto.hold('final')}; fi"
    run = otto.build(writes("one"), two, until="final", verify={"final": [final]})
    mended.touch()
    decide_on(GitRepository.discover(repo), run.id, lambda now: retry(now, "two", PERSON))
    assert otto.ended() == ExitCode.OK
    assert [task.status for task in newest(repo).tasks.values()] == [TaskStatus.LANDED] * 2


@pytest.mark.parametrize("decision", [cancel_one, skip_one], ids=["cancelled", "skipped"])
def test_i13_a_run_is_not_over_while_a_check_of_it_executes(
    repo: Path, tmp_path: Path, decision: Callable[[Run], Decision]
) -> None:
    begun = tmp_path / "begun"
    alive: list[int] = []

    def decide() -> None:
        until(begun.exists)
        decide_on(GitRepository.discover(repo), newest(repo).id, decision)

    def watch(event: ev.Event, run: Run) -> None:
        if isinstance(event, ev.RunFinished):
            alive.extend(carriers(run))

    person = threading.Thread(target=decide)
    person.start()
    run = run_plan(repo, writes("one"), verify={"each": [f"touch {begun}; sleep 600"]}, observe=watch)
    person.join()
    assert run.outcome is Outcome.FAILED
    assert alive == []


@pytest.mark.parametrize("skipped", [False, True], ids=["held", "skipped"])
def test_a_cancelled_run_whose_task_is_tried_again_meanwhile_goes_on(
    repo: Path, otto: Otto, tmp_path: Path, *, skipped: bool
) -> None:
    """The driver ends what executes for the cancellation; the retry takes it back, and is no interrupt."""
    (repo / "otto.yaml").write_text("defaults: {grace: 10m}\n")
    mended = tmp_path / "mended"
    deaf = otto.holds("one")
    deaf["run"] = f"trap 'echo termed' TERM\n{deaf['run']}"
    run = otto.build(deaf, feature("two", f"[ -e {mended} ] && echo two > two.txt", max_attempts=1))
    until(lambda: newest(repo).tasks["two"].status is TaskStatus.HELD)
    repository = GitRepository.discover(repo)
    if skipped:
        decide_on(repository, run.id, lambda now: skip(now, "two", PERSON))
    decide_on(repository, run.id, cancel_one)
    log = repository.store / "logs" / run.id / "one.1.log"
    until(lambda: "termed" in log.read_text())
    mended.touch()
    decide_on(repository, run.id, lambda now: retry(now, "two", PERSON))
    otto.let_go("one")
    assert otto.ended() == ExitCode.OK
    after = newest(repo)
    assert isinstance(after.tasks["one"].attempts[0].end, ev.AttemptInterrupted)
    assert [task.status for task in after.tasks.values()] == [TaskStatus.LANDED] * 2
    assert after.drives == 1, "the same driver goes on"


def test_i2_what_is_skipped_and_tried_again_while_it_is_checked_lands_after_what_landed_before_it(
    repo: Path, otto: Otto
) -> None:
    """One landing is under way at a time, whatever becomes of the task that it was for."""
    held = {"each": [otto.hold("check")]}
    run = otto.build(writes("one"), otto.holds("two"), until="check", verify=held)
    otto.let_go("two")
    until(lambda: newest(repo).tasks["two"].status is TaskStatus.PRODUCED)
    lock = repo / ".git/refs/heads/otto/test.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()  # what publishes waits for it, which leaves time for another landing
    repository = GitRepository.discover(repo)
    decide_on(repository, run.id, skip_one)
    until(lambda: any(stored.event.type == "task_skipped" for stored in journalled(repo, run)))
    decide_on(repository, run.id, lambda now: retry(now, "one", PERSON))
    until(lambda: len(newest(repo).tasks["one"].attempts) == 2)
    otto.let_go("check")
    assert otto.ended() == ExitCode.OK
    events = [stored.event for stored in journalled(repo, run)]
    landings = [event.type for event in events if isinstance(event, ev.LandingStarted | ev.LandingApplied)]
    assert landings == ["landing_started", "landing_applied"] * 2
    assert git(repo, "rev-parse", run_ref(run.id, "tip")) == newest(repo).tip


def journalled(repo: Path, run: Run) -> list[Stored]:
    with Journal.open(GitRepository.discover(repo).store / STORE) as journal:
        return list(journal.events(run.id))


SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40))]


@pytest.mark.parametrize("seed", SEEDS)
def test_i2_r_x6_whatever_a_person_decides_and_when_what_landed_is_on_the_branch_once(
    repo: Path, otto: Otto, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"t{number}" for number in range(6)]
    tasks = [
        feature(
            name,
            f"sleep 0.{chance.randrange(5)}; echo {name} > {name}.txt; {chance.choice(['', 'exit 1'])}",
            depends_on=chance.sample(names[:number], min(number, chance.randrange(2))),
            max_attempts=2,
        )
        for number, name in enumerate(names)
    ]
    plan = write_plan(repo, *tasks, verify={"each": ["sleep 0.1"], "final": ["sleep 0.1"]})
    otto.process = otto.start("build", "--plan", str(plan))
    until(lambda: bool(runs_of(repo)))
    repository, decisions = GitRepository.discover(repo), 0
    while otto.process.poll() is None:
        time.sleep(chance.random() * 0.15)
        name, verb = chance.choice(names), chance.choice([skip, retry, retry])
        if decisions < 40:
            with suppress(UsageError):  # the state forbids it, as it may
                decide_on(repository, newest(repo).id, partial(together, verb, names={name}, by=PERSON))
                decisions += 1
    assert otto.ended() in (ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.WAITING)
    run = newest(repo)
    told = "--format=%(trailers:key=Otto-Task,valueonly,separator=)"
    tip = run_ref(run.id, "tip")
    on_branch = git(repo, "log", "--first-parent", told, f"{run.start.base}..{tip}").split()
    landed = [name for name, task in run.tasks.items() if task.status is TaskStatus.LANDED]
    assert sorted(on_branch) == sorted(landed)
    assert carriers(run) == []
    assert resume(repository, run.id, Limits()).outcome.is_final


def runs_of(repo: Path) -> list[str]:
    journal = Journal.read(GitRepository.discover(repo).store / STORE)
    if journal is None:
        return []
    with journal:
        return journal.run_ids()
