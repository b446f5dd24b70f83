"""The life of a run without a clock, disk, agent or Git: a driver that makes every effect up.

It does what `decide` names, in an order and with results that the test chooses, and checks the invariants
after each event.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Literal

from msgspec import structs

from otto_core import events as ev
from otto_core.model import Outcome, Reason, ReasonKind, TaskStatus, Telemetry, Verdict
from otto_core.scheduler import CheckFinally, Finish, Land, Pause, Settle, StartAttempt, decide, retry_or_hold
from otto_core.state import Run
from otto_core.transitions import apply
from planner.canonical import plan_id
from planner.model import Plan

Result = Literal["produced", "failed", "unchanged", "interrupted"]
Verdicts = Literal["land", "reject", "lose"]

SETTINGS = ev.RunSettings(
    concurrency=2,
    wall_s=None,
    grace_s=1,
    max_file_bytes=1,
    verify_timeout_s=1,
    locks="unlocked",
    sandbox="subreaper",
)
PERSON = "ada@workshop"
TELEMETRY = Telemetry(duration_s=0, missing="test")


def oid(*parts: object) -> str:
    return sha1(repr(parts).encode()).hexdigest()


def begin(
    plan: Plan, *, settings: ev.RunSettings = SETTINGS, contracts: dict[str, str | None] | None = None
) -> Run:
    started = ev.RunStarted(
        intent="Test",
        slug="test",
        base=plan.base,
        branch="otto/test",
        settings=settings,
        driver="1@test",
        contracts=contracts or {},
    )
    run = apply(Run("r-20261120-test"), started)
    return apply(run, ev.PlanStored(revision=1, plan_id=plan_id(plan), plan=plan))


@dataclass
class Simulation:
    """A run and the events that made it. `ready` lists the effects that may happen next."""

    run: Run
    events: list[ev.Event] = field(default_factory=list)
    deliver: dict[str, dict[str, str | None]] = field(default_factory=dict)
    contended: set[str] = field(default_factory=set)

    def record(self, *events: ev.Event) -> None:
        for event in events:
            before = self.run
            self.run = apply(self.run, event)
            self.events.append(event)
            check_invariants(before, self.run)

    def contend(self, name: str, at_s: float = 0.0) -> None:
        """Let a task find that another run is writing its paths."""
        before = self.run.tasks
        self.contended.add(name)
        self.record(a_contention(name, at_s))
        assert self.run.tasks == before, "G3: contention leaves every status alone"

    def free(self, name: str) -> None:
        """Let the other run release what a task waits for."""
        self.contended.remove(name)
        self.record(ev.LockFreed(task=name))

    def attempt(self, name: str, result: Result) -> None:
        self.start(name)
        self.finish(name, result)

    def start(self, name: str) -> None:
        run = self.run
        number = len(run.tasks[name].attempts) + 1
        stored = run.stored[0]
        revision, identity = stored.revision, stored.plan_id
        if number > 1:
            plan = structs.replace(stored.plan, parent=stored.plan_id, tasks=(stored.plan.task(name),))
            revision, identity = run.revision + 1, plan_id(plan)
            self.record(ev.PlanStored(revision=revision, plan_id=identity, plan=plan))
        self.record(
            ev.AttemptStarted(
                task=name,
                attempt=number,
                revision=revision,
                plan_id=identity,
                base=run.tip,
                contracts=dict(run.contracts),
                prompt_digest="",
                agent="command",
                log="log",
            )
        )

    def finish(self, name: str, result: Result) -> None:
        number = len(self.run.tasks[name].attempts)
        match result:
            case "produced":
                self.record(
                    ev.AttemptProduced(
                        task=name,
                        attempt=number,
                        snapshot=oid("snapshot", name, number),
                        tree=oid("tree", name, number),
                        changed=1,
                        telemetry=TELEMETRY,
                    )
                )
            case "failed":
                self.record(
                    ev.AttemptFailed(
                        task=name,
                        attempt=number,
                        reason=a_reason(ReasonKind.AGENT_FAILED),
                        then=retry_or_hold(self.run.tasks[name], self.run),
                        snapshot=None,
                        telemetry=TELEMETRY,
                    )
                )
            case "unchanged":
                self.record(ev.AttemptUnchanged(task=name, attempt=number, telemetry=TELEMETRY))
            case "interrupted":
                self.record(
                    ev.AttemptInterrupted(task=name, attempt=number, snapshot=None, telemetry=TELEMETRY)
                )

    def land(self, name: str, how: Verdicts = "land") -> None:
        run = self.run
        number = len(run.tasks[name].attempts)
        tree = oid("merged", run.tip, name, number)
        if how == "reject":
            self.record(
                ev.LandingRejected(
                    task=name,
                    attempt=number,
                    reason=a_reason(ReasonKind.VERIFY_FAILED),
                    then=retry_or_hold(run.tasks[name], run),
                )
            )
            return
        for command in (*run.spec(name).verify, *run.plan.verify.each):
            self.record(ev.Checked(task=name, attempt=number, verdict=a_verdict(command.text, tree)))
        candidate = oid("commit", run.tip, name, number)
        self.record(
            ev.LandingStarted(
                task=name,
                attempt=number,
                expected_tip=run.tip,
                candidate=candidate,
                tree=tree,
                strategy="tree",
            )
        )
        if how == "lose":
            self.record(ev.LandingLost(task=name, attempt=number))
            return
        contracts = {**run.contracts, **self.deliver.get(name, {})}
        self.record(ev.LandingApplied(task=name, attempt=number, commit=candidate, contracts=contracts))

    def to_the_end(
        self,
        attempt: Callable[[str], Result] = lambda _: "produced",
        land: Callable[[str], Verdicts] = lambda _: "land",
    ) -> Run:
        """Do the first thing that `decide` names until nothing is left."""
        for _ in range(10_000):
            actions = decide(self.run, 0.0)
            if not actions:
                assert self.run.outcome is not Outcome.RUNNING, "the run is stuck"
                return self.run
            match actions[0]:
                case StartAttempt(task):
                    self.attempt(task, attempt(task))
                case Land(task):
                    self.land(task, land(task))
                case Settle(task, reason):
                    self.record(ev.TaskFailed(task=task, reason=reason))
                case CheckFinally():
                    self.record(ev.FinalChecked(tip=self.run.tip, regressed=(), known=()))
                case Pause(outcome, message):
                    self.record(ev.RunPaused(outcome=outcome, message=message))
                case Finish(outcome):
                    self.record(ev.RunFinished(outcome=outcome))
        raise AssertionError("the run does not end")


def a_contention(name: str, at_s: float = 0.0) -> ev.LockContended:
    return ev.LockContended(
        elapsed_s=at_s,
        task=name,
        pattern=f"{name}/**",
        holder_run="r-20261120-othr",
        holder_task="theirs",
        holder="4711@workshop",
        holder_pattern="**",
    )


def a_reason(kind: ReasonKind) -> Reason:
    return Reason(kind=kind, message="made up")


def a_verdict(command: str, tree: str, result: Literal["passed", "failed"] = "passed") -> Verdict:
    return Verdict(
        command=command,
        scope="each",
        tree=tree,
        digest="d",
        result=result,
        exit_code=0 if result == "passed" else 1,
        duration_s=0,
        log="log",
    )


def check_invariants(before: Run, after: Run) -> None:
    """Check what must hold in every state, whatever led to it."""
    for name, task in after.tasks.items():
        old = before.tasks.get(name)
        if old and old.status is TaskStatus.LANDED:
            assert task.status is TaskStatus.LANDED, f"I2: {name} left landed"
            assert task.commit == old.commit, f"I2: {name} landed twice"
        if task.status is TaskStatus.RUNNING:
            spec = after.spec(name)
            unmet = [n for n in spec.after if not after.tasks[n].status.satisfies]
            assert not unmet, f"I5: {name} runs before {unmet}"
            stored = {p.revision for p in after.stored}
            assert task.attempts[-1].start.revision in stored, "I1: no stored plan"
        assert task.counted - task.forgiven <= after.spec(name).max_attempts, f"I9: {name} is tried too often"
        ended = task.attempts[:-1] if task.status is TaskStatus.RUNNING else task.attempts
        assert all(attempt.end is not None for attempt in ended), f"I12: {name} has an attempt without an end"
        if task.status.ended_badly:
            assert task.reason is not None, f"{name} failed without a reason"
    assert_indexes(after)


def assert_indexes(run: Run) -> None:
    """Compare the indexes of a run with what its tasks say."""
    by = {status: {n for n, t in run.tasks.items() if t.status is status} for status in TaskStatus}
    assert run.running == by[TaskStatus.RUNNING]
    assert set(run.queue) == by[TaskStatus.PRODUCED]
    assert ({run.landing} if run.landing else set()) == by[TaskStatus.LANDING]
    assert set(run.held) == by[TaskStatus.HELD]
    assert set(run.ready) == {n for n in by[TaskStatus.PENDING] if run.tasks[n].unmet == 0}
    assert set(run.contended) <= by[TaskStatus.PENDING]
    assert run.unsettled == sum(not t.status.settled for t in run.tasks.values())
