"""The user's checkout during a delivery: what stands at the paths it touches, and how files and index move.

Correctness depends on three things. The index is locked as git locks it, so no git command of the user's
comes in between; the lock is a hard link to a file of Otto's own, so after a crash it is known for what it
is, and no other lock is ever removed. Files are written by git's two-tree merge (git-read-tree(1)) through a
copy of the index: it leaves alone what neither tree changes, keeps sparse checkouts sparse, applies the
user's filters and runs no hook. The copy then replaces the index in one rename.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from merge.objects import GITLINK, Oid
from merge.trees import Change, Entry
from otto_core import places
from otto_core.capture import Completed
from otto_core.errors import RepositoryUnusable
from otto_core.git.program import git, must, unless_killed
from otto_core.git.repository import Checkout
from otto_core.scan import files_below

_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
}
_KEEP = ("-c", "core.untrackedCache=keep")  # what the user's index caches is the user's


@dataclass(frozen=True, slots=True)
class Move:
    """From one commit to another: what differs between their trees."""

    old: Oid
    new: Oid
    changes: tuple[Change, ...]

    @property
    def paths(self) -> AbstractSet[bytes]:
        """The touched paths."""
        return {change.path for change in self.changes}


State = Literal["old", "new", "gone", "other"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What one touched path holds, in the index and as a file; `gone` is a file that either side has."""

    change: Change
    index: State
    file: State


def under_way(checkout: Checkout) -> str | None:
    """Name what a person has not finished in a checkout: an operation of git's, or the end of a conflict."""
    named = next((what for mark, what in _UNDER_WAY.items() if (checkout.git_dir / mark).exists()), None)
    if named is not None:
        return named
    unmerged = git("ls-files", "--unmerged", "-z", git_dir=checkout.git_dir, work_tree=checkout.path)
    return "the resolution of a conflict" if unmerged.out else None


def rebased_in(checkouts: Iterable[Checkout], branch: str) -> Path | None:
    """Find the checkout in which a branch (full ref) is being rebased or bisected, so HEAD is not on it."""
    marks = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
    for checkout in checkouts:
        for mark in marks:
            try:
                named = (checkout.git_dir / mark).read_text("utf-8", "surrogateescape").strip()
            except OSError:
                continue
            if named in (branch, branch.removeprefix("refs/heads/")):
                return checkout.path
    return None


# --- the lock of the index


def take_index(checkout: Checkout, place: Path) -> None:
    """Lock the index; a lock that an interrupted delivery left is taken over.

    Raises:
        RepositoryUnusable: someone else holds it, or the file system knows no hard links.

    """
    lock, own = _lock_of(checkout), place / "lock"
    if _is_same(lock, own):
        return
    places.ensure_directory(place)
    places.write_new(own, b"")
    try:
        os.link(own, lock)
    except FileExistsError as error:
        raise _locked(checkout) from error
    except OSError as error:
        raise RepositoryUnusable(
            f"the index of {checkout.path} cannot be locked: {error.strerror}",
            hint="check the permissions of the Git directory and its disk",
        ) from error


def require_unlocked(checkout: Checkout) -> None:
    """Make sure, before any work, that the index can be locked later.

    Raises:
        RepositoryUnusable: it is locked now.

    """
    if os.path.lexists(_lock_of(checkout)):
        raise _locked(checkout)


def _locked(checkout: Checkout) -> RepositoryUnusable:
    lock = _lock_of(checkout)
    return RepositoryUnusable(
        f"{lock} exists: another git command is at work in {checkout.path}, or was cut off there",
        hint=f"let it end; if none is running: rm {lock}",
    )


def release_index(checkout: Checkout, place: Path) -> None:
    """Unlock the index, if the lock is Otto's."""
    lock, own = _lock_of(checkout), place / "lock"
    if _is_same(lock, own):
        lock.unlink()
    own.unlink(missing_ok=True)


def _lock_of(checkout: Checkout) -> Path:
    return checkout.git_dir / "index.lock"


def _is_same(lock: Path, own: Path) -> bool:
    try:
        return lock.samefile(own)
    except FileNotFoundError:
        return False


# --- looking


def copy_index(checkout: Checkout, place: Path) -> Path:
    """Copy the index to Otto's own place, to look and to write through; gives the copy.

    Raises:
        RepositoryUnusable: there is no index, or a git process of an interrupted delivery still writes.

    """
    copy = place / "index"
    # Git locks the index that it writes through until all files are written.
    writers = _writers(copy) if os.path.lexists(place / "index.lock") else ()
    if writers:
        raise RepositoryUnusable(
            f"git is still writing files for an interrupted landing (process {', '.join(map(str, writers))})",
            hint="otto land, when it has ended",
        )
    places.ensure_directory(place)
    for left in place.glob("index*"):
        places.remove(left)
    try:
        shutil.copy2(checkout.git_dir / "index", copy)
    except FileNotFoundError as error:
        raise RepositoryUnusable(
            f"the checkout {checkout.path} has no index", hint=f"git -C {checkout.path} reset"
        ) from error
    return copy


