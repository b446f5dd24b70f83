"""Taking times: two sides in turn, each round in the other order, and what stays of them: the median.

Sides that take turns share whatever the machine does meanwhile, so their ratio drifts less than either.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

K = TypeVar("K")

PROGRAM_LIMIT_S: Final = 600.0
"""How long any one program may take before the part is given up, in seconds."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a part measures: sizes of the repository in files, tasks a run, rounds of both sides."""

    files: tuple[int, ...]
    tasks: int
    rounds: int
    rounds_if_large: int | None = None
    """On repositories so large that a round takes minutes."""


@dataclass(frozen=True, slots=True)
class Times:
    """What one side took, in seconds, one figure a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that counts."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        low, high = min(self.seconds), max(self.seconds)
        around = f" ({_shown(low)} to {_shown(high)})" if len(self.seconds) > 1 else ""
        return f"{_shown(self.median)}{around}"


def rounds_of(number: int) -> str:
    """Write how many rounds."""
    return "1 round" if number == 1 else f"{number} rounds"


Side = Callable[[], float]
"""Does the work of one side once and gives the seconds that counted; what it prepares does not."""


def in_turn(sides: Mapping[K, Side], rounds: int) -> dict[K, Times]:
    """Let every side work once a round, in the opposite order each round, so that none always goes first."""
    taken: dict[K, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(list(sides)))
        for name in names:
            taken[name].append(sides[name]())
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


def timed(work: Callable[[], object]) -> float:
    """Give the wall time of some work in seconds; what was written before is on the disk when it begins."""
    os.sync()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def timed_process(argv: Sequence[str], environ: Mapping[str, str], out: Path) -> float:
    """Give the wall time of one process in seconds, started in the cheapest way there is.

    Its output goes to the file `out`. Raises RuntimeError if it fails.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    begun = time.perf_counter()
    child = os.posix_spawnp(argv[0], list(argv), environ, file_actions=actions)
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - begun
    if status != 0:
        raise RuntimeError(f"{' '.join(argv)} failed: {out.read_text(errors='replace')[-500:]}")
    return seconds


def _shown(seconds: float) -> str:
    """Write a duration with three digits that count."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"
