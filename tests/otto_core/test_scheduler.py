"""Decisions: order, honest ends, limits; and thousands of random histories of the pure core."""

import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from otto_core import events as ev
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.scheduler import (
    CheckFinally,
    Finish,
    Land,
    Pause,
    Settle,
    StartAttempt,
    decide,
)
from planner.model import Contract, Plan, Role, Task
from tests.otto_core.plans import BASE, a_plan, a_task
from tests.otto_core.simulation import PERSON, SETTINGS, Result, Simulation, a_reason, begin


def failing(*names: str) -> Callable[[str], Result]:
    return lambda name: "failed" if name in names else "produced"


def test_everything_landed_is_a_landed_run() -> None:
    run = Simulation(begin(a_plan(a_task("a"), a_task("b", "a")))).to_the_end()
    assert run.outcome is Outcome.LANDED
    assert {task.status for task in run.tasks.values()} == {TaskStatus.LANDED}


def test_r_o1_no_feature_starts_before_its_foundation_has_landed() -> None:
    sim = Simulation(begin(a_plan(a_task("model", role="foundation"), a_task("feature", "model"))))
    sim.attempt("model", "produced")
    assert decide(sim.run, 0.0) == (Land("model"),)
    sim.land("model")
    assert decide(sim.run, 0.0) == (StartAttempt("feature"),)


def test_r_o4_every_dependent_of_a_failed_foundation_is_settled_and_says_so() -> None:
    plan = a_plan(
        a_task("model", role="foundation"),
        a_task("near", "model"),
        a_task("far", "near", "model"),
        a_task("beside"),
    )
    run = Simulation(begin(plan)).to_the_end(failing("model"))
    kinds = {name: task.reason.kind for name, task in run.tasks.items() if task.reason}
    assert kinds == {
        "model": ReasonKind.AGENT_FAILED,
        "near": ReasonKind.FOUNDATION_UNSATISFIED,
        "far": ReasonKind.FOUNDATION_UNSATISFIED,
    }
    assert run.tasks["beside"].status is TaskStatus.LANDED
    assert run.outcome is Outcome.PARTIAL


def test_a_failed_feature_settles_only_what_depends_on_it() -> None:
    plan = a_plan(a_task("a"), a_task("b", "a"), a_task("c", "b"), a_task("d"))
    run = Simulation(begin(plan)).to_the_end(failing("a"))
    assert {n: t.reason.kind for n, t in run.tasks.items() if t.reason} == {
        "a": ReasonKind.AGENT_FAILED,
        "b": ReasonKind.DEPENDENCY_FAILED,
        "c": ReasonKind.DEPENDENCY_FAILED,
    }
    assert run.tasks["d"].status is TaskStatus.LANDED


def test_dependents_stay_pending_while_what_they_wait_for_is_held() -> None:
    sim = Simulation(begin(a_plan(a_task("a", max_attempts=1), a_task("b", "a"), a_task("c"))))
    sim.attempt("a", "failed")
    sim.start("c")
    assert sim.run.tasks["a"].status is TaskStatus.HELD
    assert decide(sim.run, 0.0) == ()
    assert sim.run.tasks["b"].status is TaskStatus.PENDING


CONTRACT = Contract(id="schema", paths=("schema.py",))


def contract_run() -> Simulation:
    plan = a_plan(
        a_task("model", role="foundation", provides=("schema",)),
        a_task("one", "model"),
        a_task("two", "model"),
        contracts=(CONTRACT,),
    )
    return Simulation(begin(plan, contracts={"schema": None}))


def test_r_o3_a_foundation_that_did_not_deliver_settles_its_dependents_as_contracts_missing() -> None:
    run = contract_run().to_the_end()
    assert run.tasks["model"].status is TaskStatus.LANDED
    for name in ("one", "two"):
        reason = run.tasks[name].reason
        assert reason is not None
        assert reason.kind is ReasonKind.CONTRACTS_MISSING
        assert "schema.py" in reason.message
        assert "model" in reason.hint


def test_i5_features_run_once_the_contract_exists() -> None:
    sim = contract_run()
    sim.deliver = {"model": {"schema": "v1"}}
    assert sim.to_the_end().outcome is Outcome.LANDED


def test_an_unchanged_task_satisfies_its_dependents() -> None:
    sim = Simulation(begin(a_plan(a_task("a", allow_empty=True), a_task("b", "a"))))
    run = sim.to_the_end(lambda name: "unchanged" if name == "a" else "produced")
    assert run.outcome is Outcome.LANDED


def test_r_s6_a_run_in_which_nothing_landed_has_failed() -> None:
    assert Simulation(begin(a_plan(a_task("a")))).to_the_end(failing("a")).outcome is Outcome.FAILED


