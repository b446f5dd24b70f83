"""The execution gate: what was stored is what executes, and nothing else does."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec import structs

from otto_core.execution import Exited
from otto_core.gate import AttemptStep, CheckStep, ExecutionGate, Place, Step, StepRefused
from otto_core.state import Run
from planner.model import Command, Plan
from tests.otto_core.plans import a_plan, a_task
from tests.otto_core.simulation import begin


def plan() -> Plan:
    return a_plan(a_task("a", verify=("echo own",)), each=("echo each",), final=("echo final",))


def execute(run: Run, step: Step, place: Path) -> str:
    """Execute a step through a gate; gives what it printed."""
    where = Place(place, {"PATH": os.environ["PATH"]}, place / "log", f"test/{place.name}")
    ending = asyncio.run(ExecutionGate(lambda: run, asyncio.Event()).execute(step, where))
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
    object.__setattr__(run.stored[0], "plan", forged)
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
