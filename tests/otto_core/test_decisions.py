"""What a person may decide, in which state, and what follows from it (X6, X8, X10)."""

import itertools
from collections.abc import Callable

import pytest
from msgspec import structs

from otto_core import events as ev
from otto_core.decisions import Decision, Refused, approve, cancel, retry, skip, together
from otto_core.errors import ExitCode, IllegalTransition
from otto_core.journal import Outdated, appended
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.scheduler import CheckFinally, EndExecution, Pause, Settle, StartAttempt, decide, exit_code
from otto_core.state import Run
from otto_core.transitions import apply
from tests.otto_core.plans import a_plan, a_task
from tests.otto_core.simulation import PERSON, Simulation, a_contention, a_reason, begin
from tests.otto_core.test_state import bring_to, landing_started, simulation

S = TaskStatus


def made(sim: Simulation, decision: Decision) -> Run:
    """Journal a decision that must be allowed."""
    assert not isinstance(decision, Refused), decision
    sim.record(*decision)
    return sim.run


def status(run: Run) -> dict[str, str]:
    return {name: task.status.value for name, task in run.tasks.items()}


Verb = Callable[[Run, str, str], Decision]

VERBS: dict[str, tuple[Verb, set[TaskStatus]]] = {
    "retry": (retry, {S.HELD, S.FAILED, S.SKIPPED}),
    "skip": (skip, {S.PENDING, S.PRODUCED, S.HELD}),
    "approve": (approve, set()),
}


@pytest.mark.parametrize(("name", "state"), list(itertools.product(VERBS, S)))
def test_r_x6_a_decision_is_taken_exactly_where_the_state_allows_it_and_else_refused_with_a_way_on(
    name: str, state: TaskStatus
) -> None:
    verb, allowed = VERBS[name]
    sim = simulation(allow_empty=True)
    bring_to(sim, state)
    decision = verb(sim.run, "a", PERSON)
    if state in allowed:
        made(sim, decision)
    else:
        assert isinstance(decision, Refused)
        assert "'a'" in decision.message
        assert decision.hint.startswith(("otto ", "wait "))


def chain() -> Simulation:
    """Task `a` fails, and with it what stands on it: `b` and `c`, and `d`, which stands on `x` too."""
    tasks = [
        a_task("a", max_attempts=1),
        a_task("x", max_attempts=1),
        a_task("b", "a"),
        a_task("c", "b"),
        a_task("d", "a", "x"),
    ]
    return Simulation(begin(a_plan(*tasks)))


def test_r_x6_a_retry_reopens_all_that_ended_only_as_its_consequence() -> None:
    sim = chain()
    sim.to_the_end(attempt=lambda name: "failed" if name == "a" else "produced")
    assert status(sim.run) == {"a": "failed", "x": "landed", "b": "failed", "c": "failed", "d": "failed"}
    run = made(sim, retry(sim.run, "a", PERSON))
    assert status(run) == {"a": "pending", "x": "landed", "b": "pending", "c": "pending", "d": "pending"}
    assert run.outcome is Outcome.WAITING
    assert exit_code(run) is ExitCode.WAITING
    resume(sim)
    assert sim.to_the_end().outcome is Outcome.LANDED


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")), ids="".join)
def test_r_x6_what_a_retry_reopens_does_not_depend_on_the_order_of_the_plan_file(
    order: tuple[str, ...],
) -> None:
    """Task `d` stands on `b` and `c`, which stand on `a`."""
    before = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    sim = Simulation(begin(a_plan(*(a_task(name, *before[name], max_attempts=1) for name in order))))
    sim.to_the_end(attempt=lambda name: "failed" if name == "a" else "produced")
    assert set(status(made(sim, retry(sim.run, "a", PERSON))).values()) == {"pending"}
    resume(sim)
    assert sim.to_the_end().outcome is Outcome.LANDED


def test_r_x6_what_stands_on_another_failure_too_stays_as_it_is_until_that_is_tried_again() -> None:
    sim = chain()
    sim.to_the_end(attempt=lambda name: "failed" if name in ("a", "x") else "produced")
    run = made(sim, retry(sim.run, "a", PERSON))
    assert (run.tasks["b"].status, run.tasks["d"].status) == (S.PENDING, S.FAILED)
    refused = retry(run, "d", PERSON)
    assert isinstance(refused, Refused)
    assert refused.hint == f"otto retry x --run {run.id}"
    run = made(sim, retry(run, "x", PERSON))
    assert run.tasks["d"].status is S.PENDING