def test_a_rejected_landing_is_tried_again_and_bounded() -> None:
    sim = Simulation(begin(a_plan(a_task("a", max_attempts=3))))
    run = sim.to_the_end(land=lambda _: "reject")
    assert len(run.tasks["a"].attempts) == 3
    assert run.outcome is Outcome.FAILED


def test_r_b1_i14_the_wall_budget_pauses_the_run_and_names_itself() -> None:
    sim = Simulation(begin(a_plan(a_task("a")), settings=structs.replace(SETTINGS, wall_s=90.0)))
    assert decide(sim.run, 89.0) == (StartAttempt("a"),)
    (pause,) = decide(sim.run, 90.0)
    assert isinstance(pause, Pause)
    assert pause.outcome is Outcome.BUDGET
    assert pause.message == "the run's `budget.wall` of 1m30s is used up"
    assert pause.hint == f"otto resume {sim.run.id} --wall DURATION"


def waiting(wait_s: float | None, *tasks: Task) -> Simulation:
    """Begin a run that waits so long for locks."""
    given = structs.replace(SETTINGS, locks="held", lock_wait_s=wait_s)
    return Simulation(begin(a_plan(*tasks), settings=given))


def test_r_g3_a_contended_task_keeps_its_status_and_others_run_in_its_place() -> None:
    sim = waiting(None, a_task("a"), a_task("b"), a_task("c"))
    sim.contend("a")
    assert sim.run.tasks["a"].status is TaskStatus.PENDING
    assert decide(sim.run, 0.0, {"a"}) == (StartAttempt("b"), StartAttempt("c"))
    sim.free("a")
    assert decide(sim.run, 0.0) == (StartAttempt("a"), StartAttempt("b"))


@pytest.mark.parametrize(
    ("wait_s", "elapsed_s", "pauses"),
    [(0.0, 5.0, True), (60.0, 64.9, False), (60.0, 65.0, True), (None, 1e6, False)],
    ids=["refuse", "wait", "the wait runs out", "wait without limit"],
)
def test_r_g3_where_nothing_else_can_go_on_locks_are_waited_for_as_long_as_was_said(
    wait_s: float | None, elapsed_s: float, *, pauses: bool
) -> None:
    sim = waiting(wait_s, a_task("a"), a_task("b", "a"))
    sim.contend("a", at_s=5.0)
    match decide(sim.run, elapsed_s, {"a"}):
        case ():
            assert not pauses
        case (Pause(outcome, message),):
            assert pauses
            assert outcome is Outcome.WAITING
            assert "'theirs' of r-20261120-othr (4711@workshop) is writing **" in message
            assert ("`--wait` of 1m" in message) is bool(wait_s)
        case other:
            pytest.fail(f"unexpected {other}")


def test_r_g3_the_rest_of_a_run_goes_on_before_it_pauses_for_a_lock() -> None:
    sim = waiting(0.0, a_task("a"), a_task("b"), a_task("c", "b", max_attempts=1))
    sim.contend("a")
    assert decide(sim.run, 9.0, {"a"}) == (StartAttempt("b"),)
    sim.start("b")
    assert decide(sim.run, 9.0, {"a"}) == ()
    sim.finish("b", "produced")
    assert decide(sim.run, 9.0, {"a"}) == (Land("b"),)
    sim.land("b")
    sim.attempt("c", "failed")
    assert isinstance(decide(sim.run, 9.0, {"a"})[0], Pause), "what is held keeps its state too"


def test_one_lock_that_may_still_be_waited_for_keeps_the_run_going() -> None:
    sim = waiting(10.0, a_task("a"), a_task("b"))
    sim.contend("a", at_s=0.0)
    sim.contend("b", at_s=5.0)
    assert decide(sim.run, 12.0, {"a", "b"}) == ()
    (pause,) = decide(sim.run, 15.0, {"a", "b"})
    assert isinstance(pause, Pause)
    assert "1 more" in pause.message


def test_a_contended_task_that_was_ended_and_is_tried_again_meets_its_lock_anew() -> None:
    sim = waiting(None, a_task("a"), a_task("b"))
    sim.contend("a")
    sim.record(ev.TaskSkipped(task="a", reason=a_reason(ReasonKind.SKIPPED_BY_USER), by=PERSON))
    sim.record(ev.TaskReopened(task="a", by=PERSON))
    assert StartAttempt("a") in decide(sim.run, 0.0, {"a"})
    sim.contend("a")
    assert decide(sim.run, 0.0, {"a"}) == (StartAttempt("b"),)


def test_the_wall_budget_counts_while_a_lock_is_waited_for() -> None:
    settings = structs.replace(SETTINGS, lock_wait_s=None, wall_s=90.0)
    sim = Simulation(begin(a_plan(a_task("a")), settings=settings))
    sim.contend("a")
    (pause,) = decide(sim.run, 90.0, {"a"})
    assert isinstance(pause, Pause)
    assert pause.outcome is Outcome.BUDGET


