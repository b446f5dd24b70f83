"""`isolation: linked`: a slot that is, while it is borrowed, a linked worktree of the user's repository.

Its `.git` is a file that leads to an entry below `worktrees` in the common Git directory (the format is that
of gitrepository-layout(5)). So whoever works there shares config, hooks, stash, refs and gc with the user.
Otto's own Git directory of the slot stays what reset and snapshot use.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from os import fsencode
from pathlib import Path

from merge.objects import Oid
from otto_core.git.repository import GitRepository
from otto_core.places import fresh_directory, remove, write_new
from otto_core.slots import Slot

_NAME = re.compile(r"otto-[0-9a-f]{10}-")


def entry_of(slot: Slot, repository: GitRepository) -> Path:
    """Give the place of a slot's entry: a name that no other worktree of the repository has."""
    digest = sha256(fsencode(slot.path)).hexdigest()[:10]
    return repository.common_dir / "worktrees" / f"otto-{digest}-{slot.own.name}"


def entries(repository: GitRepository) -> tuple[Path, ...]:
    """List the entries that slots have in a repository now, in use or left behind; no one else's."""
    return tuple(entry for entry in repository.linked_git_dirs() if _NAME.match(entry.name))


def slot_of(entry: Path, roots: Iterable[Path], repository: GitRepository) -> Slot | None:
    """Find the slot that an entry was made for in these pools; None where none of them has it."""
    found = (Slot.below(root, entry.name.split("-", 2)[2]) for root in roots)
    return next((slot for slot in found if entry_of(slot, repository) == entry), None)


def branch_of(entry: Path) -> str | None:
    """Name the branch that Git takes to be checked out in an entry's worktree, if there is one."""
    try:
        head = (entry / "HEAD").read_text("utf-8", "surrogateescape").strip()
    except OSError:  # torn, so Git does not count it
        return None
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None


def register(slot: Slot, repository: GitRepository, commit: Oid) -> None:
    """Make a slot that was just reset to a commit a linked worktree, its HEAD detached at that commit.

    Raises:
        OSError: the entry or the slot cannot be written.

    """
    entry = entry_of(slot, repository)
    fresh_directory(entry)
    (entry / "commondir").write_text("../..\n")
    (entry / "HEAD").write_text(f"{commit}\n")
    (entry / "gitdir").write_bytes(fsencode(slot.path / ".git") + b"\n")
    shutil.copy2(slot.path / ".git/index", entry / "index")
    remove(slot.path / ".git")
    write_new(slot.path / ".git", b"gitdir: " + fsencode(entry) + b"\n")


def unregister(slot: Slot, repository: GitRepository) -> None:
    """Remove a slot's entry, if there is one, such as after its driver was killed."""
    entry = entry_of(slot, repository)
    remove(entry)
    with suppress(OSError):  # it holds other worktrees, or never was
        entry.parent.rmdir()


def identity(repository: GitRepository) -> dict[str, str]:
    """Give who commits in a linked worktree, for the environment: there is no config of its own to say it."""
    person = repository.author()
    names = {f"GIT_{role}_NAME": person.name for role in ("AUTHOR", "COMMITTER")}
    return names | {f"GIT_{role}_EMAIL": person.email for role in ("AUTHOR", "COMMITTER")}


@contextmanager
def unregistered_after(slot: Slot, repository: GitRepository) -> Iterator[None]:
    """Remove a slot's entry in the end; where that is a failure, it stays for whoever salvages the slot."""
    yield
    unregister(slot, repository)
