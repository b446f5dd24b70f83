"""What one driver holds open while it drives a run.

The state, the journal, the repository, the stop signal.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from otto_core import events as ev
from otto_core.config import Settings
from otto_core.copies import Copies
from otto_core.copies import secrets as secrets_of
from otto_core.environment import allowed
from otto_core.errors import Locked
from otto_core.git.repository import GitRepository
from otto_core.journal import Appended, Journal, Outdated, steps
from otto_core.locks import LockTable
from otto_core.marker import marker_of
from otto_core.sandbox import View, view_of, with_repository
from otto_core.slots import Pool, Slot, worktree_root
from otto_core.state import Run
from otto_core.stop import Stop

T = TypeVar("T")
Observer = Callable[[ev.Event, Run], None]
"""Told of each event after it is journalled, with the state after it."""


@dataclass(slots=True)
class Session:
    """One driver's view of one run. Lives in the event loop's thread; only `in_thread` leaves it."""

    run: Run
    journal: Journal
    repository: GitRepository
    settings: Settings
    worktrees: Path
    copies: Copies = field(default_factory=Copies)
    view: View | None = None
    """What commands see of the machine; None where nothing is out of their reach."""
    locks: LockTable | None = None
    """The locks of the run; None where it is unlocked."""
    observe: Observer = lambda _event, _run: None
    stop: Stop = field(default_factory=Stop)
    blocking: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(thread_name_prefix="otto-git")
    )
    started: float = field(default_factory=time.monotonic)
    before_s: float = field(init=False)
    """How long earlier drivers of the run worked on it."""
    drives: int = field(init=False)
    """Which of the run's drivers this one is, counted from 1."""
    pool: Pool = field(init=False)

    def __post_init__(self) -> None:
        """Keep the slots of attempts for as long as this driver drives."""
        self.pool = Pool(self.worktrees, "slot", self.settings.worktrees.ports)
        self.before_s = self.run.elapsed_s
        self.drives = self.run.drives

    @property
    def elapsed_s(self) -> float:
        """Seconds that drivers have worked on the run, by the monotonic clock."""
        return self.before_s + time.monotonic() - self.started

    @property
    def logs(self) -> Path:
        """The directory of the run's logs."""
        return self.repository.store / "logs" / self.run.id

    def append(self, *events: ev.Event, seen: Run | None = None) -> bool:
        """Journal events decided on the state `seen`, the present one unless given.

        False if someone else moved a task first.

        Raises:
            Locked: another driver goes on with the run.

        """
        self._require_drive()
        timed = [structs.replace(event, elapsed_s=round(self.elapsed_s, 3)) for event in events]
        match self.journal.append(seen or self.run, timed):
            case Appended(run):
                before, self.run, self.drives = self.run.seq, run, run.drives
                if run.seq == before + len(timed):
                    for event in timed:
                        self.observe(event, run)
                else:  # what others journalled in between is news, too
                    for stored in self.journal.events(run.id, after=before):
                        self.observe(stored.event, run)
                return True
            case Outdated():
                self.catch_up()
                return False

    def catch_up(self) -> None:
        """Fold what others journalled of the run, such as a person's decisions, and tell the observer.

        Raises:
            Locked: another driver goes on with the run.

        """
        for event, now in steps(self.run, self.journal.events(self.run.id, after=self.run.seq)):
            self.run = now
            self.observe(event, now)
        self._require_drive()

    def _require_drive(self) -> None:
        if self.run.drives != self.drives:
            raise Locked(
                f"{self.run.id} is driven by {self.run.driver} now", hint=f"otto status {self.run.id}"
            )

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do blocking Git or file work off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.blocking, work)

    def cage(self, slot: Slot) -> tuple[str, ...]:
        """Give the command line that a step in this slot is put behind; nothing where none is used."""
        if self.view is None:
            return ()
        slot.home.mkdir(exist_ok=True)
        return self.view.cage(work=slot.path, writable=(slot.io,), home=slot.home)

    def marker(self, name: str) -> str:
        """Give the marker of what executes under a name."""
        return marker_of(self.repository.store, self.run.id, name)

    def secrets(self) -> dict[str, str]:
        """Give the name of each value that must not reach a log: those of `env_pass` and of copied files."""
        passed = {os.environ[name]: name for name in self.settings.env_pass if name in os.environ}
        return {**secrets_of(self.copies), **passed}

    def environment(self, **extra: str) -> dict[str, str]:
        """Give the environment of a step: the allow-list and what Otto adds."""
        return {**allowed(self.settings.env_pass), **extra}


def open_session(
    run: Run, journal: Journal, repository: GitRepository, settings: Settings, copies: Copies, bwrap: str
) -> Session:
    """Open the session of a run whose commands are put behind the program `bwrap`; empty for none.

    Raises:
        UsageError: the configured place of the worktrees is not possible.
        RepositoryUnusable: the user has no home directory.

    """
    worktrees = worktree_root(repository, settings.worktrees.root)
    session = Session(run, journal, repository, settings, worktrees, copies)
    if bwrap:
        view = view_of(bwrap, repository, settings, worktrees)
        linked = settings.worktrees.isolation == "linked"
        session.view = with_repository(view, repository) if linked else view
    return session
