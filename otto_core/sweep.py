"""What all parts of an `otto clean` share: what was asked for, and what has come of it so far."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from merge.swap import SwapBusy, SwapRefused
from otto_core.cleaning import Kept
from otto_core.disk import taken_bytes
from otto_core.errors import OttoError
from otto_core.places import remove

Before = Callable[[str], None]
"""Told of each step in words, before it is done."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asked for. A dry run only says what would be done."""

    by: str
    older_than_s: float = 0.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that went, and how many bytes it took; `how` says what had to be done first, if anything."""

    what: str
    taken_bytes: int
    how: str = ""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What went, or in a dry run would go, and what stays."""

    removed: tuple[Removed, ...]
    kept: tuple[Kept, ...]

    @property
    def freed_bytes(self) -> int:
        """How much room that makes."""
        return sum(one.taken_bytes for one in self.removed)


@dataclass(frozen=True, slots=True)
class Sweep:
    """An order under way, and what was removed and kept by now."""

    order: Order
    before: Before
    removed: list[Removed] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    @contextmanager
    def telling(self, what: str) -> Iterator[None]:
        """Keep what cannot be removed, and say why; it hides nothing else."""
        try:
            yield
        except OttoError as error:
            self.kept.append(Kept(what, error.message, error.hint))
        except (OSError, RecursionError, ValueError, SwapBusy, SwapRefused) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.kept.append(Kept(what, f"it cannot be removed: {why}", "see why, then clean again"))

    def take(self, *places: Path, first: Path | None = None) -> int:
        """Remove places in this order, `first` being in one of them; gives how many bytes they took."""
        taken = taken_bytes(*places)
        for place in (first, *places):
            if place is not None and os.path.lexists(place) and not self.order.dry_run:
                self.before(f"removing {place}")
                remove(place)
        return taken