def test_a_task_that_is_tried_again_before_its_dependents_are_settled_saves_them() -> None:
    sim = chain()
    sim.attempt("a", "failed")
    sim.record(ev.TaskFailed(task="a", reason=a_reason(ReasonKind.AGENT_FAILED)))
    assert set(sim.run.doomed) == {"b", "d"}
    made(sim, retry(sim.run, "a", PERSON))
    assert sim.run.doomed == ()
    assert StartAttempt("a") in decide(sim.run, 0)


def test_a_driver_that_does_not_know_yet_of_a_retry_cannot_settle_what_was_saved_by_it() -> None:
    sim = chain()
    sim.attempt("a", "failed")
    sim.record(ev.TaskFailed(task="a", reason=a_reason(ReasonKind.AGENT_FAILED)))
    seen = sim.run
    settle = decide(seen, 0)[0]
    assert isinstance(settle, Settle)
    made(sim, retry(seen, "a", PERSON))
    late = ev.TaskFailed(task=settle.task, reason=settle.reason)
    with pytest.raises(IllegalTransition, match="nothing that it stands on has failed"):
        apply(sim.run, late)
    after = structs.replace(sim.run, seq=1)
    assert appended(seen, after, [late]) == Outdated(after)


def test_i9_a_task_that_is_tried_again_has_as_many_attempts_as_the_plan_gives_it() -> None:
    sim = simulation(max_attempts=2)
    bring_to(sim, S.FAILED)
    made(sim, retry(sim.run, "a", PERSON))
    for _ in range(2):
        sim.attempt("a", "failed")
    assert sim.run.tasks["a"].status is S.HELD
    with pytest.raises(IllegalTransition, match="the task is held"):
        sim.start("a")


def test_a_skip_settles_what_waits_for_the_task() -> None:
    sim = simulation()
    made(sim, skip(sim.run, "a", PERSON))
    run = sim.to_the_end()
    assert status(run) == {"a": "skipped", "b": "failed"}
    reasons = [task.reason and task.reason.kind for task in run.tasks.values()]
    assert reasons == [ReasonKind.SKIPPED_BY_USER, ReasonKind.DEPENDENCY_FAILED]
    assert run.outcome is Outcome.FAILED
    made(sim, retry(run, "a", PERSON))
    assert status(sim.run) == {"a": "pending", "b": "pending"}


def test_r_x9_a_decision_names_the_attempt_that_was_the_latest_when_it_was_made() -> None:
    tasks = [a_task("a", max_attempts=2), structs.replace(a_task("b", "a"), generation=1)]
    sim = Simulation(begin(a_plan(*tasks)))
    sim.to_the_end(attempt=lambda _: "failed")
    reopened = retry(sim.run, "a", PERSON)
    assert not isinstance(reopened, Refused)
    told = [(e.task, e.attempt) for e in reopened if isinstance(e, ev.TaskReopened)]
    assert told == [("a", 2), ("b", None)]
    made(sim, reopened)
    resume(sim)
    sim.attempt("a", "produced")
    (skipped,) = skip(sim.run, "a", PERSON)  # type: ignore[misc]
    assert isinstance(skipped, ev.TaskSkipped)
    assert skipped.attempt == 3


def test_what_was_produced_can_be_skipped_and_does_not_land() -> None:
    sim = simulation()
    sim.attempt("a", "produced")
    made(sim, skip(sim.run, "a", PERSON))
    assert sim.run.queue == ()
    assert sim.to_the_end().tip == sim.run.start.base


def test_a_cancelled_run_ends_what_executes_then_every_task_then_itself() -> None:
    sim = Simulation(begin(a_plan(a_task("a"), a_task("b"), a_task("c", "a"))))
    sim.start("a")
    sim.attempt("b", "produced")
    made(sim, cancel(sim.run, PERSON))
    assert decide(sim.run, 0) == (EndExecution(),)
    sim.finish("a", "interrupted")
    actions = decide(sim.run, 0)
    assert [action.task for action in actions if isinstance(action, Settle)] == ["a", "b", "c"]
    run = sim.to_the_end()
    assert status(run) == {"a": "failed", "b": "failed", "c": "failed"}
    assert {task.reason.kind for task in run.tasks.values() if task.reason} == {ReasonKind.CANCELLED}
    assert run.outcome is Outcome.FAILED
    assert cancel(run, PERSON) == Refused(f"{run.id} is over: failed", f"otto status {run.id}")


def test_a_cancelled_run_that_has_landed_something_is_partial() -> None:
    sim = Simulation(begin(a_plan(a_task("a"), a_task("b"))))
    sim.attempt("a", "produced")
    sim.land("a")
    made(sim, cancel(sim.run, PERSON))
    assert cancel(sim.run, PERSON) == (), "it has been decided already"
    assert sim.to_the_end().outcome is Outcome.PARTIAL


