"""Worktrees with a private git directory each: filled, laid over, set aside.

A worktree's own `.git` is built anew for each attempt: it borrows the user's objects, has no remote, and
shares no config, hook, ref or stash with the user's repository. A slot that this driver has filled before is
brought to another tree in process (`refill`); git does it where the slot is new, much differs, or content is
converted. Otto's own git directory of the slot is cleared of all but its index before git uses it, so that
nothing planted there is read.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

from merge.objects import Oid
from merge.trees import Entry, changes, walk
from otto_core import places
from otto_core.capture import Completed
from otto_core.conversion import VERBATIM, alone, attributes_of, conversion_of
from otto_core.errors import RepositoryUnusable
from otto_core.git.private import prepare_private
from otto_core.git.program import git, must, unless_killed
from otto_core.git.repository import GitRepository, blob_id
from otto_core.index import encode
from otto_core.refill import carry_out, directories_of, plan
from otto_core.scan import Scan, Stamp, scan
from otto_core.slots import Filling, Slot

_FILLING_S = 3600.0
"""How long git may take to fill a worktree: a filter such as Git LFS may fetch all large files."""


def reset(slot: Slot, repository: GitRepository, commit: Oid) -> None:
    """Bring a slot to exactly the tree of a commit: nothing else is in it, not even ignored files.

    Raises:
        RepositoryUnusable: git cannot write the tree, or the place is not Otto's.

    """
    tree = repository.tree_of(commit)
    _claim(slot)
    known, slot.filling = slot.filling, None
    entries = _entries_of(repository, tree, known)
    target = Filling(tree, entries, {}, {}, {}, conversion_of(repository, tree))
    filled = _refill(slot, repository, target, known) if known else None
    if filled is None:
        filled = _fill(slot, repository, target, known)
    slot.filling = filled
    _build_git_dir(slot, repository, commit, filled)
    places.fresh_directory(slot.io)
    slot.temporary.mkdir()
    slot.identity = places.identity(slot.path)


def overlay(slot: Slot, repository: GitRepository, tree: Oid) -> bool:
    """Put the files of another tree over a slot that was just reset; the slot's base stays what it is.

    Content is converted by the base's attributes, as it will be when it is captured.
    False where git will not write that tree; the slot is then to be reset again.

    Raises:
        RepositoryUnusable: git was killed.

    """
    index = slot.own / "overlay.index"
    renew(slot, repository, attributes_of(repository, slot.known.tree))
    places.write_new(index, proven_index(slot.known))
    try:
        done = _read_tree(slot, tree, {"GIT_INDEX_FILE": str(index)})
        return unless_killed(done, f"the git that filled {slot.path}").code == 0
    finally:
        index.unlink()


def set_aside(slot: Slot, *wanted: Path) -> Path | None:
    """Move a slot's worktree, as it is, to the first of these places at which it can be put.

    Gives where it is now, None where it is gone. A name that is taken gets a number. Only the directory's own
    mode becomes Otto's again. The slot is filled anew when it is used next.

    Raises:
        OSError: it can be put at none of them, and is where it was.

    """
    slot.filling = None
    _discard(slot.git_dir / "index")
    refused = None
    for place in wanted:
        try:
            _open_up(slot)
            places.ensure_directory(place.parent)
            names = chain([place], (place.with_name(f"{place.name}-{n}") for n in count(2)))
            free = next(name for name in names if not os.path.lexists(name))
            slot.path.rename(free)
        except OSError as error:
            if not os.path.lexists(slot.path):
                return None
            refused = error
        else:
            return free
    raise refused or ValueError("there is no place to put it at")


def renew(slot: Slot, repository: GitRepository, attributes: bytes = b"") -> None:
    """Clear Otto's places of a slot of all but its index and what is noted of it; write the rest anew.

    Git converts by `attributes` alone, never by what lies in the worktree.
    """
    for entry in slot.own.iterdir():
        if entry != slot.git_dir:
            _discard(entry)
    places.ensure_directory(slot.git_dir)
    for entry in slot.git_dir.iterdir():
        if entry.name not in ("index", slot.conversion.name) or not entry.is_file() or entry.is_symlink():
            places.remove(entry)
    prepare_private(slot.git_dir, repository)
    places.create(slot.git_dir / "info/attributes", alone(attributes))


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
            f"{slot.path} exists, and nothing beside it says that Otto made it",
            hint="was the pool removed while Otto ran? move it away, or set another `worktrees.root`",
        )
    places.ensure_directory(slot.own)
    places.ensure_directory(slot.path)
    _open_up(slot)
    try:
        places.remove(slot.path / ".git")
    except OSError:
        set_aside(slot, slot.own / "unclean")
        places.ensure_directory(slot.path)


def _open_up(slot: Slot) -> None:
    """Give a slot's directory the mode that Otto made it with: without it, it cannot even be moved."""
    if stat.S_ISDIR(slot.path.lstat().st_mode):
        slot.path.chmod(stat.S_IRWXU)


def _discard(place: Path) -> None:
    """Remove what was in the way; what resists stays where no one trips over it."""
    with suppress(OSError):
        places.remove(place)


