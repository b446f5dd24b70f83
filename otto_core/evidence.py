"""What an attempt says of itself: the commits it made and the result file it wrote. Quoted, never trusted."""

import json
import os
import re
import stat
from pathlib import Path

from merge.objects import SYMLINK, Oid
from otto_core.git.adoption import History, adopt_commits
from otto_core.git.program import git, unless_killed
from otto_core.git.promised import promisors
from otto_core.git.repository import GitRepository
from otto_core.linked import entry_of
from otto_core.refs import pin
from otto_core.scan import scan
from otto_core.slots import Slot

_MAX_BYTES = 65_536
_MAX_SUMMARY = 2_000
_MAX_SUBJECTS = 1_000
_OID = re.compile(r"[0-9a-f]{40}")


def keep_history(repository: GitRepository, slot: Slot, base: Oid, ref: str) -> tuple[str, ...] | None:
    """Copy the commits that an attempt made into the user's objects and pin the last one under a ref.

    Gives their subjects, oldest first; None where they cannot be kept so, and the worktree alone holds them.

    Raises:
        OSError, GitError, RepositoryUnusable: the user's repository takes no object, or not the ref.

    """
    history = _adopted(repository, slot, base)
    if history is None:
        return None
    if history.head is not None:
        pin(repository, ref, history.head)
    return history.subjects


def is_without_commits(repository: GitRepository, slot: Slot) -> bool:
    """Tell whether a worktree with a Git directory of its own holds no commit that the user's objects lack.

    That goes by its HEAD, as all that Otto keeps of an attempt's commits does.
    """
    head = _read_head(slot.path / ".git")
    return head is None or repository.has(head)


def _adopted(repository: GitRepository, slot: Slot, base: Oid) -> History | None:
    """Copy the commits that an attempt made; no ref points to them yet.

    A git directory without a HEAD that can be read has no history. None where it has one that is broken or
    forged.
    """
    if slot.linked:
        return _linked_history(repository, slot, base)
    git_dir = slot.path / ".git"
    head = _read_head(git_dir)
    if head is None or head == base:
        return History(None, ())
    if not _plain_objects(git_dir / "objects", repository):
        return None
    return adopt_commits(repository, slot.git_dir, git_dir / "objects", head)


def _linked_history(repository: GitRepository, slot: Slot, base: Oid) -> History | None:
    """Say what an attempt in a linked worktree committed: that is in the user's repository already.

    None where it does not hold together: no ref of Otto's is to point there.
    """
    said = (_read(entry_of(slot, repository) / "HEAD") or "").strip()
    ref = said.removeprefix("ref: ")
    try:
        head = repository.ref(ref) if ref != said else _commit_named(repository, said)
    except ValueError:  # no ref can have such a name
        head = None
    if head is None or head == base:
        return History(None, ())
    # Nothing is fetched now. In another repository nothing may be missing; so asked, git would not tell.
    missing = ("--missing=allow-promisor",) if promisors(repository) else ()
    within = git(
        *("rev-list", "--objects", "--quiet", *missing, str(head), f"^{base}"), git_dir=repository.common_dir
    )
    if unless_killed(within, "the git that looked at an attempt's commits").code != 0:
        return None
    since = ("log", "--first-parent", "--reverse", f"--max-count={_MAX_SUBJECTS}", "--format=%s")
    told = git(*since, f"{base}..{head}", "--", git_dir=repository.common_dir)
    return History(head, tuple(told.out.decode("utf-8", "replace").splitlines()) if told.code == 0 else ())


def _commit_named(repository: GitRepository, said: str) -> Oid | None:
    return repository.commit_at(Oid(hex=said)) if _OID.fullmatch(said) else None


def summary_of(slot: Slot) -> tuple[str, ...]:
    """Give the `summary` of the result file as lines, if the attempt wrote one that can be read."""
    try:
        written = json.loads(_read(slot.result_file) or "null")
    except (ValueError, RecursionError):
        return ()
    summary = written.get("summary") if isinstance(written, dict) else None
    return tuple(summary[:_MAX_SUMMARY].splitlines()) if isinstance(summary, str) else ()


def _plain_objects(objects: Path, repository: GitRepository) -> bool:
    """Tell whether an object store holds only files and directories, and borrows only the user's objects.

    Opening a FIFO would wait for ever, and a chain of foreign stores may lead anywhere.
    """
    alternates = objects / "info" / "alternates"
    if (_read(alternates) or "").strip() != str(repository.objects_dir):
        return False
    try:
        found = scan(os.fsencode(objects))
    except (OSError, RecursionError):
        return False
    return not found.odd and all(stamp.mode != SYMLINK for stamp in found.files.values())


def _read_head(git_dir: Path) -> Oid | None:
    """Read HEAD of an untrusted git directory: text files only, no links, no configuration."""
    if not stat.S_ISDIR(_mode(git_dir)):
        return None
    content = (_read(git_dir / "HEAD") or "").strip()
    if content.startswith("ref: refs/"):
        ref = content.removeprefix("ref: ")
        packed = re.search(
            rf"^([0-9a-f]{{40}}) {re.escape(ref)}$", _read(git_dir / "packed-refs") or "", re.MULTILINE
        )
        loose = None if ".." in ref.split("/") else _read(git_dir / ref)
        content = (loose or (packed[1] if packed else "")).strip()
    return Oid(hex=content) if _OID.fullmatch(content) else None


def _read(place: Path) -> str | None:
    """Read a small regular file, following no link at its end."""
    if not stat.S_ISREG(_mode(place)):
        return None
    try:
        file = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(file, _MAX_BYTES).decode("utf-8", "replace")
    finally:
        os.close(file)


def _mode(place: Path) -> int:
    try:
        return place.lstat().st_mode
    except (OSError, ValueError):  # a name with a NUL in it is no name
        return 0
