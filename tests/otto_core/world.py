"""What surrounds a run, made up: Git, worktrees, processes, locks, clocks and the journal's table.

A world outlives its drivers, as the real one does: when a driver is killed its memory is gone, its locks are
free, and all else stays as it was at that instant. What the journal takes or refuses is decided by the very
function that the real one asks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from otto_core import events as ev
from otto_core.journal import Appended, Outdated, Stored, appended
from otto_core.recovery import Tip
from otto_core.refnames import run_ref, task_ref
from otto_core.state import Run
from planner.model import Plan
from tests.otto_core.simulation import oid

RUN = "r-20261120-test"
TIP = run_ref(RUN, "tip")
OURS = run_ref(RUN) + "/"


class Who(NamedTuple):
    """An attempt, by its task and number."""

    task: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: of nobody's in particular, a snapshot (`holds`), or a candidate (`lands`)."""

    id: str
    parents: tuple[str, ...] = ()
    tree: str = ""
    contracts: Mapping[str, str | None] = field(default_factory=dict)
    holds: Who | None = None
    work: int = 0
    """How much of what the attempt wrote a snapshot holds."""
    lands: Who | None = None
    """The trailers."""


class Moved(NamedTuple):
    """A ref that was moved, and whether Otto did it."""

    ref: str
    before: str | None
    after: str | None
    by_otto: bool


@dataclass(slots=True)
class Git:
    """Commits and refs. `moves` tells who moved which."""

    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    moves: list[Moved] = field(default_factory=list)
    checked_out: str | None = None

    def commit(self, made: Commit) -> Commit:
        """Write a commit; no ref moves."""
        self.commits[made.id] = made
        return made

    def move(self, ref: str, to: str | None, *, by_otto: bool = True) -> None:
        """Set a ref whatever it is, or delete it."""
        self.moves.append(Moved(ref, self.refs.get(ref), to, by_otto))
        if to is None:
            self.refs.pop(ref, None)
        else:
            self.refs[ref] = to

    def swap(self, ref: str, expected: str | None, to: str) -> bool:
        """Set a ref if it holds what is expected."""
        if self.refs.get(ref) != expected:
            return False
        self.move(ref, to)
        return True

    def chain(self, tip: str | None, base: str) -> list[Commit] | None:
        """List the first parents from a tip down to the base (excluded); None where it is not there."""
        found: list[Commit] = []
        while tip is not None and tip != base:
            commit = self.commits[tip]
            found.append(commit)
            tip = commit.parents[0] if commit.parents else None
        return found if tip == base else None

    def tip_of(self, run: Run) -> Tip:
        """Look where the run's tip is, and whether the task that is landing stands on it."""
        tip = self.refs.get(TIP)
        if tip is None:
            return Tip(None)
        chain = self.chain(tip, run.start.base)
        if chain is None:
            return Tip(tip, on_base=False)
        below = [commit.id for commit in chain if commit.lands and commit.lands.task == run.landing]
        return Tip(tip, below[-1] if below else None)


@dataclass(slots=True)
class Slot:
    """A worktree: who holds its lock, the attempt that its note names, and what that wrote."""

    holder: object = None
    note: Who | None = None
    wrote: Who | None = None
    work: int = 0


@dataclass(slots=True, eq=False)
class Process:
    """What executes for an attempt, or a check of what it produced; `code` is how it ended."""

    of: Who | None
    slot: Slot | None
    driver: object
    code: int | None = None

    @property
    def alive(self) -> bool:
        return self.code is None


class Entry(NamedTuple):
    """One append: the state its writer saw, those around it, what was stored from `first` on, who wrote."""

    seen: Run
    before: Run
    after: Run
    events: tuple[ev.Event, ...]
    first: int
    author: object


@dataclass(slots=True)
class Ledger:
    """The journal's table. Other runs write to it, too, so the numbers of this one have gaps."""

    head: Run = field(default_factory=lambda: Run(RUN))
    stored: list[Stored] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    seq: int = 0

    def append(self, author: object, seen: Run, events: Sequence[ev.Event]) -> Appended | Outdated:
        before = self.head
        if not events:
            return Appended(before)
        after = appended(seen, before, events)
        if isinstance(after, Outdated):
            return after
        first = self.seq + 1
        for event in events:
            self.seq += 1
            self.stored.append(Stored(self.seq, RUN, "", event))
        self.head = replace(after, seq=self.seq)
        self.entries.append(Entry(seen, before, self.head, tuple(events), first, author))
        return Appended(self.head)


class Journal:
    """The journal as one writer has it open: what the core asks of the real one."""

    def __init__(self, ledger: Ledger, author: object) -> None:
        self._ledger = ledger
        self._author = author
        self._known = 0

    def append(self, run: Run, events: Sequence[ev.Event]) -> Appended | Outdated:
        return self._ledger.append(self._author, run, events)

    def load(self, _: str) -> Run:
        return self._ledger.head

    def refresh(self, run: Run) -> Run:
        return self._ledger.head if run.seq != self._ledger.head.seq else run

    def events(self, _: str, *, after: int = 0) -> Iterator[Stored]:
        stored = self._ledger.stored
        first = len(stored)
        while first and stored[first - 1].seq > after:
            first -= 1
        yield from stored[first:]

    @property
    def news(self) -> bool:
        """Whether another writer wrote since this was last asked by `has_news`."""
        entries = self._ledger.entries
        return any(entry.author is not self._author for entry in entries[self._known :])

    def has_news(self) -> bool:
        found = self.news
        self._known = len(self._ledger.entries)
        return found


