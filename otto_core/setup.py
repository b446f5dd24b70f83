"""Make a worktree fit for use: the tree, the copied files, and what the setup commands make.

Setup runs once per slot and key, as gated steps, on the plain tree of a commit. What it made that the base
ignores is kept for the next use of the slot while the key holds (`otto_core.made`); whatever else it wrote
is gone before anyone works there.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from merge.objects import GitError, Oid
from merge.patterns import PathSet
from merge.trees import Entry, entry, walk
from otto_core import events as ev
from otto_core.copies import Copies, put_in
from otto_core.errors import RepositoryUnusable
from otto_core.execution import Ending, Exited, NotStarted, Overgrown, Stopped, Survived, TimedOut, Unconfined
from otto_core.feedback import tail
from otto_core.gate import ExecutionGate, Place, SetupStep
from otto_core.git.repository import GitRepository
from otto_core.judgement import too_many
from otto_core.linked import register, unregister
from otto_core.made import bring_back, forget, note_down, set_apart
from otto_core.model import Reason, ReasonKind
from otto_core.occupancy import Occupant, occupy
from otto_core.refusals import is_of_the_machine
from otto_core.salvage import salvage
from otto_core.session import Session
from otto_core.slots import Slot
from otto_core.snapshot import ignored
from otto_core.worktrees import reset
from planner.durations import format_duration
from planner.model import Command, Setup

_PLAIN = re.compile(r"[^*?\[\\]+")


@dataclass(frozen=True, slots=True)
class Ready:
    """The worktree is fit for use."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Setup failed, and why; `repeatable` unless something of it is still alive."""

    reason: Reason
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Behalf:
    """For whom a worktree is set up: a task's attempt, its checks, or (no task) the run's own checks."""

    run: str
    log: str
    task: str | None = None
    attempt: int | None = None

    @property
    def hint(self) -> str:
        """What to type to see the output."""
        which = f"{self.task} --attempt {self.attempt} " if self.task else ""
        return f"otto logs {which}--setup --run {self.run}"


def furnish(slot: Slot, repository: GitRepository, commit: Oid, session: Session) -> None:
    """Bring a slot to the tree of a commit, with the copied files and what setup made, if that still holds.

    What an attempt left there whose driver died is kept first. Where setup's work does not hold,
    `slot.stale` says under which key setup has yet to run.

    Raises:
        RepositoryUnusable: the slot cannot be written, or what is there cannot be kept.

    """
    salvage(slot, repository)
    setup, copies = session.run.plan.setup, session.copies
    slot.apart.clear()
    slot.stale = None if setup is None else key_of(repository, commit, setup, copies)
    try:
        note = None
        if slot.stale is not None:
            note = set_apart(slot, slot.stale)
        unregister(slot, repository)
        reset(slot, repository, commit)
        if slot.linked:
            register(slot, repository, commit)
        if note is not None and bring_back(slot, note):
            slot.stale = None
        put_in(slot, copies)
        if slot.apart and not slot.linked:
            _exclude(slot)
    except OSError as error:
        raise RepositoryUnusable(
            f"the worktree {slot.path} cannot be written: {error.strerror or error}",
            hint="check its disk, or set `worktrees.root` to another place",
        ) from error


async def set_up(
    session: Session, gate: ExecutionGate, slot: Slot, commit: Oid, behalf: Behalf
) -> Ready | Unfit | Stopped:
    """Run the setup commands in a stale slot, and furnish it again with the same commit.

    Journals how it ended, unless the driver is stopping.
    """
    stored = session.run.stored[0]
    setup, key = stored.plan.setup, slot.stale
    if setup is None or key is None:
        return Ready()
    place = _place(session, slot, behalf)
    spent_s = 0.0
    for number, command in enumerate(setup.commands):
        occupy(slot, Occupant(marker=place.marker))
        ending = await gate.execute(SetupStep(stored.revision, stored.plan_id, number), place)
        spent_s += getattr(ending, "duration_s", 0.0)
        if isinstance(ending, Stopped):
            return ending
        reason = _why_not(ending, command, setup, place, behalf)
        if reason is not None:
            result = "timeout" if isinstance(ending, TimedOut) else "failed"
            session.append(_ended(slot, key, behalf, result, spent_s))
            return Unfit(reason, repeatable=not isinstance(ending, Survived))
    kept = await session.in_thread(partial(_keep, slot, session, commit, key))
    session.append(_ended(slot, key, behalf, "passed" if kept is None else "failed", spent_s))
    return Ready() if kept is None else Unfit(_failed(kept, behalf))


