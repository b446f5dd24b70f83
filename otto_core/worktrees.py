"""Pooled worktrees, each with a private git directory.

A slot is two directories: the worktree, which an attempt may do anything to, and a place of Otto's own
beside it with the git directory and index that reset and snapshot use. The worktree's own `.git` is built
anew for each attempt: it borrows the user's objects, has no remote, and shares no config, hook, ref or
stash with the user's repository.

Correctness depends on the slot's lock being held from borrow to return: the kernel frees it when the
process dies, so a slot is never used by two.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path

import platformdirs
import portalocker

from merge.objects import Oid
from merge.trees import Entry, walk
from otto_core.errors import RepositoryUnusable
from otto_core.git import GitRepository, git, must, prepare_private
from otto_core.process import Completed, end_marked
from otto_core.scan import Scan, Stamp, scan


@dataclass(slots=True)
class Slot:
    """One worktree of the pool and what Otto knows of its state."""

    path: Path
    own: Path
    tree: Oid | None = None
    entries: dict[bytes, Entry] = field(default_factory=dict)
    stamps: dict[bytes, Stamp] = field(default_factory=dict)

    @property
    def git_dir(self) -> Path:
        """The git directory that reset and snapshot use; out of the attempt's way."""
        return self.own / "git"

    @property
    def temporary(self) -> Path:
        """`TMPDIR` of the attempt."""
        return self.own / "tmp"

    @property
    def prompt_file(self) -> Path:
        """Where the attempt finds its prompt."""
        return self.own / "prompt.md"

    @property
    def result_file(self) -> Path:
        """Where the attempt may leave its result."""
        return self.own / "result.json"


def worktree_root(repository: GitRepository, configured: Path | None = None) -> Path:
    """Give the directory that holds a repository's worktrees: below the user's cache unless configured."""
    if configured is not None:
        return configured
    digest = sha256(os.fsencode(repository.common_dir)).hexdigest()[:10]
    return Path(platformdirs.user_cache_dir("otto")) / "worktrees" / f"{repository.name}-{digest}"


@contextmanager
def borrow(root: Path, kind: str) -> Iterator[Slot]:
    """Borrow a free slot of a kind (`slot` for attempts, `check` for checks) and hold its lock meanwhile.

    Raises:
        RepositoryUnusable: the place cannot be written.

    """
    lock, number = _lock_free_slot(root / ".otto", kind)
    try:
        yield Slot(root / f"{kind}-{number}", root / ".otto" / f"{kind}-{number}")
    finally:
        lock.release()


def _lock_free_slot(own: Path, kind: str) -> tuple[portalocker.Lock, int]:
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in count():
            lock = portalocker.Lock(own / f"{kind}-{number}.lock", mode="a", timeout=0, fail_when_locked=True)
            with suppress(portalocker.LockException):
                lock.acquire()
                return lock, number
    except OSError as error:
        raise RepositoryUnusable(
            f"the worktrees below {own.parent} cannot be used: {error}",
            hint="set `worktrees.root` to a writable place",
        ) from error
    raise AssertionError("numbers do not end")


def reset(slot: Slot, repository: GitRepository, commit: Oid) -> None:
    """Bring a slot to exactly the tree of a commit: nothing else is in it, not even ignored files.

    Raises:
        RepositoryUnusable: git cannot write the tree, or processes of an earlier use cannot be ended.

    """
    tree = repository.tree_of(commit)
    _vacate(slot)
    slot.path.mkdir(parents=True, exist_ok=True)
    prepare_private(slot.git_dir, repository)
    (slot.git_dir / "index.lock").unlink(missing_ok=True)  # the slot's lock is ours, so its holder is dead
    _remove(slot.path / ".git")
    slot.tree, slot.entries = tree, dict(walk(repository.repo, tree))
    found = _check_out(slot, tree)
    if found is None:
        _remove(slot.path)
        (slot.git_dir / "index").unlink(missing_ok=True)
        slot.path.mkdir()
        must(_read_tree(slot, tree), f"checking out {tree}")
        found = _look(slot)
    _take_stamps(slot, found)
    _build_git_dir(slot, repository, commit)
    _remove(slot.temporary)
    slot.temporary.mkdir()
    slot.result_file.unlink(missing_ok=True)