@dataclass(slots=True)
class World:
    """All that is outside of a driver."""

    base_passes: bool = True
    """Whether the check before every landing passes on the base."""
    git: Git = field(default_factory=Git)
    ledger: Ledger = field(default_factory=Ledger)
    slots: list[Slot] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    written: dict[Who, int] = field(default_factory=dict)
    """How much each attempt has written."""
    passed: set[tuple[str, str]] = field(default_factory=set)
    """Which checks did pass, by command and tree."""
    driven_by: object = None
    """Who holds the run's lock."""
    meddled: bool = False
    """Whether somebody moved the run's tip, or took a living driver's lock away."""
    robbed: bool = False
    """Whether a driver lived on after its lock was taken away.

    Then two may drive until one is told. Nothing lands twice even so, the journal stays right, and no slot is
    reset before its work is kept; but what the one executes, the other may take for ended.
    """
    write_sets: dict[str, object] = field(default_factory=dict)
    theirs: set[str] = field(default_factory=set)
    """The tasks whose paths another run is writing."""
    clock_s: float = 1000.0
    """The monotonic clock."""
    wall_s: float = 1_790_000_000.0
    driven_s: float = 0.0
    """For how long anybody has driven the run: what its elapsed time may not exceed."""
    made: int = 0

    @property
    def run(self) -> Run:
        """The run as the journal has it."""
        return self.ledger.head

    def name(self, *parts: object) -> str:
        """Make an id that nothing has yet: two commits are never the same, as their times differ."""
        self.made += 1
        return oid(self.made, *parts)

    def begin(self, plan: Plan, started: ev.RunStarted, author: object) -> None:
        """Pin the base, set the tip to it, and journal the run with its plan."""
        self.git.commit(Commit(plan.base, tree=oid("base"), contracts=dict(started.contracts)))
        self.git.move("refs/heads/main", plan.base, by_otto=False)
        self.git.move(run_ref(RUN, "base"), plan.base)
        self.git.move(TIP, plan.base)
        self.driven_by = author
        stored = ev.PlanStored(revision=1, plan_id=oid("plan", 1), plan=plan)
        self.ledger.append(author, Run(RUN), [started, stored])

    # --- worktrees

    def lend(self, borrower: object) -> Slot:
        """Lend a slot that nobody uses. What a dead driver left in it is kept first, whoever borrows it."""
        idle = [slot for slot in self.slots if slot.holder is None]
        if not idle:
            idle = [Slot()]
            self.slots += idle
        slot = idle[0]
        slot.holder = borrower
        self.salvage(slot)
        return slot

    def salvage(self, slot: Slot) -> None:
        """End what still uses a slot that a note is on, keep what is there, take the note off."""
        if slot.note is None:
            return
        for process in self.alive(attempts=True):
            if process.of == slot.note:
                process.code = -9
        if slot.work:
            self.snapshot(slot, slot.note, self.run.start.base)
        slot.note = None

    def reset(self, slot: Slot) -> None:
        """Bring a slot to a base: what was there is gone."""
        users = [p for p in self.processes if p.alive and p.slot is slot]
        assert not users, f"I13: a process still uses the slot that is reset: {users}"
        assert slot.work == 0 or self.keeps(slot.wrote, slot.work), f"I7: what {slot.wrote} wrote is lost"
        slot.wrote, slot.work = None, 0

    def keeps(self, who: Who | None, work: int) -> bool:
        """Tell whether a ref names a snapshot with all that an attempt wrote."""
        kept = self.git.refs.get(attempt_ref(who)) if who else None
        return kept is not None and self.git.commits[kept].work == work

    def snapshot(self, slot: Slot, who: Who, base: str) -> str | None:
        """Make what a slot holds a commit under a ref of its attempt's; None where nothing was written."""
        identity = self.name("snapshot", who)
        self.git.commit(Commit(identity, (base,), tree=f"tree {identity}", holds=who, work=slot.work))
        self.git.move(attempt_ref(who), identity)
        return identity if slot.work else None

    def kept(self, who: Who) -> str | None:
        """Give the snapshot of an attempt that a ref names, if there is anything in it."""
        found = self.git.refs.get(attempt_ref(who))
        return found if found and self.git.commits[found].work else None

    # --- processes

    def spawn(self, driver: object, of: Who | None, slot: Slot | None = None) -> Process:
        process = Process(of, slot, driver)
        self.processes.append(process)
        return process

    def alive(self, *, attempts: bool | None = None) -> list[Process]:
        """List the run's living processes: all, or those of attempts, or those of checks."""
        living = [process for process in self.processes if process.alive]
        if attempts is None:
            return living
        return [process for process in living if (process.slot is not None) is attempts]

    def write(self, process: Process) -> None:
        """Let an attempt write something."""
        assert process.slot is not None
        assert process.of is not None
        process.slot.wrote = process.of
        process.slot.work += 1
        self.written[process.of] = self.written.get(process.of, 0) + 1

    # --- drivers

    def release(self, driver: object) -> None:
        """Free what the kernel frees when a process ends, however it ends."""
        if self.driven_by is driver:
            self.driven_by = None
        for slot in self.slots:
            if slot.holder is driver:
                slot.holder = None
        self.write_sets = {task: who for task, who in self.write_sets.items() if who is not driver}


def candidate_ref(who: Who) -> str:
    """Name the ref that keeps a candidate."""
    return task_ref(RUN, who.task, f"candidate-{who.attempt}")


def attempt_ref(who: Who) -> str:
    """Name the ref that keeps what an attempt wrote."""
    return task_ref(RUN, who.task, f"attempt-{who.attempt}")