def key_of(repository: GitRepository, commit: Oid, setup: Setup, copies: Copies) -> str:
    """Digest what decides whether the work of setup still holds (SHA-256, hex).

    The commands, the files of the commit that match the key's patterns, and the copied files.
    """
    parts = [f"command {command.argv!r}" for command in setup.commands]
    parts += [f"copies {copies.digest}"]
    tree = repository.tree_of(commit)
    for path, found in sorted(_deciding(repository, tree, setup.key)):
        parts.append(f"file {path.hex()} {found.mode:o} {found.oid}")
    return sha256("\n".join(parts).encode()).hexdigest()


def _deciding(repository: GitRepository, tree: Oid, patterns: Iterable[str]) -> Iterator[tuple[bytes, Entry]]:
    """Find what the key's patterns match; what a plain path names is looked up, and a directory is enough."""
    wild = []
    for pattern in patterns:
        if _PLAIN.fullmatch(pattern):
            path = pattern.strip("/").encode("utf-8", "surrogateescape")
            if (found := entry(repository.repo, tree, path)) is not None:
                yield path, found
        else:
            wild.append(pattern)
    paths = PathSet.parse(wild)
    yield from (item for item in (walk(repository.repo, tree) if wild else ()) if paths.matches(item[0]))


def _keep(slot: Slot, session: Session, commit: Oid, key: str) -> str | None:
    """Note what setup made and bring all else back; gives why not. Runs off the event loop."""
    repository = session.repository.here()
    try:
        note_down(slot, key, ignored(slot, repository))
        furnish(slot, repository, commit, session)
    except (OSError, RecursionError, RepositoryUnusable, GitError) as error:
        forget(slot)
        if is_of_the_machine(error):
            raise
        return f"what it made cannot be kept: {error}"
    return None if slot.stale is None else "what it made does not stay as it is"


def _place(session: Session, slot: Slot, behalf: Behalf) -> Place:
    session.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Place(
        cwd=slot.path,
        env=session.environment(OTTO_RUN=session.run.id, **slot.environment),
        log=session.logs / behalf.log,
        marker=session.marker(behalf.log),
        cage=session.cage(slot),
        secrets=session.secrets(),
    )


def _ended(slot: Slot, key: str, behalf: Behalf, result: str, spent_s: float) -> ev.SetupEnded:
    return ev.SetupEnded(
        slot=slot.own.name,
        key=key,
        task=behalf.task,
        attempt=behalf.attempt,
        result="passed" if result == "passed" else "timeout" if result == "timeout" else "failed",
        duration_s=round(spent_s, 3),
        log=behalf.log,
    )


def _why_not(ending: Ending, command: Command, setup: Setup, place: Place, behalf: Behalf) -> Reason | None:
    match ending:
        case Exited(code=0) | Stopped():
            return None
        case Exited(code=code):
            how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
            last = tail(place.log, lines=1)
            return _failed(f"{command.text} {how}" + (f": {last}" if last else ""), behalf)
        case TimedOut():
            limit = format_duration(setup.timeout_s)
            last = tail(place.log, lines=1)
            return _failed(
                f"`worktrees.setup_timeout` of {limit} fired in {command.text}"
                + (f": {last}" if last else ""),
                behalf,
            )
        case Overgrown(limit=limit):
            return _failed(too_many(limit), behalf)
        case NotStarted(message=message) | Unconfined(message=message):
            with place.log.open("a", encoding="utf-8") as log:
                log.write(f"{message}\n")
            return _failed(message, behalf)
        case Survived(pids=pids):
            return _failed(
                f"processes of {command.text} could not be ended: {', '.join(map(str, pids))}", behalf
            )


def broken(error: Exception, behalf: Behalf) -> Unfit:
    """Say that a worktree cannot be made fit for use for a reason of its own: its disk, its repository."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unfit(_failed(why, behalf))


def _failed(message: str, behalf: Behalf) -> Reason:
    return Reason(
        kind=ReasonKind.SETUP_FAILED,
        message=f"the setup of the worktree failed: {message}",
        hint=behalf.hint,
        evidence=behalf.log,
    )


_SPECIAL = re.compile(rb"([\\*?\[\] !#])")


def _exclude(slot: Slot) -> None:
    """Have the attempt's own git pass over what Otto put beside the tree (gitignore(5), info/exclude)."""
    lines = [b"/%s\n" % _SPECIAL.sub(rb"\\\1", path) for path in sorted(slot.apart) if b"\n" not in path]
    (slot.path / ".git/info/exclude").write_bytes(b"".join(lines))
