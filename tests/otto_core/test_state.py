"""The state machine: one table of transitions, one `apply`."""

import itertools
from typing import Any

import pytest
from msgspec import structs

from otto_core import events as ev
from otto_core.errors import IllegalTransition
from otto_core.model import Outcome, ReasonKind, TaskStatus, Telemetry
from otto_core.scheduler import StartAttempt, decide
from otto_core.transitions import TRANSITIONS, apply
from tests.otto_core.plans import BASE, a_plan, a_task
from tests.otto_core.simulation import (
    PERSON,
    SETTINGS,
    Simulation,
    a_contention,
    a_reason,
    a_verdict,
    begin,
    oid,
)


def simulation(**options: object) -> Simulation:
    return Simulation(begin(a_plan(a_task("a", **options), a_task("b", "a"))))  # type: ignore[arg-type]


def bring_to(sim: Simulation, status: TaskStatus) -> None:
    """Bring task `a` to a status by legal events."""
    match status:
        case TaskStatus.PENDING:
            return
        case TaskStatus.RUNNING:
            sim.start("a")
        case TaskStatus.PRODUCED:
            sim.attempt("a", "produced")
        case TaskStatus.LANDING:
            sim.attempt("a", "produced")
            sim.record(landing_started(sim))
        case TaskStatus.LANDED:
            sim.attempt("a", "produced")
            sim.land("a")
        case TaskStatus.UNCHANGED:
            sim.attempt("a", "unchanged")
        case TaskStatus.HELD:
            sim.attempt("a", "failed")
            sim.attempt("a", "failed")
        case TaskStatus.FAILED:
            bring_to(sim, TaskStatus.HELD)
            sim.record(ev.TaskFailed(task="a", reason=a_reason(ReasonKind.AGENT_FAILED)))
        case TaskStatus.SKIPPED:
            sim.record(ev.TaskSkipped(task="a", reason=a_reason(ReasonKind.SKIPPED_BY_USER), by=PERSON))
    assert sim.run.tasks["a"].status is status


def test_r_g3_contention_leaves_status_and_version_alone_and_ends_when_the_task_starts() -> None:
    sim = simulation()
    before = sim.run.tasks
    sim.record(a_contention("a"))
    assert sim.run.tasks == before
    assert set(sim.run.contended) == {"a"}
    sim.start("a")
    assert sim.run.contended == {}


def test_contention_of_a_task_that_someone_settled_meanwhile_is_no_news() -> None:
    sim = simulation()
    sim.start("a")
    sim.record(a_contention("a"), ev.LockFreed(task="a"), a_contention("no such task"))
    assert sim.run.contended == {}


def landing_started(sim: Simulation, **changes: str) -> ev.LandingStarted:
    started = ev.LandingStarted(
        task="a",
        attempt=1,
        expected_tip=sim.run.tip,
        candidate=oid("candidate"),
        tree=oid("tree"),
        strategy="tree",
    )
    return structs.replace(started, **changes)


def event_of(kind: type[ev.TaskEvent], sim: Simulation) -> ev.TaskEvent:
    """Make an event of a kind for task `a`, as legal as the state allows."""
    number = len(sim.run.tasks["a"].attempts)
    stored = sim.run.stored[0]
    common: dict[str, Any] = {"task": "a", "attempt": max(number, 1)}
    telemetry = Telemetry(duration_s=0.0, missing="test")
    reason = a_reason(ReasonKind.AGENT_FAILED)
    extra: dict[type[ev.TaskEvent], dict[str, Any]] = {
        ev.AttemptStarted: {
            "attempt": number + 1,
            "revision": 1,
            "plan_id": stored.plan_id,
            "base": BASE,
            "contracts": {},
            "prompt_digest": "",
            "agent": "command",
            "log": "log",
        },
        ev.AttemptProduced: {"snapshot": oid("s"), "tree": oid("t"), "changed": 1, "telemetry": telemetry},
        ev.AttemptUnchanged: {"telemetry": telemetry},
        ev.AttemptFailed: {"reason": reason, "then": "hold", "snapshot": None, "telemetry": telemetry},
        ev.AttemptInterrupted: {"snapshot": None, "telemetry": telemetry},
        ev.LandingStarted: structs.asdict(landing_started(sim)),
        ev.LandingApplied: {"commit": oid("candidate"), "contracts": {}},
        ev.LandingLost: {},
        ev.LandingUndetermined: {"why": "the tip is gone"},
        ev.LandingDecided: {"then": "retry", "by": PERSON},
        ev.LandingRejected: {"reason": reason, "then": "hold"},
    }
    if kind is ev.TaskFailed:
        return ev.TaskFailed(task="a", reason=reason)
    if kind is ev.TaskSkipped:
        return ev.TaskSkipped(task="a", reason=reason, by=PERSON)
    if kind is ev.TaskReopened:
        return ev.TaskReopened(task="a", by=PERSON)
    return kind(**{**common, **extra[kind]})


