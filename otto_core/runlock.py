"""At most one driver drives a run.

Correctness depends on the kernel: exclusive locks on two files of the run's own are held while the driver
lives and are freed when it dies, however it dies. Otto never deletes them (a second holder could lock their
successors). They lie in two directories: where somebody else deletes or replaces one, the other still tells,
and still keeps a second driver out. Their content only tells who holds them. Whoever asks takes a shared lock
for an instant, so a driver that begins at that very instant tries again. The machine, or a person, may have
stopped the asker just then; or a child of a dead driver, which has its locks until it executes its program.

Whether a run is driven is asked here and nowhere else: the lock table, `otto status` and `otto doctor` agree.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Final

from msgspec.structs import replace

from otto_core.errors import Locked
from otto_core.events import RunPaused
from otto_core.flock import take
from otto_core.model import Outcome
from otto_core.state import Run

_PATIENCE_S: Final = 0.25
"""After how long a driver that begins looks whether another one drives, or somebody only asks."""

_UNDRIVEN_S: Final = 10.0
"""How long it puts up with somebody who only asks, or with what a dead driver left."""

_POLL_S: Final = 0.01


def driver_name() -> str:
    """Name this process: `pid@host`."""
    return f"{os.getpid()}@{os.uname().nodename}"


_DELIVERY = "delivery"
"""The name of the lock under which the user's branches are moved; no run is named so."""

_CLEANING = "cleaning"
"""The name of the lock under which what runs left is removed; no run is named so."""


@contextmanager
def hold(store: Path, run: str) -> Iterator[None]:
    """Hold the lock of a run.

    Raises:
        Locked: another living process holds it.

    """
    hint = f"wait for it, or follow it with `otto log {run} -f`"
    with _held(_places(store, run), f"{run} is driven by", hint):
        yield


@contextmanager
def hold_delivery(store: Path) -> Iterator[None]:
    """Hold the repository's one lock for moving branches of the user's.

    Raises:
        Locked: another living process holds it.

    """
    what, hint = "another result is being landed by", "wait for it, then land again"
    with _held(_places(store, _DELIVERY), what, hint):
        yield


@contextmanager
def hold_cleaning(store: Path) -> Iterator[None]:
    """Hold the repository's one lock for removing what runs left.

    Raises:
        Locked: another living process holds it.

    """
    what, hint = "this repository is being cleaned by", "wait for it, then clean again"
    with _held(_places(store, _CLEANING), what, hint):
        yield


def is_delivering(store: Path) -> bool:
    """Tell whether a living process moves a branch of the user's now."""
    return is_driven(store, _DELIVERY)


@contextmanager
def _held(places: tuple[Path, ...], what: str, hint: str) -> Iterator[None]:
    began = time.monotonic()
    with ExitStack() as held:
        files = []
        for place in places:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = held.enter_context(place.open("a+", encoding="utf-8"))
            while not take(file):
                waited_s = time.monotonic() - began
                if waited_s >= _PATIENCE_S and _is_by_the_living(place):
                    raise Locked(f"{what} {_holder(place)}", hint=hint)
                if waited_s >= _UNDRIVEN_S:
                    raise Locked(
                        f"{place} is held by a process that is not {_holder(place)}, which has ended",
                        hint=f"see who holds it, such as with `fuser -v {quote(str(place))}`",
                    )
                time.sleep(_POLL_S)
            files.append(file)
        for file in files:
            file.truncate(0)
            file.write(f"{driver_name()} since {datetime.now(UTC).isoformat(timespec='seconds')}")
            file.flush()
        yield


def _is_by_the_living(place: Path) -> bool:
    """Tell whether a lock is taken, and not by one who is dead to go by the name that it has."""
    pid, _, where = _holder(place).partition(" ")[0].partition("@")
    ours = pid.isdecimal() and where == os.uname().nodename
    return _is_taken(place) and not (ours and _has_ended(int(pid)))


def _has_ended(pid: int) -> bool:
    """Tell whether there is no such process any more, or a zombie; False where the system has no proc(5).

    `kernel` tells more, and needs psutil, which is not to be loaded for `otto status`.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return Path("/proc/self/stat").exists()
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def is_driven(store: Path, run: str) -> bool:
    """Tell whether a living process drives the run. Takes what is free of its locks for an instant."""
    return any(map(_is_taken, _places(store, run)))


def _is_taken(place: Path) -> bool:
    try:
        with place.open("rb") as file:
            return not take(file, shared=True)
    except (FileNotFoundError, NotADirectoryError):
        return False


def as_seen(store: Path, run: Run, refresh: Callable[[Run], Run]) -> Run:
    """Give a run as a person should see it: one that nobody drives any more is interrupted.

    Its driver may have ended since the run was read, and with it the run: so `refresh`, which folds what was
    journalled since, goes after the look for the driver, and has to find nothing new.
    """
    while run.outcome is Outcome.RUNNING and not is_driven(store, run.id):
        now = refresh(run)
        if now.seq == run.seq:
            return as_left(run)
        run = now
    return run


def as_left(run: Run) -> Run:
    """Give a run that nobody drives, such as one whose lock is held, as a person should see it."""
    if run.outcome is not Outcome.RUNNING:
        return run
    told = RunPaused(outcome=Outcome.INTERRUPTED, message=f"its driver, {run.driver}, is gone")
    return replace(run, outcome=told.outcome, paused=told)


def _places(store: Path, run: str) -> tuple[Path, ...]:
    return store / "runs" / f"{run}.lock", store / "locks" / f"{run}.driver"


def _holder(place: Path) -> str:
    try:
        return place.read_text("utf-8", "replace").strip() or "an unknown process"
    except OSError:
        return "an unknown process"
