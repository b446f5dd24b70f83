"""The real session of a driver, with a made-up journal and clock."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from otto_core.config import Settings
from otto_core.session import Session
from otto_core.state import Run
from tests.otto_core.world import Journal, World

_SETTINGS = Settings()
_THREADS = ThreadPoolExecutor(max_workers=1)  # never used: what real drivers do there is made up


class Seat(Session):
    """The real session, with a made-up journal and clock."""

    world: World
    born_s: float

    @property
    def elapsed_s(self) -> float:
        return self.before_s + self.world.clock_s - self.born_s


def seat(world: World, run: Run, journal: Journal) -> Seat:
    """Open the session of a driver that begins now."""
    nothing = cast(Any, None)
    made = Seat(run, cast(Any, journal), nothing, _SETTINGS, Path("/nowhere"), blocking=_THREADS)
    made.world, made.born_s = world, world.clock_s
    return made