def inspect(checkout: Checkout, move: Move, copy: Path) -> dict[bytes, Standing]:
    """Tell for each touched path which side its index entry and its file are on, as git itself compares."""
    _refresh(checkout, copy)
    index = _index_states(checkout, move, copy)
    dirty = _differing(checkout, copy)
    files: dict[bytes, State] = {}
    suspects: dict[bytes, State] = {}
    removed = {change.path for change in move.changes if change.old is not None}
    for change in move.changes:
        path, side = change.path, index[change.path]
        entry = change.old if side == "old" else change.new
        if side == "other" or (change.old is None and side == "old" and _blocked(checkout, path, removed)):
            files[path] = "other"
        elif _agrees(checkout, path, entry, dirty):
            files[path] = side
        else:
            suspects[path] = "new" if side == "old" else "old"
    files.update(_on_the_other_side(checkout, move, copy, suspects))
    return {c.path: Standing(c, index[c.path], files[c.path]) for c in move.changes}


def changed_beside(
    checkout: Checkout, commit: Oid, paths: AbstractSet[bytes], copy: Path
) -> AbstractSet[bytes]:
    """Name those of the paths whose index entry or file is not as a commit has it."""
    _refresh(checkout, copy)
    return paths & (_staged(checkout, commit, copy).keys() | _differing(checkout, copy))


def unlike_index(checkout: Checkout, move: Move, copy: Path) -> AbstractSet[bytes]:
    """Name the touched paths at which there is something else than the index has, or something untracked."""
    _refresh(checkout, copy)
    staged, dirty = _staged(checkout, move.old, copy), _differing(checkout, copy)
    return {
        change.path
        for change in move.changes
        if not _agrees(checkout, change.path, staged.get(change.path, change.old), dirty)
    }


def _index_states(checkout: Checkout, move: Move, copy: Path) -> dict[bytes, State]:
    """Compare the index with both sides.

    A staged file that one side could not have beside its own paths makes the path in question `other`.
    """
    staged = _staged(checkout, move.old, copy)
    foreign = staged.keys() - move.paths
    around = {parent for path in foreign for parent in _parents(path)}
    states: dict[bytes, State] = {}
    for change in move.changes:
        found = staged.get(change.path, change.old)
        clash = change.path in around or any(parent in foreign for parent in _parents(change.path))
        if clash and change.new is not None:
            states[change.path] = "other"
        else:
            states[change.path] = "old" if found == change.old else "new" if found == change.new else "other"
    return states


def _staged(checkout: Checkout, commit: Oid, copy: Path) -> dict[bytes, Entry | None]:
    """Give the entries by which the index differs from a commit; an unmerged one is no entry of any tree."""
    done = _git(
        checkout, copy, "diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", commit
    )
    fields = must(done, "comparing the index").split(b"\0")
    found: dict[bytes, Entry | None] = {}
    for row, path in zip(fields[0::2], fields[1::2], strict=False):
        _, mode, _, oid, status = row.decode("ascii").split(" ")
        gone = status == "D"
        found[path] = None if gone else Entry(0 if status == "U" else int(mode, 8), Oid(hex=oid))
    return found


def _differing(checkout: Checkout, copy: Path) -> frozenset[bytes]:
    """Name the tracked files that differ from an index; what a sparse checkout leaves out does not."""
    done = _git(checkout, copy, "diff-files", "--name-only", "-z", "--ignore-submodules=all")
    return frozenset(must(done, "comparing the files").split(b"\0"))


def _refresh(checkout: Checkout, copy: Path) -> None:
    _git(checkout, copy, "update-index", "-q", "--refresh")  # its exit code only says that something differs


def _agrees(checkout: Checkout, path: bytes, entry: Entry | None, dirty: AbstractSet[bytes]) -> bool:
    if entry is not None:
        return path not in dirty
    found = _mode_at(checkout, path)
    return found is None or stat.S_ISDIR(found)