@pytest.mark.parametrize(
    ("status", "kind"),
    list(itertools.product(TaskStatus, TRANSITIONS)),
    ids=lambda value: value.value if isinstance(value, TaskStatus) else value.__name__,
)
def test_every_event_is_accepted_exactly_in_the_states_of_the_table(
    status: TaskStatus, kind: type[ev.TaskEvent]
) -> None:
    sim = simulation(allow_empty=True)
    bring_to(sim, status)
    event = event_of(kind, sim)
    if kind is ev.TaskFailed and status is TaskStatus.PRODUCED:
        sim.record(ev.RunCancelled(by=PERSON))
    if kind is ev.LandingDecided and status is TaskStatus.LANDING:
        sim.record(event_of(ev.LandingUndetermined, sim))
    sources, targets = TRANSITIONS[kind]
    if status in sources:
        assert apply(sim.run, event).tasks["a"].status in targets
    else:
        with pytest.raises(IllegalTransition, match=f"the task is {status}"):
            apply(sim.run, event)


def test_the_table_names_every_event_of_a_task() -> None:
    assert set(TRANSITIONS) == set(ev.TaskEvent.__args__)


def test_apply_leaves_the_old_state_as_it_was() -> None:
    sim = simulation()
    before = sim.run
    picture = (dict(before.tasks), before.ready, before.running)
    sim.start("a")
    assert (dict(before.tasks), before.ready, before.running) == picture


def test_i2_one_landing_is_under_way_at_a_time() -> None:
    sim = Simulation(begin(a_plan(a_task("a"), a_task("c"))))
    sim.attempt("a", "produced")
    sim.attempt("c", "produced")
    sim.record(landing_started(sim))
    with pytest.raises(IllegalTransition, match="'a' is landing"):
        apply(sim.run, landing_started(sim, task="c"))


def test_an_event_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="no task 'zzz'"):
        apply(simulation().run, ev.TaskFailed(task="zzz", reason=a_reason(ReasonKind.CONFLICT)))


def test_a_retry_without_attempts_left_is_refused() -> None:
    sim = simulation(max_attempts=1)
    sim.start("a")
    failed = structs.replace(event_of(ev.AttemptFailed, sim), then="retry")
    with pytest.raises(IllegalTransition, match="no attempts are left"):
        apply(sim.run, failed)


def test_an_interrupted_attempt_does_not_count() -> None:
    sim = simulation(max_attempts=1)
    for _ in range(3):
        sim.attempt("a", "interrupted")
    sim.attempt("a", "produced")
    assert sim.run.tasks["a"].status is TaskStatus.PRODUCED


def test_i1_an_attempt_of_a_plan_that_was_not_stored_is_refused() -> None:
    sim = simulation()
    event = structs.replace(event_of(ev.AttemptStarted, sim), revision=2)
    with pytest.raises(IllegalTransition, match="not stored"):
        apply(sim.run, event)


@pytest.mark.parametrize("revision", [1, 3], ids=["again", "a gap"])
def test_r_g5_revisions_only_grow_by_one(revision: int) -> None:
    run = simulation().run
    with pytest.raises(IllegalTransition, match=f"revision {revision} after 1"):
        apply(run, ev.PlanStored(revision=revision, plan_id="x", plan=run.plan))


def checked(
    sim: Simulation, command: str, tree: str, result: str = "passed", *, baseline: bool = False
) -> None:
    verdict = a_verdict(command, tree, result)  # type: ignore[arg-type]
    sim.record(ev.Checked(task="a", attempt=1, verdict=verdict, baseline=baseline))


