"""The pool of worktrees: where slots lie, what one consists of, and how one is borrowed.

Correctness depends on the slot's lock being held from borrow to return: the kernel frees it when the process
dies, so a slot is never used by two.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path

import portalocker

from merge.objects import Oid
from merge.trees import Entry
from otto_core.environment import cache
from otto_core.errors import RepositoryUnusable, UsageError
from otto_core.flock import take
from otto_core.git.repository import GitRepository
from otto_core.places import is_frozen
from otto_core.ports import reserve
from otto_core.scan import Stamp


@dataclass(frozen=True, slots=True)
class Filling:
    """What a worktree held when Otto had filled it with a tree.

    `stamps` prove a file untouched by themselves. Those in `recent` were too young for that: the content has
    to agree as well. `directories` gives mode bits, `conversion` names how blobs became files.
    """

    tree: Oid
    entries: Mapping[bytes, Entry]
    stamps: Mapping[bytes, Stamp]
    recent: Mapping[bytes, Stamp]
    directories: Mapping[bytes, int]
    conversion: str


@dataclass(slots=True)
class Slot:
    """One worktree of the pool and what Otto knows of its state.

    `path` is the worktree, which an attempt may do anything to; `own` holds the git directory and index
    that reset and snapshot use; `io` holds what passes between Otto and the attempt.
    """

    path: Path
    own: Path
    io: Path
    identity: tuple[int, int] | None = None
    filling: Filling | None = None
    """What is known of the worktree's files; None where this driver did not fill it, or lost it."""
    apart: dict[bytes, Stamp | None] = field(default_factory=dict)
    """What Otto itself put beside the tree; no snapshot holds it. Copied files have their stamp."""
    stale: str | None = None
    """The key under which setup has yet to run here; None where what it made holds, or there is no setup."""
    linked: bool = False
    """Whether the worktree is to be a linked one of the user's repository (`isolation: linked`)."""
    lock: int | None = None
    """The open file that the slot's lock is on; None where this process does not use the slot."""
    first_port: int | None = None
    """The first of the block of ports that the borrower has; None where there is no block."""

    @classmethod
    def below(cls, root: Path, name: str) -> "Slot":
        """Name a slot's places below the root of a pool."""
        return cls(root / name, root / ".otto" / name, root / ".io" / name)

    @property
    def keep(self) -> tuple[int, ...]:
        """What a git inherits that writes here, so that nobody gets the slot before that git has ended."""
        return () if self.lock is None else (self.lock,)

    @property
    def known(self) -> Filling:
        """What the worktree was filled with (ValueError where it was not)."""
        if self.filling is None:
            raise ValueError(f"{self.path} was not filled")
        return self.filling

    @property
    def lock_file(self) -> Path:
        """The file whose lock whoever uses the slot holds."""
        return self.own.with_name(f"{self.own.name}.lock")

    @property
    def git_dir(self) -> Path:
        """The git directory that reset and snapshot use."""
        return self.own / "git"

    @property
    def conversion(self) -> Path:
        """Where the conversion of the files that the index there describes is noted."""
        return self.git_dir / "conversion"

    @property
    def made(self) -> Path:
        """Where what setup made is noted, and waits while the worktree is reset."""
        return self.own.parent.parent / ".made" / self.own.name

    @property
    def temporary(self) -> Path:
        """`TMPDIR` of the attempt."""
        return self.io / "tmp"

    @property
    def home(self) -> Path:
        """What stands in for the user's home where that is out of reach."""
        return self.io / "home"

    @property
    def environment(self) -> dict[str, str]:
        """What a step learns of the slot that it executes in."""
        ports = {} if self.first_port is None else {"OTTO_PORT_BASE": str(self.first_port)}
        return {"TMPDIR": str(self.temporary), "OTTO_WORKTREE": str(self.path), **ports}

    @property
    def prompt_file(self) -> Path:
        """Where the attempt finds its prompt."""
        return self.io / "prompt.md"

    @property
    def result_file(self) -> Path:
        """Where the attempt may leave its result."""
        return self.io / "result.json"