def _on_the_other_side(
    checkout: Checkout, move: Move, copy: Path, suspects: Mapping[bytes, State]
) -> dict[bytes, State]:
    """Ask of files that are not as the index has them whether they are as the other side has them."""
    if not suspects:
        return {}
    by_path = {change.path: change for change in move.changes}
    sides = {p: by_path[p].new if side == "new" else by_path[p].old for p, side in suspects.items()}
    other = copy.with_name("index-of-the-other-side")
    shutil.copy2(copy, other)
    set_entries(checkout, other, sides)
    _refresh(checkout, other)
    dirty = _differing(checkout, other)
    found: dict[bytes, State] = {}
    for path, side in suspects.items():
        if _agrees(checkout, path, sides[path], dirty):
            found[path] = side
        else:
            found[path] = "gone" if _mode_at(checkout, path) is None else "other"
    return found


def _blocked(checkout: Checkout, path: bytes, removed: AbstractSet[bytes]) -> bool:
    """Tell whether a file that is not tracked stands where a new one, or a directory of it, has to be."""
    for parent in _parents(path):
        mode = _mode_at(checkout, parent)
        if mode is None:
            return False
        if not stat.S_ISDIR(mode):
            return parent not in removed
    mode = _mode_at(checkout, path)
    if mode is None or not stat.S_ISDIR(mode):
        return False
    prefix = len(_place(checkout, b""))
    return any(below[prefix:] not in removed for below in files_below(_place(checkout, path)))


def is_torn(checkout: Checkout, change: Change) -> bool:
    """Tell whether a file is the beginning of the new side's: a write that was cut off."""
    mode = _mode_at(checkout, change.path)
    if change.new is None or change.new.mode == GITLINK or mode is None or not stat.S_ISREG(mode):
        return False
    done = git(
        *("cat-file", "--filters", b"--path=" + change.path, str(change.new.oid)),
        git_dir=checkout.git_dir,
        work_tree=checkout.path,
    )
    found = Path(os.fsdecode(_place(checkout, change.path))).read_bytes()
    return done.code == 0 and done.out.startswith(found)


def _mode_at(checkout: Checkout, path: bytes) -> int | None:
    try:
        return os.lstat(_place(checkout, path)).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _place(checkout: Checkout, path: bytes) -> bytes:
    return os.fsencode(checkout.path) + b"/" + path


def _parents(path: bytes) -> Iterator[bytes]:
    names = path.split(b"/")
    return (b"/".join(names[:end]) for end in range(1, len(names)))


# --- writing


def set_entries(checkout: Checkout, copy: Path, entries: Mapping[bytes, Entry | None]) -> None:
    """Set or remove entries of a copied index, whatever the files are."""
    rows = [
        b"0 %s\t%s\0" % (b"0" * 40, path)
        if entry is None
        else b"%06o %s\t%s\0" % (entry.mode, str(entry.oid).encode(), path)
        for path, entry in sorted(entries.items(), key=lambda pair: pair[1] is not None)
    ]
    if rows:
        done = _git(checkout, copy, "update-index", "-z", "--index-info", stdin=b"".join(rows))
        must(done, "writing an index")


def remove_file(checkout: Checkout, path: bytes) -> None:
    """Remove one file of a checkout that is known to hold nothing of the user's."""
    places.remove(Path(os.fsdecode(_place(checkout, path))))


def write_files(
    checkout: Checkout, old: Oid, new: Oid, copy: Path, *, begin: Callable[[], object] = lambda: None
) -> None:
    """Bring files, and the copied index, from one tree (or commit's) to another where the two differ.

    Git verifies everything before it writes anything; `begin` is called before git is.

    Raises:
        RepositoryUnusable: git refused, or was cut off; the message carries what it said.

    """
    _refresh(checkout, copy)  # entries that were set know nothing of their files yet
    begin()
    done = _git(checkout, copy, "read-tree", "-m", "-u", "--no-recurse-submodules", str(old), str(new))
    if unless_killed(done, f"the git that moved the files in {checkout.path}").code != 0:
        said = " ".join(done.err.decode("utf-8", "replace").split())
        raise RepositoryUnusable(
            f"the checkout {checkout.path} could not be moved: {said}",
            hint="commit or stash your changes there, then land again",
        )


def install_index(checkout: Checkout, copy: Path) -> None:
    """Put the copied index in place of the checkout's, in one step."""
    copy.replace(checkout.git_dir / "index")


def _git(checkout: Checkout, index: Path, *args: str | Oid, stdin: bytes = b"") -> Completed:
    return git(
        *(*_KEEP, *map(str, args)),
        git_dir=checkout.git_dir,
        work_tree=checkout.path,
        stdin=stdin,
        env={"GIT_INDEX_FILE": str(index)},
    )


def _writers(copy: Path) -> tuple[int, ...]:
    """List the living git processes that a killed Otto left at work on a copied index."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GIT_INDEX_FILE") == str(copy):
                found.append(process.pid)
        except psutil.Error:  # gone meanwhile, or someone else's
            continue
    return tuple(found)