class TestCoverage:
    """I3, L5: a landing needs a good verdict of every declared check on its very tree."""

    def sim(self) -> Simulation:
        sim = Simulation(begin(a_plan(a_task("a", verify=("own",)), each=("each",))))
        sim.attempt("a", "produced")
        return sim

    def test_i3_all_checks_passed(self) -> None:
        sim = self.sim()
        checked(sim, "own", oid("tree"))
        checked(sim, "each", oid("tree"))
        sim.record(landing_started(sim))

    @pytest.mark.parametrize("lacking", ["own", "each"])
    def test_r_l5_a_check_without_a_verdict(self, lacking: str) -> None:
        sim = self.sim()
        checked(sim, "each" if lacking == "own" else "own", oid("tree"))
        with pytest.raises(IllegalTransition, match=lacking):
            sim.record(landing_started(sim))

    def test_r_m3_a_verdict_on_another_tree_does_not_count(self) -> None:
        sim = self.sim()
        checked(sim, "own", oid("tree"))
        checked(sim, "each", oid("another tree"))
        with pytest.raises(IllegalTransition, match="each"):
            sim.record(landing_started(sim))

    def test_r_m7_a_check_that_fails_on_the_base_is_excused_until_it_passes(self) -> None:
        sim = self.sim()
        checked(sim, "own", oid("tree"))
        checked(sim, "each", oid("tree"), "failed")
        checked(sim, "each", oid("base"), "failed", baseline=True)
        sim.record(landing_started(sim))

    def test_a_failing_check_that_passes_on_the_base_is_not_excused(self) -> None:
        sim = self.sim()
        checked(sim, "own", oid("tree"))
        checked(sim, "each", oid("tree"), "failed")
        checked(sim, "each", oid("base"), "passed", baseline=True)
        with pytest.raises(IllegalTransition, match="each"):
            sim.record(landing_started(sim))

    def test_a_failing_own_check_is_never_excused(self) -> None:
        sim = self.sim()
        checked(sim, "own", oid("tree"), "failed")
        checked(sim, "own", oid("base"), "failed", baseline=True)
        checked(sim, "each", oid("tree"))
        with pytest.raises(IllegalTransition, match="own"):
            sim.record(landing_started(sim))

    def test_a_check_that_passed_on_a_landed_tip_is_required_from_then_on(self) -> None:
        sim = Simulation(begin(a_plan(a_task("a"), a_task("b", "a"), each=("each",))))
        sim.attempt("a", "produced")
        checked(sim, "each", oid("base"), "failed", baseline=True)
        checked(sim, "each", oid("tree"))
        sim.record(landing_started(sim))
        sim.record(ev.LandingApplied(task="a", attempt=1, commit=oid("candidate"), contracts={}))
        assert sim.run.required == {"each"}


def test_r_x1_a_landing_onto_another_tip_than_the_present_one_is_refused() -> None:
    sim = simulation()
    sim.attempt("a", "produced")
    with pytest.raises(IllegalTransition, match="the tip is"):
        sim.record(landing_started(sim, expected_tip=oid("old tip")))


def test_a_lost_landing_goes_back_to_the_head_of_the_queue() -> None:
    sim = Simulation(begin(a_plan(a_task("a"), a_task("c"))))
    sim.attempt("a", "produced")
    sim.attempt("c", "produced")
    sim.land("a", "lose")
    assert sim.run.queue == ("a", "c")


def test_a_run_with_unsettled_tasks_cannot_finish() -> None:
    sim = simulation()
    with pytest.raises(IllegalTransition, match="2 tasks are not settled"):
        sim.record(ev.RunFinished(outcome=Outcome.LANDED))


def test_elapsed_time_is_that_of_the_last_event_that_a_driver_wrote() -> None:
    sim = simulation()
    sim.record(ev.Shown(target="refs/heads/main", target_commit=None, commit=None, elapsed_s=None))
    assert sim.run.elapsed_s == 0.0
    sim.record(ev.BranchWithheld(branch="x", why="y", elapsed_s=7.5))
    assert sim.run.elapsed_s == 7.5


def test_concurrency_bounds_what_is_started() -> None:
    sim = Simulation(begin(a_plan(*(a_task(name) for name in "abcde"))))
    assert decide(sim.run, 0.0) == (StartAttempt("a"), StartAttempt("b"))
    sim.start("a")
    sim.start("b")
    assert decide(sim.run, 0.0) == ()
    assert SETTINGS.concurrency == 2