def worktree_root(repository: GitRepository, configured: Path | None = None) -> Path:
    """Give the directory of a repository's worktrees: below the user's cache unless configured.

    Either way it is a directory of Otto's own, named after the repository.

    Raises:
        UsageError: the place is relative, or inside the repository.
        RepositoryUnusable: none is configured, and the user has no home.

    """
    top = cache() / "worktrees" if configured is None else configured
    if not top.is_absolute():
        raise UsageError(f"`worktrees.root` is relative: {top}", hint="write an absolute path, or `null`")
    for inside in filter(None, (repository.workdir, repository.common_dir)):
        if top.resolve().is_relative_to(inside.resolve()):
            outside = "write `worktrees.root: /absolute/path/outside`"
            if configured is None:
                raise UsageError(f"the cache directory lies inside the repository: {top}", hint=outside)
            raise UsageError(
                f"`worktrees.root` lies inside the repository: {top}", hint=f"{outside}, or `null`"
            )
    digest = sha256(os.fsencode(repository.common_dir)).hexdigest()[:10]
    return top.resolve() / f"{repository.name}-{digest}"


@dataclass(slots=True)
class Pool:
    """The slots of a kind that one driver has borrowed: kept, and so known, until the pool is closed."""

    root: Path
    kind: str
    ports: int = 0
    """How many ports each slot has to itself."""
    _idle: list[Slot] = field(default_factory=list)
    _loans: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def lend(self) -> Iterator[Slot]:
        """Lend a slot that no one else uses: one that was used before if there is any.

        One whose worktree was made immutable, as a task of root's can do, is left alone: `otto doctor` tells.

        Raises:
            RepositoryUnusable: the place cannot be written, or no ports are left.

        """
        while self._idle and is_frozen(self._idle[-1].path):
            self._idle.pop()
        slot = self._idle.pop() if self._idle else self._borrow()
        try:
            yield slot
        finally:
            self._idle.append(slot)

    def _borrow(self) -> Slot:
        slot = self._loans.enter_context(borrow(self.root, self.kind))
        slot.first_port = self._loans.enter_context(reserve(self.ports))
        return slot

    def close(self) -> None:
        """Give all slots back."""
        self._idle.clear()
        self._loans.close()


@contextmanager
def borrow(root: Path, kind: str) -> Iterator[Slot]:
    """Borrow a free slot of a kind (`slot` for attempts, `check` for checks) and hold its lock meanwhile.

    Raises:
        RepositoryUnusable: the place cannot be written.

    """
    lock, slot = _lock_free_slot(root, kind)
    try:
        yield slot
    finally:
        lock.release()


@contextmanager
def claim(slot: Slot) -> Iterator[bool]:
    """Take a slot's lock if nobody uses the slot; gives whether that was so."""
    lock = portalocker.Lock(slot.lock_file, mode="a", timeout=0)
    try:
        slot.lock = lock.acquire(fail_when_locked=True).fileno()
    except portalocker.LockException:
        yield False
        return
    try:
        yield True
    finally:
        slot.lock = None
        lock.release()


def is_borrowed(slot: Slot) -> bool:
    """Tell whether a living process uses a slot. Writes nothing; takes its lock for an instant."""
    try:
        with slot.lock_file.open("rb") as file:
            return not take(file, shared=True)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _lock_free_slot(root: Path, kind: str) -> tuple[portalocker.Lock, Slot]:
    own = root / ".otto"
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in count():
            slot = Slot.below(root, f"{kind}-{number}")
            lock = portalocker.Lock(slot.lock_file, mode="a", timeout=0, fail_when_locked=True)
            with suppress(portalocker.LockException):
                slot.lock = lock.acquire().fileno()
                if not is_frozen(slot.path):
                    return lock, slot
                lock.release()
    except OSError as error:
        raise RepositoryUnusable(
            f"the worktrees below {root} cannot be used: {error.strerror}",
            hint="set `worktrees.root` to a writable place",
        ) from error
    raise AssertionError("numbers do not end")
