"""What keeping attempts and runs apart costs: the sandbox modes, and locks.

What this Otto or this machine does not have is left out, and said by name.
"""

from functools import partial
from pathlib import Path
from typing import Final

from bench.noop import by_otto
from bench.report import Figure, Section
from bench.repositories import OTTO, environment, make_repository, run, workplace
from bench.timing import Side, Sizes, in_turn, rounds_of
from otto_core.sandbox import Unusable, probe

FULL: Final = Sizes(files=(200,), tasks=100, rounds=3)
QUICK: Final = Sizes(files=(200,), tasks=20, rounds=1)


def measure(sizes: Sizes, scratch: Path) -> Section:
    """Measure what there is of the two comparisons."""
    with workplace(scratch) as place:
        missing = {"sandbox": _no_sandbox(), "locks": _no_locks(place)}
    figures = []
    if missing["sandbox"] is None:
        figures.append(_sandboxes(sizes, scratch))
    if missing["locks"] is None:
        figures.append(_locks(sizes, scratch))
    return Section(
        title="What isolation costs",
        beside="without",
        figures=tuple(figures),
        skipped=tuple(f"{name}, because {why}" for name, why in missing.items() if why),
        how=f"""
            `otto build` of {sizes.tasks} no-op tasks on {sizes.files[0]:,} files, four at a time; wall
            time, {rounds_of(sizes.rounds)}, in turn. Sandbox: `sandbox: bwrap` in `otto.yaml` beside
            `sandbox: subreaper`. Locks: as always, beside `--no-locks`. There is no target.
            """,
    )


def _sandboxes(sizes: Sizes, scratch: Path) -> Figure:
    with workplace(scratch) as with_it, workplace(scratch) as without:
        sides: dict[str, Side] = {
            mode: partial(
                by_otto,
                make_repository(place, sizes.files[0], {"otto.yaml": f"sandbox: {mode}\n"}),
                sizes.tasks,
            )
            for mode, place in (("bwrap", with_it), ("subreaper", without))
        }
        times = in_turn(sides, sizes.rounds)
    bwrap, subreaper = times["bwrap"], times["subreaper"]
    return Figure("`sandbox: bwrap`", str(bwrap), f"{subreaper} subreaper", bwrap.median / subreaper.median)


def _locks(sizes: Sizes, scratch: Path) -> Figure:
    with workplace(scratch) as place:
        template = make_repository(place, sizes.files[0])
        sides: dict[str, Side] = {
            "locks": partial(by_otto, template, sizes.tasks),
            "none": partial(by_otto, template, sizes.tasks, "--no-locks"),
        }
        times = in_turn(sides, sizes.rounds)
    locks, none = times["locks"], times["none"]
    return Figure("locks", str(locks), f"{none} `--no-locks`", locks.median / none.median)


def _no_sandbox() -> str | None:
    """Say why the modes cannot be compared; None where they can."""
    match probe():
        case Unusable(why):
            return why
        case _:
            return None


def _no_locks(place: Path) -> str | None:
    """Say why locks cannot be left out for comparison; None where they can."""
    if "--no-locks" in run([*OTTO, "build", "--help"], environment(place), cwd=place):
        return None
    return "this version has no option `--no-locks`"
