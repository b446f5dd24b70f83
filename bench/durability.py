"""What syncing costs: the same no-op tasks with `durability: full` and with `fast`."""

from functools import partial
from pathlib import Path
from typing import Final

from bench.noop import by_otto
from bench.report import Figure, Section
from bench.repositories import make_repository, workplace
from bench.timing import Side, Sizes, in_turn, rounds_of

FULL: Final = Sizes(files=(200,), tasks=100, rounds=3)
QUICK: Final = Sizes(files=(200,), tasks=20, rounds=1)

_AT_MOST: Final = 1.5


def measure(sizes: Sizes, scratch: Path) -> Section:
    """Measure both, in turn."""
    with workplace(scratch) as full, workplace(scratch) as fast:
        sides: dict[str, Side] = {
            name: partial(
                by_otto,
                make_repository(place, sizes.files[0], {"otto.yaml": f"durability: {name}\n"}),
                sizes.tasks,
            )
            for name, place in (("full", full), ("fast", fast))
        }
        times = in_turn(sides, sizes.rounds)
    ratio = times["full"].median / times["fast"].median
    limit = _AT_MOST if sizes.tasks == FULL.tasks else None
    return Section(
        title="What syncing to the disk costs",
        beside="unsynced",
        figures=(Figure("`durability: full`", str(times["full"]), f"{times['fast']} `fast`", ratio, limit),),
        how=f"""
            `otto build` of {sizes.tasks} no-op tasks on {sizes.files[0]:,} files, four at a time; wall
            time, {rounds_of(sizes.rounds)}, in turn, with `durability: full` and `durability: fast` in
            `otto.yaml`. By `fast` only the checkpoints of the journal's log are synced.
            """,
    )