def proven_index(filling: Filling) -> bytes:
    """Give an index for Otto's own calls of git: what stamps do not prove, git compares by content."""
    return encode(filling.entries, filling.stamps)


def _entries_of(repository: GitRepository, tree: Oid, known: Filling | None) -> Mapping[bytes, Entry]:
    """List a tree, by what differs from the one before where that is known."""
    if known is None:
        return dict(walk(repository.repo, tree))
    if known.tree == tree:
        return known.entries
    entries = dict(known.entries)
    for change in changes(repository.repo, known.tree, tree):
        if change.new is None:
            del entries[change.path]
        else:
            entries[change.path] = change.new
    return entries


def _refill(slot: Slot, repository: GitRepository, target: Filling, known: Filling) -> Filling | None:
    """Write what differs from the tree, in process; None where git has to do it."""
    root, entries = os.fsencode(slot.path), target.entries
    if known.conversion != target.conversion:
        return None
    try:
        found = scan(root)
        refill = plan(known, found, entries)
        if refill is None or ((refill.write or refill.compare) and target.conversion != VERBATIM):
            return None
        written = carry_out(refill, root, entries, repository.blob, blob_id)
    except (OSError, RecursionError):
        return None
    files = {path: stamp for path, stamp in found.files.items() if path in entries} | written.files
    return _noted(slot, target, files, found.directories | written.directories)


def _fill(slot: Slot, repository: GitRepository, target: Filling, known: Filling | None) -> Filling:
    """Have git write the tree over what is there, or anew where something is in its way."""
    conversion = _noted_conversion(slot) if known is None else known.conversion
    attributes = attributes_of(repository, target.tree)
    renew(slot, repository, attributes)
    if conversion != target.conversion:  # git would leave what it finds unchanged as it is
        places.remove(slot.git_dir / "index")
    elif known is not None:
        places.write_new(slot.git_dir / "index", proven_index(known))
    places.remove(slot.conversion)
    found = _check_out(slot, target)
    if found is None:
        set_aside(slot, slot.own / "unclean")
        places.ensure_directory(slot.path)
        renew(slot, repository, attributes)  # a git that was killed leaves its lock file
        must(_read_tree(slot, target.tree), f"checking out {target.tree}")
        found = scan(os.fsencode(slot.path))
        _discard(slot.own / "unclean")
    places.create(slot.conversion, target.conversion.encode())
    files = {path: stamp for path, stamp in found.files.items() if path in target.entries}
    return _noted(slot, target, files, found.directories)


def _noted_conversion(slot: Slot) -> str | None:
    """Say how the files that the index describes were converted; None where that is not known."""
    note = slot.conversion
    try:
        return None if note.is_symlink() or not note.is_file() else note.read_text(errors="replace")
    except OSError:
        return None


def _check_out(slot: Slot, target: Filling) -> Scan | None:
    """Write the tree over what is there; None where it is not what a checkout leaves."""
    if _read_tree(slot, target.tree).code != 0:
        return None
    root = os.fsencode(slot.path)
    try:
        found = scan(root)
        left = replace(target, stamps=found.files, directories=found.directories)
        surplus = plan(left, found, target.entries)
        if surplus is None or surplus.write or not all(map(_is_usable, found.directories.values())):
            return None
        for path in surplus.remove:
            places.remove(slot.path / os.fsdecode(path))
    except (OSError, RecursionError):
        return None
    return found


def _read_tree(slot: Slot, tree: Oid, env: Mapping[str, str] | None = None) -> Completed:
    command = ("read-tree", "--reset", "-u", str(tree))
    return git(
        *command, git_dir=slot.git_dir, work_tree=slot.path, env=env, keep=slot.keep, timeout_s=_FILLING_S
    )


def _is_usable(bits: int) -> bool:
    return bits & stat.S_IRWXU == stat.S_IRWXU


def _noted(
    slot: Slot, target: Filling, files: Mapping[bytes, Stamp], directories: Mapping[bytes, int]
) -> Filling:
    """Note what a clean slot looks like.

    A file whose change time is not older than the clock tick of the note could change again unseen within
    it (the racy index problem of Git); it is compared by content.
    """
    note = slot.own / "note"
    places.write_new(note, b"")
    tick = note.stat().st_ctime_ns
    stamps = {path: stamp for path, stamp in files.items() if stamp.ctime_ns < tick}
    recent = {path: stamp for path, stamp in files.items() if stamp.ctime_ns >= tick}
    kept = {path: directories[path] for path in directories_of(target.entries) & directories.keys()}
    return replace(target, stamps=stamps, recent=recent, directories=kept)


def _build_git_dir(slot: Slot, repository: GitRepository, commit: Oid, filling: Filling) -> None:
    """Give the attempt a git directory of its own; `_claim` has removed the last one."""
    own, author = slot.path / ".git", repository.author()
    user = f"[user]\n\tname = {_quoted(author.name)}\n\temail = {_quoted(author.email)}\n"
    prepare_private(own, repository, user.encode("utf-8", "surrogateescape"))
    places.create(own / "refs/heads/otto", f"{commit}\n".encode())
    places.create(own / "index", encode(filling.entries, {**filling.stamps, **filling.recent}))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
