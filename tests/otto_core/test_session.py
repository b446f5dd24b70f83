"""One driver's view of a run: what it journals, and that it stops when another goes on."""

import pytest

from otto_core import events as ev
from otto_core.decisions import Refused, skip
from otto_core.errors import Locked
from otto_core.model import Outcome
from otto_core.scheduler import StartAttempt, decide
from tests.otto_core.plans import a_plan, a_task
from tests.otto_core.seat import Seat, seat
from tests.otto_core.simulation import PERSON, Simulation, begin
from tests.otto_core.world import Journal, World


@pytest.fixture
def world() -> World:
    world = World()
    run = begin(a_plan(a_task("a"), a_task("b")))
    world.begin(run.plan, run.start, "the first driver")
    return world


def a_seat(world: World, name: str) -> Seat:
    return seat(world, world.run, Journal(world.ledger, name))


def test_i10_a_driver_that_another_has_overtaken_never_journals_again(world: World) -> None:
    first, second = a_seat(world, "first"), a_seat(world, "second")
    assert second.append(ev.RunResumed(driver="2@test", settings=world.run.settings))
    stored = len(world.ledger.stored)
    for _ in range(3):
        with pytest.raises(Locked, match="is driven by 2@test now"):
            first.append(ev.RunPaused(outcome=Outcome.WAITING, message="told that another drives"))
    assert len(world.ledger.stored) == stored
    assert second.append(ev.RunPaused(outcome=Outcome.WAITING, message="its own"))


def test_what_was_decided_before_a_person_decided_otherwise_is_refused_though_the_driver_knows_by_now(
    world: World,
) -> None:
    driver = a_seat(world, "first")
    seen = driver.run
    assert StartAttempt("a") in decide(seen, 0.0)
    skipped = skip(seen, "a", PERSON)
    assert not isinstance(skipped, Refused)
    world.ledger.append("a person", seen, skipped)
    driver.catch_up()
    sim = Simulation(seen)
    sim.start("a")
    assert not driver.append(*sim.events, seen=seen)
