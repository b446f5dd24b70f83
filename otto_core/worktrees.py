"""Worktrees with a private git directory each: filled, laid over, set aside.

A worktree's own `.git` is built anew for each attempt: it borrows the user's objects, has no remote, and
shares no config, hook, ref or stash with the user's repository. Otto's own git directory of the slot is
cleared of all but its index before each use, so that nothing planted there is read.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from merge.objects import Oid
from merge.trees import walk
from otto_core import places
from otto_core.capture import Completed
from otto_core.errors import RepositoryUnusable
from otto_core.execution import end_marked
from otto_core.git.private import prepare_private
from otto_core.git.program import git, must
from otto_core.git.repository import GitRepository
from otto_core.scan import Scan, scan
from otto_core.slots import Slot


def reset(slot: Slot, repository: GitRepository, commit: Oid) -> None:
    """Bring a slot to exactly the tree of a commit: nothing else is in it, not even ignored files.

    Raises:
        RepositoryUnusable: git cannot write the tree, the place is not Otto's, or its users cannot be ended.

    """
    tree = repository.tree_of(commit)
    _claim(slot)
    _vacate(slot)
    renew(slot, repository)
    slot.tree, slot.entries = tree, dict(walk(repository.repo, tree))
    found = _check_out(slot, tree)
    if found is None:
        set_aside(slot, slot.own / "unclean")
        places.ensure_directory(slot.path)
        must(_read_tree(slot, tree), f"checking out {tree}")
        found = _look(slot)
        _discard(slot.own / "unclean")
    _take_stamps(slot, found)
    _build_git_dir(slot, repository, commit)
    places.fresh_directory(slot.io)
    slot.temporary.mkdir()
    slot.identity = places.identity(slot.path)


def overlay(slot: Slot, tree: Oid) -> bool:
    """Put the files of another tree over a slot that was just reset; the slot's base stays what it is.

    False where git will not write that tree; the slot is then to be reset again.
    """
    index = slot.own / "overlay.index"
    places.remove(index.with_name("overlay.index.lock"))
    places.write_new(index, (slot.git_dir / "index").read_bytes())
    try:
        return _read_tree(slot, tree, {"GIT_INDEX_FILE": str(index)}).code == 0
    finally:
        index.unlink()


def set_aside(slot: Slot, place: Path) -> Path | None:
    """Move a slot's worktree, as it is, out of the pool; gives where it is now, None where it is gone.

    The slot is filled anew when it is borrowed next.
    """
    places.remove(slot.git_dir / "index")
    try:
        places.ensure_directory(place.parent)
    except OSError:  # a task took the name: its worktree goes where only its own slot is concerned
        place = slot.own / "unclean"
    names = chain([place], (place.with_name(f"{place.name}-{n}") for n in count(2)))
    free = next(name for name in names if not os.path.lexists(name))
    try:
        slot.path.rename(free)
    except FileNotFoundError:
        return None
    return free


def renew(slot: Slot, repository: GitRepository) -> None:
    """Clear Otto's places of a slot of all but its index, and write the rest anew."""
    for entry in slot.own.iterdir():
        if entry != slot.git_dir:
            _discard(entry)
    places.ensure_directory(slot.git_dir)
    for entry in slot.git_dir.iterdir():
        if entry.name != "index" or not entry.is_file() or entry.is_symlink():
            places.remove(entry)
    prepare_private(slot.git_dir, repository)


def require_intact(slot: Slot) -> None:
    """Make sure that a slot's worktree is still the directory that was handed out.

    Raises:
        OSError: it was removed, moved or replaced.

    """
    if places.identity(slot.path) != slot.identity:
        raise NotADirectoryError(f"{slot.path} was replaced by another directory")


def _claim(slot: Slot) -> None:
    """Make the slot's places real directories; refuse one that somebody else made."""
    if os.path.lexists(slot.path) and not os.path.lexists(slot.own):
        raise RepositoryUnusable(
            f"{slot.path} exists and was not made by Otto",
            hint="move it away, or set another `worktrees.root`",
        )
    places.ensure_directory(slot.own)
    places.ensure_directory(slot.path)
    try:
        places.remove(slot.path / ".git")
    except (OSError, RecursionError):
        set_aside(slot, slot.own / "unclean")
        places.ensure_directory(slot.path)


def _discard(place: Path) -> None:
    """Remove what was in the way; what resists stays where no one trips over it."""
    with suppress(OSError, RecursionError):
        places.remove(place)


def occupy(slot: Slot, marker: str) -> None:
    """Note the marker of the processes that are about to use a slot, for whoever borrows it after a crash."""
    places.write_new(slot.own / "marker", marker.encode())


def _vacate(slot: Slot) -> None:
    """End what an earlier use left running: a killed driver cannot, and its orphans would write on.

    Raises:
        RepositoryUnusable: something would not end.

    """
    note = slot.own / "marker"
    if note.is_file() and not note.is_symlink():
        left = end_marked(note.read_text(encoding="utf-8", errors="replace"))
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
    try:
        found = _look(slot)
    except (OSError, RecursionError):
        return None
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
    places.write_new(note, b"")
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