def overlay(slot: Slot, tree: Oid) -> None:
    """Put the files of another tree over a slot that was just reset; the slot's base stays what it is.

    Raises:
        RepositoryUnusable: git cannot write the tree.

    """
    index = slot.own / "overlay.index"
    shutil.copy2(slot.git_dir / "index", index)
    try:
        must(_read_tree(slot, tree, {"GIT_INDEX_FILE": str(index)}), f"laying {tree} over a worktree")
    finally:
        index.unlink()


def set_aside(slot: Slot, place: Path) -> None:
    """Move a slot's worktree, as it is, out of the pool; the slot is filled anew when it is borrowed next."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    slot.path.rename(place)
    (slot.git_dir / "index").unlink(missing_ok=True)


def occupy(slot: Slot, marker: str) -> None:
    """Note the marker of the processes that are about to use a slot, for whoever borrows it after a crash."""
    (slot.own / "marker").write_text(marker, encoding="utf-8")


def _vacate(slot: Slot) -> None:
    """End what an earlier use left running: a killed driver cannot, and its orphans would write on.

    Raises:
        RepositoryUnusable: something would not end.

    """
    note = slot.own / "marker"
    if note.exists():
        left = end_marked(note.read_text(encoding="utf-8"))
        if left:
            raise RepositoryUnusable(
                f"processes of an earlier attempt still use {slot.path} and cannot be ended",
                hint=f"kill -9 {' '.join(map(str, left))}",
            )
        note.unlink()


def _check_out(slot: Slot, tree: Oid) -> Scan | None:
    """Write the tree over what is there; None where something is in the way that git will not remove."""
    if _read_tree(slot, tree).code != 0:
        return None
    if git("clean", "-ffdxq", git_dir=slot.git_dir, work_tree=slot.path).code != 0:
        return None
    found = _look(slot)
    clean = not found.odd and found.files.keys() <= slot.entries.keys()
    return found if clean else None


def _read_tree(slot: Slot, tree: Oid, env: Mapping[str, str] | None = None) -> Completed:
    return git("read-tree", "--reset", "-u", str(tree), git_dir=slot.git_dir, work_tree=slot.path, env=env)


def _look(slot: Slot) -> Scan:
    return scan(os.fsencode(slot.path), lambda _path, _directory: False)


def _take_stamps(slot: Slot, found: Scan) -> None:
    """Note what a clean slot looks like.

    A file whose change time is not older than the clock tick of the note could change again unseen within
    it (the racy index problem of Git); such stamps are dropped, so those files are compared by content.
    """
    note = slot.own / "note"
    note.write_bytes(b"")
    tick = note.stat().st_ctime_ns
    slot.stamps = {path: stamp for path, stamp in found.files.items() if stamp.ctime_ns < tick}


def _build_git_dir(slot: Slot, repository: GitRepository, commit: Oid) -> None:
    own = slot.path / ".git"
    prepare_private(own, repository)
    author = repository.author()
    with (own / "config").open("a", encoding="utf-8", errors="surrogateescape") as config:
        config.write(f"[user]\n\tname = {_quoted(author.name)}\n\temail = {_quoted(author.email)}\n")
    (own / "refs/heads/otto").write_text(f"{commit}\n")
    shutil.copy2(slot.git_dir / "index", own / "index")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=_make_removable)


def _make_removable(again: Callable[..., object], path: str, _error: object) -> None:
    """Remove what a task made unremovable by taking permissions away."""
    parent = Path(path).parent
    parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
    if Path(path).is_dir() and not Path(path).is_symlink():
        Path(path).chmod(stat.S_IRWXU)
    again(path)