def test_final_checks_run_once_on_the_last_tip() -> None:
    sim = Simulation(begin(a_plan(a_task("a"), final=("journey",))))
    sim.attempt("a", "produced")
    sim.land("a")
    assert decide(sim.run, 0.0) == (CheckFinally(),)
    sim.record(ev.FinalChecked(tip=sim.run.tip, regressed=("journey",), known=()))
    assert decide(sim.run, 0.0) == (Finish(Outcome.REGRESSION),)


def test_final_checks_are_not_run_where_nothing_landed() -> None:
    sim = Simulation(begin(a_plan(a_task("a", max_attempts=1), final=("journey",))))
    sim.attempt("a", "failed")
    assert isinstance(decide(sim.run, 0.0)[0], Settle)
    assert sim.to_the_end().final is None


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.RUNNING])
def test_nothing_is_decided_once_a_run_is_over_or_paused(outcome: Outcome) -> None:
    sim = Simulation(begin(a_plan(a_task("a"))))
    sim.record(ev.RunPaused(outcome=outcome, message=""))
    assert decide(sim.run, 0.0) == ()


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = string.ascii_lowercase[: draw(st.integers(1, 6))]
    tasks: list[Task] = []
    for place, name in enumerate(names):
        role: Role = "foundation" if place < 2 and draw(st.booleans()) else "feature"
        after = {n for n in names[:place] if draw(st.booleans())}
        if role == "feature":
            after |= {t.id for t in tasks if t.role == "foundation"}
        tasks.append(
            a_task(
                name,
                *sorted(after),
                role=role,
                max_attempts=draw(st.integers(1, 3)),
                allow_empty=draw(st.booleans()),
                verify=("own",) if draw(st.booleans()) else (),
            )
        )
    return a_plan(*tasks, each=("each",) if draw(st.booleans()) else ())


@settings(deadline=None, max_examples=200)
@given(plan=plans(), data=st.data())
def test_i9_any_history_of_results_ends_with_every_task_settled(plan: Plan, data: st.DataObject) -> None:
    sim = Simulation(begin(plan))
    interruptions = iter(range(5))

    def result(name: str) -> str:
        choices = ["produced", "failed"]
        choices += ["unchanged"] if sim.run.spec(name).allow_empty else []
        choices += ["interrupted"] if next(interruptions, None) is not None else []
        return data.draw(st.sampled_from(choices), label=f"attempt of {name}")

    losses = iter(range(5))

    def landing(name: str) -> str:
        choices = ["land", "reject"] + (["lose"] if next(losses, None) is not None else [])
        return data.draw(st.sampled_from(choices), label=f"landing of {name}")

    run = sim.to_the_end(result, landing)  # type: ignore[arg-type]
    assert run.unsettled == 0
    assert all(task.status.settled for task in run.tasks.values())
    assert all(task.reason for task in run.tasks.values() if task.status is TaskStatus.FAILED)
    assert run.tip == BASE or run.outcome in (Outcome.LANDED, Outcome.PARTIAL)
    landed = [event for event in sim.events if isinstance(event, ev.LandingApplied)]
    assert len(landed) == len({event.task for event in landed}), "I2"


@settings(deadline=None, max_examples=200)
@given(plan=plans(), data=st.data())
def test_i9_any_interleaving_of_actions_keeps_the_invariants_and_ends(
    plan: Plan, data: st.DataObject
) -> None:
    settings = structs.replace(SETTINGS, lock_wait_s=data.draw(st.sampled_from([0.0, None])))
    sim = Simulation(begin(plan, settings=settings))
    contentions = iter(range(10))
    for _ in range(500):
        under_way = [("finish", name) for name in sorted(sim.run.running)]
        under_way += [("free", name) for name in sorted(sim.contended)]
        named = [(type(action).__name__, action) for action in decide(sim.run, 0.0, sim.contended)]
        if sim.run.outcome is not Outcome.RUNNING:
            break
        kind, what = data.draw(st.sampled_from(under_way + named))
        match what:
            case str(name) if kind == "free":
                sim.free(name)
            case str(name):
                sim.finish(name, data.draw(st.sampled_from(["produced", "failed"])))
            case StartAttempt(task) if next(contentions, None) is not None and data.draw(st.booleans()):
                sim.contend(task)
            case StartAttempt(task):
                sim.start(task)
            case Land(task):
                sim.land(task, data.draw(st.sampled_from(["land", "reject"])))
            case Settle(task, reason):
                sim.record(ev.TaskFailed(task=task, reason=reason))
            case Finish(outcome):
                sim.record(ev.RunFinished(outcome=outcome))
            case Pause(outcome, message):
                assert outcome is Outcome.WAITING
                assert sim.contended
                sim.record(ev.RunPaused(outcome=outcome, message=message))
            case _:
                pytest.fail(f"unexpected {kind}")
    assert sim.run.outcome is not Outcome.RUNNING