def test_i3_a_cancelled_run_whose_result_was_not_judged_finally_has_not_landed() -> None:
    sim = Simulation(begin(a_plan(a_task("a"), final=("journey",))))
    sim.attempt("a", "produced")
    sim.land("a")
    assert decide(sim.run, 0) == (CheckFinally(),)
    made(sim, cancel(sim.run, PERSON))
    assert sim.to_the_end().outcome is Outcome.PARTIAL


def test_tasks_are_decided_about_in_the_order_in_which_they_stand_on_each_other() -> None:
    tasks = [structs.replace(a_task("b", "a"), generation=1), a_task("a", max_attempts=1)]
    sim = Simulation(begin(a_plan(*tasks)))
    sim.to_the_end(attempt=lambda _: "failed")
    decision = together(retry, sim.run, {"b", "a"}, PERSON)
    assert not isinstance(decision, Refused)
    assert [getattr(event, "task", "") for event in decision] == ["a", "b"]


@pytest.mark.parametrize("state", [S.FAILED, S.SKIPPED, S.HELD])
def test_a_retry_takes_a_cancellation_back(state: TaskStatus) -> None:
    sim = simulation()
    bring_to(sim, state)
    made(sim, cancel(sim.run, PERSON))
    made(sim, retry(sim.run, "a", PERSON))
    assert sim.run.cancelled is None
    assert StartAttempt("a") in decide(sim.run, 0)


def test_a_retry_brings_a_cancelled_run_back_that_was_over() -> None:
    sim = simulation()
    made(sim, cancel(sim.run, PERSON))
    sim.to_the_end()
    made(sim, retry(sim.run, "a", PERSON))
    resume(sim)
    assert StartAttempt("a") in decide(sim.run, 0)


def test_what_was_produced_cannot_fail_unless_the_run_is_cancelled() -> None:
    sim = simulation()
    sim.attempt("a", "produced")
    with pytest.raises(IllegalTransition, match="can still land"):
        apply(sim.run, ev.TaskFailed(task="a", reason=a_reason(ReasonKind.AGENT_FAILED)))


def undetermined() -> Simulation:
    sim = simulation()
    sim.attempt("a", "produced")
    sim.record(landing_started(sim))
    sim.record(ev.LandingUndetermined(task="a", attempt=1, why="the tip is gone"))
    return sim


def test_r_x10_what_nobody_can_determine_blocks_the_run_and_offers_the_answers() -> None:
    sim = undetermined()
    (pause,) = decide(sim.run, 0)
    assert isinstance(pause, Pause)
    assert pause.outcome is Outcome.WAITING
    for verb in ("approve", "retry", "skip"):
        assert f"otto {verb}" in pause.hint
    assert f"otto approve a --run {sim.run.id}" in pause.hint


@pytest.mark.parametrize(("verb", "then"), [(approve, "landed"), (retry, "retry"), (skip, "skip")])
def test_r_x10_a_person_says_what_became_of_a_landing(verb: Verb, then: str) -> None:
    sim = undetermined()
    made(sim, verb(sim.run, "a", PERSON))
    decided = sim.run.tasks["a"].decided
    assert decided is not None
    assert (decided.then, decided.by) == (then, PERSON)


def test_r_x10_of_a_landing_that_git_can_tell_nobody_is_asked() -> None:
    sim = simulation()
    sim.attempt("a", "produced")
    sim.record(landing_started(sim))
    with pytest.raises(IllegalTransition, match="Git tells"):
        apply(sim.run, ev.LandingDecided(task="a", attempt=1, then="landed", by=PERSON))


def resume(sim: Simulation) -> None:
    sim.record(ev.RunResumed(driver="2@test", settings=sim.run.settings))


def test_a_resumed_run_goes_on_with_what_it_is_given_and_has_met_no_lock_yet() -> None:
    sim = simulation()
    sim.record(a_contention("a"))
    sim.record(ev.RunPaused(outcome=Outcome.WAITING, message="a lock"))
    assert exit_code(sim.run) is ExitCode.LOCKED
    resume(sim)
    assert (sim.run.outcome, sim.run.paused, sim.run.contended) == (Outcome.RUNNING, None, {})
    assert (sim.run.driver, sim.run.drives) == ("2@test", 2)


def test_a_run_that_is_over_is_not_resumed() -> None:
    sim = simulation()
    sim.to_the_end()
    with pytest.raises(IllegalTransition, match="the run is over"):
        resume(sim)


def test_r_s3_a_run_is_not_resumed_before_what_its_driver_left_running_has_an_end() -> None:
    sim = simulation()
    sim.start("a")
    with pytest.raises(IllegalTransition, match="has no end yet"):
        resume(sim)
