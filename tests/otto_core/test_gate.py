"""The execution gate: what was stored is what executes, and nothing else does."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec import structs

from otto_core.execution import Exited
from otto_core.flock import take
from otto_core.gate import AttemptStep, CheckStep, ExecutionGate, Place, Step, StepRefused
from otto_core.locks import LockTable, holders
from otto_core.runlock import hold
from otto_core.state import Run
from otto_core.stop import Stop
from otto_core.writesets import WriteSet
from planner.model import Command, Plan
from tests.otto_core.plans import a_plan, a_task
from tests.otto_core.simulation import SETTINGS, begin


def plan() -> Plan:
    return a_plan(a_task("a", verify=("echo own",)), each=("echo each",), final=("echo final",))


def execute(run: Run, step: Step, place: Path) -> str:
    """Execute a step through a gate; gives what it printed."""
    where = Place(place, {"PATH": os.environ["PATH"]}, place / "log", f"test/{place.name}")
    ending = asyncio.run(ExecutionGate(lambda: run, Stop()).execute(step, where))
    assert isinstance(ending, Exited)
    return (place / "log").read_text()


def stored(run: Run) -> str:
    return run.stored[0].plan_id


def test_i1_a_step_of_a_stored_plan_executes_the_plans_own_command(tmp_path: Path) -> None:
    run = begin(a_plan(structs.replace(a_task("a"), run=Command(shell="echo from the plan"))))
    assert execute(run, AttemptStep(1, stored(run), "a"), tmp_path) == "from the plan\n"


@pytest.mark.parametrize(("scope", "task"), [("task", "a"), ("each", "a"), ("final", None)])
def test_i1_checks_are_taken_from_the_plan_too(tmp_path: Path, scope: str, task: str | None) -> None:
    run = begin(plan())
    said = {"task": "own\n", "each": "each\n", "final": "final\n"}[scope]
    assert execute(run, CheckStep(1, stored(run), scope, 0, task), tmp_path) == said  # type: ignore[arg-type]


@pytest.mark.parametrize(("revision", "identity"), [(2, None), (1, "f" * 64), (0, None)])
def test_r_g1_a_step_that_names_no_stored_plan_is_refused(
    tmp_path: Path, revision: int, identity: str | None
) -> None:
    run = begin(plan())
    with pytest.raises(StepRefused, match="no stored plan"):
        execute(run, AttemptStep(revision, identity or stored(run), "a"), tmp_path)
    assert not (tmp_path / "log").exists()


def test_r_x2_a_plan_whose_content_is_not_what_its_id_says_is_refused(tmp_path: Path) -> None:
    run = begin(plan())
    forged = structs.replace(run.stored[0].plan, intent="something else")
    run = structs.replace(run, stored=(structs.replace(run.stored[0], plan=forged),))
    with pytest.raises(StepRefused, match="does not have the id"):
        execute(run, AttemptStep(1, stored(run), "a"), tmp_path)


def test_r_g4_a_step_without_a_write_set_is_refused(tmp_path: Path) -> None:
    run = begin(a_plan(structs.replace(a_task("a"), owns=())))
    with pytest.raises(StepRefused, match="empty write set"):
        execute(run, AttemptStep(1, stored(run), "a"), tmp_path)


def test_i1_a_step_beyond_the_plan_is_refused(tmp_path: Path) -> None:
    run = begin(plan())
    with pytest.raises(LookupError):
        execute(run, CheckStep(1, stored(run), "each", 5, "a"), tmp_path)
    with pytest.raises(LookupError):
        execute(run, AttemptStep(1, stored(run), "zzz"), tmp_path)


def locked_run() -> Run:
    """Begin a run whose attempts need their locks."""
    return begin(plan(), settings=structs.replace(SETTINGS, locks="held"))


def test_r_g2_an_attempt_whose_write_set_is_not_held_is_refused(tmp_path: Path) -> None:
    run = locked_run()
    with pytest.raises(StepRefused, match="is not held"):
        execute(run, AttemptStep(1, stored(run), "a"), tmp_path)
    assert not (tmp_path / "log").exists()


def test_r_g2_a_lock_of_other_paths_or_of_another_task_is_not_enough(tmp_path: Path) -> None:
    run = locked_run()
    where = Place(tmp_path, {"PATH": os.environ["PATH"]}, tmp_path / "log", "test/x")
    with hold(tmp_path, run.id):
        locks = LockTable(tmp_path, run.id)
        gate = ExecutionGate(lambda: run, Stop(), locks)
        for task, writes in (("a", WriteSet(("b/**",))), ("b", WriteSet(("a/**",)))):
            assert locks.acquire(task, writes) is None
            with pytest.raises(StepRefused, match="is not held"):
                asyncio.run(gate.execute(AttemptStep(1, stored(run), "a"), where))


@pytest.mark.parametrize("fails", [False, True])
def test_r_g2_the_gate_holds_the_write_set_for_the_whole_window_however_it_ends(
    tmp_path: Path, *, fails: bool
) -> None:
    run = locked_run()

    async def window() -> None:
        gate = ExecutionGate(lambda: run, Stop(), LockTable(tmp_path, run.id))
        async with gate.hold("a") as contention:
            assert contention is None
            where = Place(tmp_path, {"PATH": os.environ["PATH"]}, tmp_path / "log", "test/x")
            assert isinstance(await gate.execute(AttemptStep(1, stored(run), "a"), where), Exited)
            assert [(holder.run, holder.task) for holder in holders(tmp_path)] == [(run.id, "a")]
            if fails:
                raise ZeroDivisionError

    with hold(tmp_path, run.id):
        if fails:
            with pytest.raises(ZeroDivisionError):
                asyncio.run(window())
        else:
            asyncio.run(window())
        assert holders(tmp_path) == ()


def test_after_a_stop_nobody_waits_for_the_guard_to_give_a_lock_back(tmp_path: Path) -> None:
    tasks = ("a", "b", "c")
    run = begin(a_plan(*map(a_task, tasks)), settings=structs.replace(SETTINGS, locks="held"))

    async def window(name: str, gate: ExecutionGate, all_in: asyncio.Barrier) -> None:
        async with gate.hold(name) as contention:
            assert contention is None
            await all_in.wait()

    async def interrupted() -> None:
        stop, all_in = Stop(), asyncio.Barrier(len(tasks) + 1)
        gate = ExecutionGate(lambda: run, stop, LockTable(tmp_path, run.id, patience_s=600))
        windows = [asyncio.create_task(window(name, gate, all_in)) for name in tasks]
        while all_in.n_waiting < len(tasks):  # noqa: ASYNC110 -- a barrier tells nobody who is there
            await asyncio.sleep(0)
        with (tmp_path / "locks/guard").open("rb") as guard:
            assert take(guard)
            asyncio.get_running_loop().call_later(60, guard.close)  # whoever waits after all gets it then
            stop.set()
            await all_in.wait()
            await asyncio.gather(*windows)

    with hold(tmp_path, run.id):
        asyncio.run(interrupted())
        assert {holder.task for holder in holders(tmp_path)} == set(tasks), "left to heal"
        LockTable(tmp_path, run.id).clear()
        assert holders(tmp_path) == ()


def test_r_g3_where_another_run_is_in_the_way_the_gate_says_so_and_releases_nothing_of_it(
    tmp_path: Path,
) -> None:
    run = locked_run()

    async def window() -> None:
        gate = ExecutionGate(lambda: run, Stop(), LockTable(tmp_path, run.id))
        async with gate.hold("a") as contention:
            assert contention is not None
            assert contention.holder.run == "r-other"

    with hold(tmp_path, run.id), hold(tmp_path, "r-other"):
        assert LockTable(tmp_path, "r-other").acquire("theirs", WriteSet(("a/b",))) is None
        asyncio.run(window())
        assert [holder.task for holder in holders(tmp_path)] == ["theirs"]
