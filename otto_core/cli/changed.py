"""What a task changed: which two commits to compare, and the paths that differ between them."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from merge.objects import Oid
from merge.trees import Change, changes
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.model import path_text
from otto_core.state import Attempt, TaskState

_HUNK = re.compile(rb"^@@ ", re.MULTILINE)  # lines of content begin with a blank, a plus or a minus
_START = re.compile(rb"^(?:@@ |diff --git )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two commits, `new` being what an attempt made of `old`: as it landed, or as its snapshot was taken."""

    kind: Literal["landed", "snapshot"]
    attempt: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a patch, and how much of it that is."""

    shown: bytes
    hunks: int
    of_hunks: int
    of_bytes: int

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return len(self.shown) < self.of_bytes


def excerpt(patch: bytes, limit: int | None) -> Excerpt:
    """Cut a patch to at most `limit` bytes, after a whole hunk; a large first one is cut after a line."""
    total = len(_HUNK.findall(patch))
    if limit is None or len(patch) <= limit:
        return Excerpt(patch, total, total, len(patch))
    starts = _START.finditer(patch, 0, limit + 1)
    whole = [after.start() for before, after in pairwise(starts) if before[0] == b"@@ "]
    shown = patch[: whole[-1]] if whole else patch[: patch.rfind(b"\n", 0, limit) + 1]
    hunks = len(_HUNK.findall(shown)) if whole else 0
    return Excerpt(shown, hunks, total, len(patch))


def landed(repository: GitRepository, task: TaskState) -> Comparison | None:
    """Compare the task's landing with its first parent; None if it has not landed."""
    if task.commit is None or task.landing is None:
        return None
    commit = _commit(repository, task.commit)
    return Comparison("landed", task.landing.attempt, str(repository.parents_of(commit)[0]), task.commit)


def snapshot(attempt: Attempt) -> Comparison | None:
    """Compare the snapshot of an attempt with its base; None if it left nothing."""
    commit = getattr(attempt.end, "snapshot", None)
    return Comparison("snapshot", attempt.number, attempt.start.base, commit) if commit else None


def trees(repository: GitRepository, compared: Comparison) -> tuple[Oid, Oid]:
    """Give the trees of both sides.

    Raises:
        RepositoryUnusable: an object is gone.

    """
    old, new = (repository.tree_of(_commit(repository, commit)) for commit in (compared.old, compared.new))
    return old, new


def paths(repository: GitRepository, compared: Comparison) -> list[tuple[bytes, str]]:
    """List the paths that differ, each with `added`, `deleted` or `modified`, sorted by path."""
    found = changes(repository.repo, *trees(repository, compared))
    return [(change.path, _kind(change)) for change in found]


def path_documents(found: list[tuple[bytes, str]]) -> list[dict[str, str]]:
    """Give changed paths as JSON has them."""
    return [{"path": path_text(path), "change": kind} for path, kind in found]


def _commit(repository: GitRepository, commit: str) -> Oid:
    oid = Oid(hex=commit)
    if oid not in repository.repo:
        raise RepositoryUnusable(
            f"the commit {commit} is not in the repository any more", hint="git fsck --no-dangling"
        )
    return oid


def _kind(change: Change) -> str:
    if change.old is None:
        return "added"
    return "deleted" if change.new is None else "modified"
