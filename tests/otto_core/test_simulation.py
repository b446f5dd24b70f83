"""Random histories of a run: kills, recoveries, second drivers, people, clocks; I1 to I14 after each step.

The pure core is the real one; all around it is made up (`world`, `fake_driver`). A history that fails is
shrunk, and printed with how to replay it. For more of them: `python -m tests.otto_core.simulate`.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from otto_core.events import Event, LandingApplied
from otto_core.model import TaskStatus
from otto_core.state import Run, bad_predecessors
from tests.otto_core.history import PLANS, History

PICK = st.integers(0, 63)
STEPS = st.integers(1, 12)
VERB = st.sampled_from((0, 1, 0, 1, 2, 0, 3))
"""Retry, skip, approve, cancel: the last but seldom, as it ends a run."""
FAR = st.integers(0, 30)
"""How far all goes well before something else happens."""

SETTINGS = settings(
    max_examples=500,
    stateful_step_count=30,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def when(holds: Callable[[History], object]) -> Callable[[Any], Any]:
    """Let a rule be taken only where it means something."""
    return precondition(lambda machine: bool(holds(machine.history)))


class Life(RuleBasedStateMachine):
    """The life of a run: every rule is one thing that may happen to it."""

    steps = 0
    histories = 0

    @initialize(
        plan=st.integers(0, len(PLANS) - 1),
        concurrency=st.integers(1, 3),
        limits=st.integers(0, 11),
        order=st.integers(0, 63),
        troubles=st.integers(0, 7),
    )
    def begin(self, plan: int, concurrency: int, limits: int, order: int, troubles: int) -> None:
        Life.histories += 1
        self.history = History(plan, concurrency, limits, order)
        self.ending = plan + limits
        self.sound = True
        self.people, self.pushed, self.robbed = (bool(troubles & bit) for bit in (1, 2, 4))

    def take(self, step: Callable[[], None]) -> None:
        """Do something, and check every invariant."""
        Life.steps += 1
        self.sound = False
        step()
        self.history.check()
        self.sound = True

    def teardown(self) -> None:
        """Bring the run to its end without further faults; where something failed before, leave it."""
        if getattr(self, "sound", False):
            self.history.to_the_end(self.ending)

    # --- drivers: what they dispatch, land, journal

    @when(lambda history: history.drivers)
    @rule(pick=PICK, steps=STEPS)
    def drive(self, pick: int, steps: int) -> None:
        self.take(lambda: self.history.drive(0, pick, steps))

    @when(lambda history: history.drivers)
    @rule(pick=PICK, steps=FAR)
    def live(self, pick: int, steps: int) -> None:
        self.take(lambda: self.history.live(pick, steps))

    @when(lambda history: len(history.drivers) > 1)
    @rule(pick=PICK, steps=STEPS)
    def drive_one_that_lost_its_lock(self, pick: int, steps: int) -> None:
        self.take(lambda: self.history.drive(1 + pick, pick, steps))

    @when(lambda history: history.drivers)
    @rule(pick=PICK, far=FAR, orphans=st.booleans())
    def kill(self, pick: int, far: int, *, orphans: bool) -> None:
        def kill() -> None:
            self.history.live(pick, far)
            if self.history.drivers:
                self.history.kill(pick, orphans=orphans)

        self.take(kill)

    @when(lambda history: history.world.driven_by is None and not history.run.outcome.is_final)
    @rule(more=st.booleans(), steps=FAR)
    def recover(self, steps: int, *, more: bool) -> None:
        def recover() -> None:
            self.history.resume(more=more)
            self.history.live(0, steps)

        self.take(recover)

    @when(lambda history: history.drivers)
    @rule(pick=PICK)
    def interrupt(self, pick: int) -> None:
        self.take(lambda: self.history.interrupt(pick))

    @when(lambda history: history.drivers)
    @rule()
    def second_driver(self) -> None:
        self.take(self.history.second)

    @precondition(lambda machine: machine.robbed)
    @when(lambda history: history.drivers)
    @rule(pick=PICK)
    def second_driver_without_a_lock_in_its_way(self, pick: int) -> None:
        def robbed() -> None:
            self.history.live(pick, pick // 2)
            self.history.lose_lock()
            if not self.history.run.outcome.is_final:
                self.history.resume(more=False)
                self.history.drive(0, pick, pick % 8 + 1)

        self.take(robbed)

    # --- what executes

    @when(lambda history: history.executing(attempts=True))
    @rule(pick=PICK)
    def write(self, pick: int) -> None:
        self.take(lambda: self.history.write(pick))

    @when(lambda history: history.executing(attempts=True))
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        self.take(lambda: self.history.finish(pick))

    @when(lambda history: history.executing(attempts=True))
    @rule(pick=PICK)
    def work(self, pick: int) -> None:
        self.take(lambda: self.history.work(pick))

    @when(lambda history: history.executing(attempts=True))
    @rule(pick=PICK)
    def fail(self, pick: int) -> None:
        self.take(lambda: self.history.fail(pick))

    @when(lambda history: history.executing(attempts=False))
    @rule(pick=PICK, passes=st.booleans())
    def verdict(self, pick: int, *, passes: bool) -> None:
        self.take(lambda: self.history.verdict(pick, passes=passes))

    # --- people

    @precondition(lambda machine: machine.people)
    @rule(verb=VERB, task=PICK)
    def decide(self, verb: int, task: int) -> None:
        self.take(lambda: self.history.decide(verb, task))

    @when(lambda history: history.pending)
    @rule()
    def say(self) -> None:
        self.take(self.history.say)

    @precondition(lambda machine: machine.people)
    @rule(verb=VERB, task=PICK, far=FAR)
    def decide_at_once(self, verb: int, task: int, far: int) -> None:
        def both() -> None:
            self.history.live(task, far)
            self.history.decide(verb, task)
            self.history.say()

        self.take(both)

    @precondition(lambda machine: machine.people)
    @when(lambda history: history.drivers)
    @rule(pick=PICK, far=FAR)
    def let_a_task_fail_and_try_it_again(self, pick: int, far: int) -> None:
        def both() -> None:
            self.history.fail_for_good(pick)
            self.history.live(pick, far)
            self.history.try_again(pick)

        self.take(both)

    @precondition(lambda machine: machine.pushed)
    @rule(pick=PICK, far=FAR)
    def external_push(self, pick: int, far: int) -> None:
        def push() -> None:
            self.history.live(pick, far)
            self.history.push(pick)

        self.take(push)

    @precondition(lambda machine: machine.pushed)
    @when(lambda history: history.drivers)
    @rule(pick=PICK, steps=st.integers(1, 4))
    def kill_while_a_task_lands_and_push(self, pick: int, steps: int) -> None:
        def wreck() -> None:
            history = self.history
            for _ in range(60):
                if not history.drivers or history.run.landing:
                    break
                history.live(pick, 1)
            history.live(pick, steps)
            while history.drivers:
                history.kill(0, orphans=bool(pick % 2))
            history.push(pick)

        self.take(wreck)

    @rule(pick=PICK)
    def use_the_result_branch(self, pick: int) -> None:
        self.take(lambda: self.history.meddle(pick))

    # --- other runs, and time

    @rule(pick=PICK)
    def contend(self, pick: int) -> None:
        self.take(lambda: self.history.contend(pick))

    @rule()
    def neighbour(self) -> None:
        self.take(self.history.neighbour)

    @rule(seconds=st.integers(0, 100))
    def time_passes(self, seconds: int) -> None:
        self.take(lambda: self.history.tick(float(seconds)))

    @rule(pick=PICK)
    def clock_jump(self, pick: int) -> None:
        self.take(lambda: self.history.jump(pick))


def no_driver_is_ever_overtaken(_seen: object, _head: object, _events: object) -> bool:
    return False


def nothing_is_salvaged(_run: object) -> tuple[()]:
    return ()


def every_started_landing_happened(
    run: Run, _tip: object, contracts: dict[str, str | None]
) -> tuple[Event, ...]:
    name = run.landing or ""
    landing = run.tasks[name].landing
    commit = landing.candidate if landing else ""
    attempt = len(run.tasks[name].attempts)
    return (LandingApplied(task=name, attempt=attempt, commit=commit, contracts=dict(contracts)),)


def what_is_reopened_follows_the_order_of_the_file(run: Run, name: str) -> list[str]:
    reopened = [name]
    for spec in run.plan.tasks:
        task, before = run.tasks[spec.id], bad_predecessors(run, spec.id)
        failed = task.status is TaskStatus.FAILED and task.reason and task.reason.kind.is_consequence
        if failed and before and set(reopened).issuperset(before):
            reopened.append(spec.id)
    return reopened[1:]


FAULTS: dict[str, tuple[Callable[..., object], str]] = {
    "otto_core.journal._is_overtaken": (no_driver_is_ever_overtaken, "I10"),
    "tests.otto_core.fake_driver.unfinished": (nothing_is_salvaged, "I9"),
    "otto_core.decisions._consequences": (what_is_reopened_follows_the_order_of_the_file, "any more"),
    "tests.otto_core.fake_reconcile.resolve": (every_started_landing_happened, "X3"),
}
"""Mistakes that a core could make, by what each of them replaces, and what they are found by."""


@pytest.mark.parametrize("place", FAULTS)
def test_the_simulation_finds_a_mistake_in_the_core(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake, told = FAULTS[place]
    monkeypatch.setattr(place, mistake)
    quick = settings(SETTINGS, max_examples=2000, phases=[Phase.generate], derandomize=False)
    with pytest.raises(AssertionError, match=told):
        run_state_machine_as_test(seed(3)(Life), settings=quick)


def test_i1_to_i14_hold_after_every_step_of_any_history_and_every_run_ends() -> None:
    run_state_machine_as_test(Life, settings=SETTINGS)
