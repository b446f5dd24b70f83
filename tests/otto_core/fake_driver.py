"""A driver in a made-up world: it decides and journals with the real core, and makes every effect up.

It follows `otto_core.driver`, `attempts`, `landing`, `publish` and `reconcile` step by step. Each is a
generator that stops wherever the real one can be cut off. It gives a condition for going on: `free` where the
event loop may turn to other effects first, `instant` where none of this driver's own can come in between.
A driver is killed by never going on with it.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, cast

from msgspec import structs

from otto_core import events as ev
from otto_core.attempts import lost
from otto_core.errors import Locked, OttoError, RepositoryUnusable, UsageError, Waiting
from otto_core.model import Outcome, Reason, ReasonKind, Telemetry
from otto_core.reconcile import append
from otto_core.recovery import astray, obstacle, unfinished
from otto_core.scheduler import (
    Action,
    CheckFinally,
    EndExecution,
    Finish,
    Land,
    Pause,
    Settle,
    StartAttempt,
    decide,
    retry_or_hold,
)
from otto_core.state import Run, is_excused
from otto_core.stop import Stop
from tests.otto_core.fake_reconcile import Condition, free, instant, publish, reconcile
from tests.otto_core.seat import seat
from tests.otto_core.simulation import a_contention, a_reason, a_verdict, oid
from tests.otto_core.world import TIP, Commit, Journal, Process, Slot, Who, World, candidate_ref

Steps = Generator[Condition, None, None]


@dataclass(slots=True)
class Strand:
    """Steps under way, and the condition for the next one."""

    steps: Steps
    ready: Condition = free


class FakeDriver:
    """One driver: its own view of the run, the steps that it has under way, nothing that outlives it."""

    def __init__(self, world: World, settings: ev.RunSettings, number: int) -> None:
        self.world = world
        self.settings = settings
        self.name = f"{number}@test"
        self.journal = Journal(world.ledger, self)
        self.session = seat(world, world.run, self.journal)
        self.effects: dict[Action, Strand] = {}
        self.ended = False
        self.interrupted = False
        self.told: OttoError | None = None
        """What the command says when it ends otherwise than by the run's outcome."""
        self._contended: set[str] = set()
        self._failed: list[OttoError] = []
        self._news = False
        self._holding: Strand | None = None
        self._main = Strand(self._live(resumes=number > 1))

    # --- how it is moved

    def movable(self) -> list[Strand]:
        """List what can go on now."""
        if self.ended:
            return []
        if self._holding is not None:
            return [self._holding]
        return [strand for strand in (self._main, *self.effects.values()) if strand.ready()]

    def go_on(self, pick: int) -> None:
        """Take one step of one of the strands that can go on."""
        strands = self.movable()
        if strands:
            self._advance(strands[pick % len(strands)])

    def interrupt(self) -> None:
        """Ask it to stop, as Ctrl-C does."""
        self.interrupted = True
        self.session.stop.set()

    def kill(self) -> None:
        """End it at this instant."""
        self.ended = True
        self.world.release(self)

    def _advance(self, strand: Strand) -> None:
        try:
            strand.ready = next(strand.steps)
        except StopIteration:
            self._drop(strand)
        except OttoError as error:
            if strand is self._main:
                raise
            self._failed.append(error)
            self._drop(strand)
        else:
            self._holding = strand if strand.ready is instant else None

    def _drop(self, strand: Strand) -> None:
        self._holding = None
        self._news = True
        self.effects = {action: other for action, other in self.effects.items() if other is not strand}

    # --- the life of a driver

    def _live(self, *, resumes: bool) -> Steps:
        yield instant
        try:
            if resumes:
                yield from self._recover()
            yield from self._drive()
        except OttoError as error:
            self.told = error
        yield instant
        self.kill()

    def _drive(self) -> Steps:
        session = self.session
        try:
            while session.run.outcome is Outcome.RUNNING:
                before = session.run
                yield from self._step()
                if session.run is before:
                    yield from self._wait()
        except Waiting as error:
            yield from self._pause(Pause(Outcome.WAITING, error.message, error.hint))
        except OttoError as error:
            self.told = error
            yield from self._wind_down(quietly=True)
            outcome = Outcome.WAITING if isinstance(error, Locked) else Outcome.INTERRUPTED
            try:
                session.append(ev.RunPaused(outcome=outcome, message=error.message, hint=error.hint))
            except OttoError as second:
                self.told = second

    def _step(self) -> Steps:
        session = self.session
        if session.stop.is_set() and not session.run.cancelled:
            yield from self._pause(Pause(Outcome.INTERRUPTED, "interrupted"))
            return
        seen = session.run
        for action in decide(seen, session.elapsed_s, self._contended):
            match action:
                case Settle(task, reason):
                    yield instant
                    session.append(ev.TaskFailed(task=task, reason=reason), seen=seen)
                case Finish(outcome):
                    yield from self._wind_down()
                    yield instant
                    session.append(ev.RunFinished(outcome=outcome), seen=seen)
                case Pause():
                    yield from self._pause(action)
                case EndExecution():
                    yield from self._wind_down()
                case _ if action not in self.effects:
                    self.effects[action] = Strand(self._effect(action, seen))

    def _effect(self, action: StartAttempt | Land | CheckFinally, seen: Run) -> Steps:
        match action:
            case StartAttempt(task):
                return self._attempt(task, seen)
            case Land(task):
                return self._land(task)
            case CheckFinally():
                return self._check_finally()

    def _wait(self) -> Steps:
        """Wait until there is a reason to look again; the real one looks four times a second."""
        session = self.session
        assert self.effects or self._contended or self._news, "nothing is under way and nothing can begin"
        began_s = self.world.clock_s
        self._news = self._news or bool(self._failed)
        yield (
            lambda: (
                self._news
                or session.stop.is_set()
                or self.journal.news
                or self.world.clock_s != began_s
                or not self._contended <= self.world.theirs
            )
        )
        self._news = False
        if self._failed:
            raise self._failed.pop()
        if self.journal.has_news():
            session.catch_up()
        for name in sorted(self._contended):
            if name in self.world.theirs:
                self._meet(name)
            else:
                self._contended.discard(name)
                session.append(ev.LockFreed(task=name))
            yield instant

    def _meet(self, name: str) -> None:
        known = self.session.run.contended.get(name)
        if name not in self._contended or known is None:
            self._contended.add(name)
            self.session.append(structs.replace(a_contention(name), elapsed_s=None))

    def _pause(self, pause: Pause) -> Steps:
        yield from self._wind_down()
        paused = ev.RunPaused(outcome=pause.outcome, message=pause.message, hint=pause.hint)
        yield instant
        while self.session.run.outcome is Outcome.RUNNING and not self.session.append(paused):
            yield instant  # what a person decided meanwhile changes nothing about it

    def _wind_down(self, *, quietly: bool = False) -> Steps:
        self.session.stop.set()
        yield lambda: not self.effects
        if not self.interrupted:
            self.session.stop = Stop()
        failed, self._failed = self._failed, []
        if failed and not quietly:
            raise failed[0]

    # --- an attempt

    def _attempt(self, name: str, seen: Run) -> Steps:
        world, session = self.world, self.session
        yield free
        if name in world.theirs:
            self._meet(name)
            return
        world.write_sets[name] = self
        slot = world.lend(self)
        pinned = session.run
        yield free
        world.reset(slot)
        yield free
        started = self._start(name, pinned, seen)
        if started is not None:
            yield instant
            yield from self._execute(started, slot)
        yield instant
        slot.holder = None
        yield free
        world.write_sets.pop(name, None)

    def _start(self, name: str, pinned: Run, seen: Run) -> ev.AttemptStarted | None:
        run = self.session.run
        state, stored = run.tasks[name], run.stored[0]
        events: list[ev.Event] = []
        revision, identity = stored.revision, stored.plan_id
        if state.attempts:
            task = stored.plan.task(name)
            further = structs.replace(stored.plan, parent=stored.plan_id, tasks=(task,))
            revision, identity = run.revision + 1, oid("plan", run.revision + 1)
            events.append(ev.PlanStored(revision=revision, plan_id=identity, plan=further))
        number = len(state.attempts) + 1
        started = ev.AttemptStarted(
            task=name,
            attempt=number,
            revision=revision,
            plan_id=identity,
            base=pinned.tip,
            contracts=dict(pinned.contracts),
            prompt_digest="",
            agent="command",
            log=f"{name}.{number}.log",
        )
        return started if self.session.append(*events, started, seen=seen) else None

    def _execute(self, started: ev.AttemptStarted, slot: Slot) -> Steps:
        world, session = self.world, self.session
        who, seen = Who(started.task, started.attempt), session.run
        slot.note = who
        yield instant
        began_s = world.clock_s
        process = world.spawn(self, who, slot)
        yield lambda: not process.alive or session.stop.is_set()
        stopped = process.alive
        if stopped:
            process.code = -15
        yield free
        snapshot = world.snapshot(slot, who, started.base)
        yield instant
        ended = self._end(started, snapshot, process, stopped=stopped, lasted_s=world.clock_s - began_s)
        yield free
        session.append(ended, seen=seen)
        yield instant
        slot.note = None

    def _end(
        self,
        started: ev.AttemptStarted,
        snapshot: str | None,
        process: Process,
        *,
        stopped: bool,
        lasted_s: float,
    ) -> ev.AttemptEnd:
        run, name, number = self.session.run, started.task, started.attempt
        telemetry = Telemetry(duration_s=lasted_s, missing="a command tells nothing of it")
        if stopped:
            return ev.AttemptInterrupted(task=name, attempt=number, snapshot=snapshot, telemetry=telemetry)
        if process.code == 0 and snapshot:
            tree = self.world.git.commits[snapshot].tree
            return ev.AttemptProduced(
                task=name, attempt=number, snapshot=snapshot, tree=tree, changed=1, telemetry=telemetry
            )
        if process.code == 0 and run.spec(name).allow_empty:
            return ev.AttemptUnchanged(task=name, attempt=number, telemetry=telemetry)
        return ev.AttemptFailed(
            task=name,
            attempt=number,
            reason=a_reason(ReasonKind.AGENT_FAILED if process.code else ReasonKind.NO_CHANGE),
            then=retry_or_hold(run.tasks[name], run),
            snapshot=snapshot,
            telemetry=telemetry,
        )

    # --- a landing

    def _land(self, name: str) -> Steps:
        session = self.session
        while (produced := session.run.tasks[name].produced) and name in session.run.queue:
            seen = session.run
            yield free
            candidate = self._candidate(name, produced)
            yield free
            verdicts: list[Reason | None] = []
            yield from self._check(name, produced, candidate, verdicts)
            if not verdicts:
                return  # it is stopping; the check has no verdict
            if reason := verdicts[0]:
                then = retry_or_hold(session.run.tasks[name], session.run)
                rejected = ev.LandingRejected(task=name, attempt=produced.attempt, reason=reason, then=then)
                session.append(rejected, seen=seen)
            else:
                yield from self._mutate(name, produced, candidate, seen)

    def _candidate(self, name: str, produced: ev.AttemptProduced) -> Commit:
        git, run = self.world.git, self.session.run
        tip = git.commits[run.tip]
        chain = git.chain(run.tip, run.start.base) or []
        if any(commit.lands and commit.lands.task == name for commit in chain):
            raise RepositoryUnusable(f"task {name!r} is on the branch, but not in the journal", hint="")
        work, who = git.commits[produced.snapshot].work, Who(name, produced.attempt)
        given = {contract: oid(contract, produced.snapshot) for contract in run.spec(name).provides}
        made = git.commit(
            Commit(
                self.world.name("candidate", name),
                (tip.id, produced.snapshot),
                tree=oid("merged", tip.tree, produced.tree),
                contracts={**tip.contracts, **(given if work % 3 == 2 or not given else {})},
                lands=who,
            )
        )
        git.move(candidate_ref(who), made.id)
        return made

    def _check(
        self, name: str, produced: ev.AttemptProduced, candidate: Commit, verdicts: list[Reason | None]
    ) -> Steps:
        """Run the checks; adds a verdict on the whole unless it is stopped."""
        session, plan = self.session, self.session.run.plan
        for command in (*session.run.spec(name).verify, *plan.verify.each):
            codes: list[int] = []
            yield from self._run_check(Who(name, produced.attempt), codes)
            if not codes:
                return
            result = self._verdict(command.text, candidate.tree, codes[0])
            session.append(ev.Checked(task=name, attempt=produced.attempt, verdict=result))
            if result.result == "passed":
                continue
            known = command.text in session.run.required or command.text in session.run.excused
            if command in plan.verify.each and plan.verify.baseline and not known:
                yield free
                code = 0 if self.world.base_passes else 1
                of_base = self._verdict(command.text, oid("base"), code)
                session.append(ev.Checked(task=None, attempt=None, baseline=True, verdict=of_base))
            if command not in plan.verify.each or not is_excused(session.run, result):
                verdicts.append(a_reason(ReasonKind.VERIFY_FAILED))
                return
        verdicts.append(None)

    def _run_check(self, of: Who | None, codes: list[int]) -> Steps:
        process = self.world.spawn(self, of)
        yield lambda: not process.alive or self.session.stop.is_set()
        if process.code is None:
            process.code = -15
        else:
            codes.append(process.code)

    def _verdict(self, command: str, tree: str, code: int) -> Any:
        if code == 0:
            self.world.passed.add((command, tree))
        return a_verdict(command, tree, "passed" if code == 0 else "failed")

    def _mutate(self, name: str, produced: ev.AttemptProduced, candidate: Commit, seen: Run) -> Steps:
        session, git = self.session, self.world.git
        started = ev.LandingStarted(
            task=name,
            attempt=produced.attempt,
            expected_tip=candidate.parents[0],
            candidate=candidate.id,
            tree=candidate.tree,
            strategy="tree",
        )
        yield instant
        if not session.append(started, seen=seen):
            return
        run = session.run
        yield free
        if not git.swap(TIP, candidate.parents[0], candidate.id):
            yield free
            session.append(ev.LandingLost(task=name, attempt=produced.attempt), seen=run)
            if moved := astray(session.run, git.tip_of(session.run)):
                raise moved
            return
        yield instant
        published = publish(git, run, candidate.id)
        yield free
        applied = ev.LandingApplied(
            task=name,
            attempt=produced.attempt,
            commit=candidate.id,
            contracts=dict(candidate.contracts),
        )
        session.append(applied, published, seen=run)

    def _check_finally(self) -> Steps:
        session = self.session
        run = session.run
        regressed: list[str] = []
        for command in run.plan.verify.final:
            codes: list[int] = []
            yield from self._run_check(None, codes)
            if not codes:
                return
            if codes[0]:
                regressed.append(command.text)
        session.append(ev.FinalChecked(tip=run.tip, regressed=tuple(regressed), known=()))

    # --- recovery

    def _recover(self) -> Steps:
        """Settle what the driver before left half done, and go on; not where only a person can say how."""
        while True:
            yield instant
            run = yield from self.settle(self.world.run)
            if run.outcome.is_final:  # a driver that lost its lock can have brought it there meanwhile
                raise UsageError(f"{run.id} is over", hint=f"otto status {run.id}")
            if run.running:  # and so can what still executes
                continue
            if pause := obstacle(run, self.world.git.tip_of(run)):
                yield instant
                if pause.is_said_of(run):
                    raise Waiting(pause.message, hint=pause.hint)
                append(cast(Any, self.journal), run, pause.event)
                continue
            yield instant
            self.session = seat(self.world, run, self.journal)
            if self.interrupted:
                self.session.stop.set()
            if self.session.append(ev.RunResumed(driver=self.name, settings=self.settings)):
                return

    def settle(self, run: Run) -> Generator[Condition, None, Run]:
        """Settle what a driver left half done; gives the run then."""
        world = self.world
        for slot in [slot for slot in world.slots if slot.note is not None]:
            if slot.holder is not None:
                raise RepositoryUnusable("another driver uses a worktree", hint="wait for it")
            yield instant
            world.salvage(slot)
        for process in world.alive():
            process.code = -9
            yield instant
        for attempt in unfinished(run):
            if attempt in unfinished(run):
                kept = world.kept(Who(attempt.task, attempt.attempt))
                yield instant
                ended = lost(run, attempt, kept, "it is kept" if kept else "it left nothing behind")
                run = append(cast(Any, self.journal), run, ended)
                yield instant
        return (yield from reconcile(self.world, self.journal, run))
