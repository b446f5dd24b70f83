"""One history of a run: what may happen to it, rule by rule, and how it is brought to its end.

Each rule takes numbers and does one thing; where it means nothing at the moment, `possible` says so. The same
numbers make the same history.
"""

from collections.abc import Callable
from random import Random

from msgspec import structs

from otto_core import events as ev
from otto_core.decisions import Decision, Refused, approve, cancel, retry, skip
from otto_core.journal import Appended
from otto_core.model import Outcome, TaskStatus
from otto_core.recovery import tip_after
from otto_core.state import Run
from planner.model import Contract, Plan
from tests.otto_core.fake_driver import FakeDriver
from tests.otto_core.fake_reconcile import reconcile
from tests.otto_core.invariants import Invariants
from tests.otto_core.plans import BASE, a_plan, a_task
from tests.otto_core.simulation import PERSON, SETTINGS
from tests.otto_core.world import TIP, Commit, Journal, Process, World

_SCHEMA = Contract(id="schema", paths=("schema.py",))

PLANS: tuple[Plan, ...] = (
    a_plan(a_task("a"), a_task("b", "a")),
    a_plan(a_task("a", max_attempts=1), a_task("b"), a_task("c", "a", "b"), each=("each",)),
    a_plan(
        a_task("model", role="foundation", provides=("schema",)),
        a_task("one", "model", verify=("own",)),
        a_task("two", "model", "one", allow_empty=True),
        contracts=(_SCHEMA,),
    ),
    a_plan(
        a_task("a", allow_empty=True),
        a_task("b", "a", max_attempts=3),
        a_task("c", "a"),
        a_task("d", "b", "c"),
        final=("journey",),
    ),
    a_plan(*(a_task(name, max_attempts=1) for name in "abcd"), each=("each",), baseline=False),
    a_plan(
        a_task("base", role="foundation", max_attempts=1),
        a_task("left", "base"),
        a_task("right", "base"),
        a_task("far", "left", "right", "base"),
        a_task("free"),
        each=("each",),
        final=("journey",),
    ),
)

_WALLS = (None, 120.0)
_WAITS = (0.0, 60.0, None)
_JUMPS = (-86_400.0, 3_600.0, 1e9, -1e9)


