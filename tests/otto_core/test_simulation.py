"""Random histories of a run: kills, recoveries, second drivers, people, clocks; I1 to I15 after each step.

The pure core is the real one; all around it is made up (`world`, `fake_driver`). A history that fails is
shrunk, and printed with how to replay it. For more of them: `python -m tests.otto_core.simulate`.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.otto_core.history import PLANS, History

PICK = st.integers(0, 63)
STEPS = st.integers(1, 12)

SETTINGS = settings(
    max_examples=500,
    stateful_step_count=40,
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

    @initialize(plan=st.integers(0, len(PLANS) - 1), concurrency=st.integers(1, 3), limits=st.integers(0, 11))
    def begin(self, plan: int, concurrency: int, limits: int) -> None:
        Life.histories += 1
        self.history = History(plan, concurrency, limits)
        self.ending = plan + limits
        self.sound = True

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
    @rule(pick=PICK)
    def drive_a_little(self, pick: int) -> None:
        self.take(lambda: self.history.drive(0, pick, 1))

    @when(lambda history: len(history.drivers) > 1)
    @rule(pick=PICK, steps=STEPS)
    def drive_one_that_lost_its_lock(self, pick: int, steps: int) -> None:
        self.take(lambda: self.history.drive(1 + pick, pick, steps))

    @when(lambda history: history.drivers)
    @rule(pick=PICK, orphans=st.booleans())
    def kill(self, pick: int, *, orphans: bool) -> None:
        self.take(lambda: self.history.kill(pick, orphans=orphans))

    @when(lambda history: history.world.driven_by is None and not history.run.outcome.is_final)
    @rule(more=st.booleans(), steps=STEPS)
    def recover(self, steps: int, *, more: bool) -> None:
        def recover() -> None:
            self.history.resume(more=more)
            self.history.drive(0, 0, steps)

        self.take(recover)

    @when(lambda history: history.drivers)
    @rule(pick=PICK)
    def interrupt(self, pick: int) -> None:
        self.take(lambda: self.history.interrupt(pick))

    @when(lambda history: history.drivers)
    @rule()
    def second_driver(self) -> None:
        self.take(self.history.second)

    @when(lambda history: history.drivers)
    @rule(pick=PICK)
    def second_driver_without_a_lock_in_its_way(self, pick: int) -> None:
        def robbed() -> None:
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

    @rule(verb=st.integers(0, 3), task=PICK)
    def decide(self, verb: int, task: int) -> None:
        self.take(lambda: self.history.decide(verb, task))

    @when(lambda history: history.pending)
    @rule()
    def say(self) -> None:
        self.take(self.history.say)

    @rule(verb=st.integers(0, 3), task=PICK)
    def decide_at_once(self, verb: int, task: int) -> None:
        def both() -> None:
            self.history.decide(verb, task)
            self.history.say()

        self.take(both)

    @rule(pick=PICK)
    def external_push(self, pick: int) -> None:
        self.take(lambda: self.history.push(pick))

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


def test_i1_to_i15_hold_after_every_step_of_any_history_and_every_run_ends() -> None:
    run_state_machine_as_test(Life, settings=SETTINGS)
