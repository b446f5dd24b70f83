"""At most one driver drives a run.

Correctness depends on the kernel: an exclusive lock on the run's own file is held while the driver lives
and is freed when it dies, however it dies. The file is never deleted (a second holder could lock its
successor); its content only tells who holds it. Whoever asks takes a shared lock for an instant, so a driver
that begins at that very instant tries again for a moment.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from msgspec.structs import replace

from otto_core.errors import Locked
from otto_core.flock import take
from otto_core.model import Outcome
from otto_core.state import Run

_PATIENCE_S: Final = 0.25
"""How long a driver that begins puts up with someone who only asks."""

_POLL_S: Final = 0.01


def driver_name() -> str:
    """Name this process: `pid@host`."""
    return f"{os.getpid()}@{os.uname().nodename}"


_DELIVERY = "delivery"
"""The name of the lock under which the user's branches are moved; no run is named so."""


@contextmanager
def hold(store: Path, run: str) -> Iterator[None]:
    """Hold the lock of a run.

    Raises:
        Locked: another living process holds it.

    """
    hint = f"wait for it, or follow it with `otto log {run}`"
    with _held(_place(store, run), f"{run} is driven by", hint):
        yield


@contextmanager
def hold_delivery(store: Path) -> Iterator[None]:
    """Hold the repository's one lock for moving branches of the user's.

    Raises:
        Locked: another living process holds it.

    """
    with _held(_place(store, _DELIVERY), "another result is being landed by", "wait for it, then land again"):
        yield


def is_delivering(store: Path) -> bool:
    """Tell whether a living process moves a branch of the user's now."""
    return is_driven(store, _DELIVERY)


@contextmanager
def _held(place: Path, what: str, hint: str) -> Iterator[None]:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + _PATIENCE_S
    with place.open("a+", encoding="utf-8") as file:
        while not take(file):
            if time.monotonic() >= deadline:
                raise Locked(f"{what} {_holder(place)}", hint=hint)
            time.sleep(_POLL_S)
        file.truncate(0)
        file.write(driver_name())
        file.flush()
        yield


def is_driven(store: Path, run: str) -> bool:
    """Tell whether a living process drives the run. Takes the lock for an instant if it is free."""
    return probe(store, run)[0] == "held"


def probe(store: Path, run: str) -> tuple[Literal["held", "free", "gone"], tuple[int, int] | None]:
    """Say how the lock of a run is, and of which file, by device and inode, that was said."""
    try:
        with _place(store, run).open("rb") as file:
            status = os.fstat(file.fileno())
            said: Literal["held", "free"] = "free" if take(file, shared=True) else "held"
            return said, (status.st_dev, status.st_ino)
    except (FileNotFoundError, NotADirectoryError):
        return "gone", None


def as_seen(store: Path, run: Run) -> Run:
    """Give a run as a person should see it: one that nobody drives any more is interrupted."""
    if run.outcome is not Outcome.RUNNING or is_driven(store, run.id):
        return run
    return replace(run, outcome=Outcome.INTERRUPTED, paused=f"its driver, {run.start.driver}, is gone")


def _place(store: Path, run: str) -> Path:
    return store / "runs" / f"{run}.lock"


def _holder(place: Path) -> str:
    try:
        return place.read_text("utf-8", "replace").strip() or "an unknown process"
    except OSError:
        return "an unknown process"