class History:
    """A world, the drivers in it, and the people around it."""

    def __init__(self, plan: int = 0, concurrency: int = 2, limits: int = 0, order: int = 0) -> None:
        chosen = PLANS[plan % len(PLANS)]
        tasks = list(chosen.tasks)
        Random(order).shuffle(tasks)  # a file may list them in any order
        chosen = structs.replace(chosen, tasks=tuple(tasks))
        self.settings = structs.replace(
            SETTINGS,
            concurrency=concurrency,
            locks="held",
            wall_s=_WALLS[limits % 2],
            lock_wait_s=_WAITS[limits // 2 % 3],
        )
        self.world = World(base_passes=limits % 4 != 3)
        started = ev.RunStarted(
            elapsed_s=0.0,
            intent="Test",
            slug="test",
            base=BASE,
            branch="otto/test",
            settings=self.settings,
            driver="1@test",
            contracts={contract.id: None for contract in chosen.contracts},
        )
        author = object()
        self.world.begin(chosen, started, author)
        first = FakeDriver(self.world, self.settings, 1)
        self.world.driven_by = first
        self.drivers = [first]
        self.begun = 1
        self.pending: tuple[Callable[[Run], Decision], Run, tuple[ev.Event, ...]] | None = None
        self.invariants = Invariants(self.world, author)

    # --- what is there

    @property
    def run(self) -> Run:
        """The run as the journal has it."""
        return self.world.run

    @property
    def driver(self) -> FakeDriver | None:
        """Who drives the run, or was the last to begin to."""
        return self.drivers[-1] if self.drivers else None

    def executing(self, *, attempts: bool) -> list[Process]:
        """List the living attempts, or the living checks."""
        return self.world.alive(attempts=attempts)

    def check(self) -> None:
        """Check every invariant on what has happened since the last time."""
        self.drivers = [driver for driver in self.drivers if not driver.ended]
        self.invariants.check()

    # --- the drivers

    def drive(self, who: int, pick: int, steps: int) -> None:
        """A driver goes on for some steps."""
        driver = self.drivers[-1 - who % len(self.drivers)]
        for step in range(steps):
            driver.go_on(pick + step)
            self.check()

    def live(self, pick: int, steps: int) -> None:
        """All goes well for some steps: what executes comes to a good end whenever no driver can go on."""
        for step in range(steps if self.drivers else 0):
            if not self._onward(pick + step):
                return
            self.check()

    def kill(self, who: int, *, orphans: bool) -> None:
        """A driver is killed; in a namespace of their own, its processes die with it."""
        driver = self.drivers.pop(-1 - who % len(self.drivers))
        driver.kill()
        if not orphans:
            self.end_all(driver)

    def end_all(self, driver: FakeDriver) -> None:
        for process in self.world.alive():
            if process.driver is driver:
                process.code = -9

    def interrupt(self, who: int) -> None:
        """Somebody presses Ctrl-C."""
        self.drivers[-1 - who % len(self.drivers)].interrupt()

    def resume(self, *, more: bool) -> None:
        """Somebody resumes the run, and may give it more time; refused while it is driven, or over."""
        if self.world.driven_by is not None or self.run.outcome.is_final:
            return
        wall_s = self.settings.wall_s
        if more and wall_s is not None:
            self.settings = structs.replace(self.settings, wall_s=wall_s + self.run.elapsed_s)
        self.begun += 1
        driver = FakeDriver(self.world, self.settings, self.begun)
        self.world.driven_by = driver
        self.drivers.append(driver)

    def second(self) -> None:
        """Another driver wants to begin while one drives: it changes nothing."""
        if self.world.driven_by is None:
            return
        before = len(self.world.ledger.stored), dict(self.world.git.refs), self.begun
        self.resume(more=False)
        assert before == (len(self.world.ledger.stored), self.world.git.refs, self.begun), "I10"

    def lose_lock(self) -> None:
        """Somebody takes the lock files away while a driver lives."""
        self.world.driven_by = None
        self.world.meddled = self.world.robbed = True

    # --- what executes

    def write(self, which: int) -> None:
        """What executes for an attempt writes something."""
        self.world.write(self._nth(which, attempts=True))

    def finish(self, which: int) -> None:
        """An attempt ends well; it may have written nothing."""
        self._nth(which, attempts=True).code = 0

    def work(self, which: int) -> None:
        """An attempt does its work and ends well."""
        process = self._nth(which, attempts=True)
        self.world.write(process)
        self.world.write(process)
        process.code = 0

    def fail(self, which: int) -> None:
        """An attempt ends badly."""
        self._nth(which, attempts=True).code = 1

    def fail_for_good(self, which: int) -> None:
        """One task fails in every attempt, until it has failed, and what waits for it; all else goes well."""
        failing: str | None = None
        for _ in range(200):
            for process in self.executing(attempts=True)[which % 2 :]:
                failing = failing or (process.of.task if process.of else None)
                if process.of and process.of.task == failing:
                    process.code = 1
            over = failing is not None and self.run.tasks[failing].status.settled and not self.run.doomed
            if over or not self.drivers:
                return
            self.live(which, 1)

    def verdict(self, which: int, *, passes: bool) -> None:
        """A check comes to its end."""
        self._nth(which, attempts=False).code = 0 if passes else 1

    def _nth(self, which: int, *, attempts: bool) -> Process:
        found = self.executing(attempts=attempts)
        return found[which % len(found)]

    # --- people

    def decide(self, verb: int, task: int) -> None:
        """A person looks at the run and decides; what is decided is journalled later."""
        name = list(self.run.tasks)[task % len(self.run.tasks)]
        verbs: tuple[Callable[[Run], Decision], ...] = (
            lambda run: retry(run, name, PERSON),
            lambda run: skip(run, name, PERSON),
            lambda run: approve(run, name, PERSON),
            lambda run: cancel(run, PERSON),
        )
        chosen = verbs[verb % len(verbs)]
        decision = chosen(self.run)
        if not isinstance(decision, Refused):
            self.pending = (chosen, self.run, decision)

    def try_again(self, which: int) -> None:
        """A person has a task tried again that failed on its own account."""
        failed = [
            number
            for number, task in enumerate(self.run.tasks.values())
            if task.status is TaskStatus.FAILED and task.reason and not task.reason.kind.is_consequence
        ]
        if failed:
            self.decide(0, failed[which % len(failed)])
            self.say()

    def say(self) -> None:
        """What a person decided is journalled, unless the run has moved: then it is decided anew, at once."""
        if self.pending is None:
            return
        chosen, seen, events = self.pending
        self.pending = None
        journal = Journal(self.world.ledger, "a person")
        while not isinstance(outcome := journal.append(seen, events), Appended):
            seen = self.run
            decision = chosen(seen)
            if isinstance(decision, Refused):
                return
            events = decision
        if tip_after(outcome.run) and self.world.driven_by is None:
            for _ in reconcile(self.world, journal, outcome.run):
                pass

    def push(self, how: int) -> None:
        """Somebody moves or deletes the run's tip, or sets it back to what the journal has."""
        git = self.world.git
        tip = git.refs.get(TIP)
        alien = git.commit(Commit(self.world.name("alien"), (tip,) if tip and how % 2 else ()))
        values = (self.run.tip, None, alien.id, self.run.start.base, alien.id)
        git.move(TIP, values[how % len(values)], by_otto=False)
        self.world.meddled = True

    def meddle(self, how: int) -> None:
        """Somebody uses the result branch as their own: checks it out, leaves it, moves it, deletes it."""
        git, ref = self.world.git, f"refs/heads/{self.run.branch}"
        match how % 4:
            case 0:
                git.checked_out = self.run.branch
            case 1:
                git.checked_out = None
            case 2:
                alien = git.commit(Commit(self.world.name("alien")))
                git.move(ref, alien.id, by_otto=False)
            case _:
                git.move(ref, None, by_otto=False)

    def contend(self, task: int) -> None:
        """A task of another run begins to write the paths of one of this run's, or is done with them."""
        name = list(self.run.tasks)[task % len(self.run.tasks)]
        if name in self.world.theirs:
            self.world.theirs.discard(name)
        elif name not in self.world.write_sets:
            self.world.theirs.add(name)

    def neighbour(self) -> None:
        """Another run uses a worktree of the pool, and gives it back; and it journals something."""
        slot = self.world.lend(self)
        self.world.reset(slot)
        slot.holder = None
        self.world.ledger.seq += 1

    # --- time

    def tick(self, seconds: float) -> None:
        """Time passes; it counts while anybody drives."""
        self.world.clock_s += seconds
        self.world.wall_s += seconds
        if self.drivers:
            self.world.driven_s += seconds

    def jump(self, how: int) -> None:
        """Somebody sets the wall clock."""
        self.world.wall_s += _JUMPS[how % len(_JUMPS)]

    # --- the end

    def to_the_end(self, pick: int = 0) -> None:
        """Let nothing go wrong any more: the run has to come to its end, with all that it promises (I9)."""
        self.say()
        self.world.theirs.clear()
        self.world.git.checked_out = None
        for _ in range(3_000):
            self.check()
            if not self.drivers:
                if self.run.outcome.is_final:
                    break
                self._help(pick)
            elif not self._onward(pick):
                self.tick(30.0)
        else:
            raise AssertionError(f"I9: the run does not end: {self.run.outcome}, {self.run.paused}")
        self.invariants.check_end()

    def _onward(self, pick: int) -> bool:
        """Take any step that can be taken, of what executes if no driver can go on."""
        for driver in reversed(self.drivers):
            if driver.movable():
                driver.go_on(pick)
                return True
        for process in self.world.alive():
            if process.slot is not None:
                self.world.write(process)
                self.world.write(process)
            process.code = 0
            return True
        return False

    def _help(self, pick: int) -> None:
        """Do what a paused run asks a person for, as it says how, and resume it."""
        run = self.run
        assert self.begun < 60, f"I9: resumed {self.begun} times, and still {run.outcome}: {run.paused}"
        unknown = run.tasks[run.landing].undetermined if run.landing else None
        if unknown and run.tasks[unknown.task].decided is None:
            self.decide((0, 1, 2)[pick % 3], list(run.tasks).index(unknown.task))
            self.say()
        elif run.landing is None and self.world.git.refs.get(TIP) != run.tip:
            self.world.git.move(TIP, run.tip, by_otto=False)
        self.resume(more=run.outcome is Outcome.BUDGET)
