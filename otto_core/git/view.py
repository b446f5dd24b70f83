"""What a command that only looks asks of the user's repository, answered by the git program.

Loading libgit2 takes longer than `otto status` may take in all; three short processes take a tenth of it.
`otto_core.git.repository` answers the same questions in process, for commands that have libgit2 at hand.
"""

import os
from pathlib import Path
from typing import Final, Protocol

from otto_core.errors import RepositoryUnusable
from otto_core.git.program import git, git_from, unless_killed

STORE_NAME: Final = "otto"
"""Otto's directory in the directory that linked worktrees share."""

_REF_LINE: Final = "%(refname) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
_NO_REPOSITORY: Final = "not a git repository"


class RepositoryView(Protocol):
    """The questions. Object ids are compared and shown as text."""

    @property
    def store(self) -> Path:
        """Otto's directory."""

    def branch_in_use(self) -> str | None:
        """Name the branch (full ref) that is checked out; None if bare, detached or without a commit yet."""

    def ref(self, name: str) -> object | None:
        """Give the commit that a ref (full name) points to, or None."""

    def messages_since(self, base: str, tip: str) -> list[str] | None:
        """Give the messages on the first-parent chain from `tip` down to `base` (excluded), newest first.

        None where `base` is not on that chain, or a commit of it is missing.
        """


class ProgramView:
    """One repository by the git program.

    What it says of a ref is what the ref was when the first one was asked for.
    """

    def __init__(self, git_dir: Path, *, head: str | None) -> None:
        self.git_dir = git_dir
        self.store = common_dir(git_dir) / STORE_NAME
        self._head = head
        self._expected = {*filter(None, [head])}
        self._refs: dict[str, str | None] = {}

    @classmethod
    def discover(cls, start: Path) -> "ProgramView":
        """Find the repository that `start` lies in.

        Raises:
            RepositoryUnusable: there is none, or git does not want to read it; GitUnfinished: it was ended.

        """
        asked = ("--is-bare-repository", "--absolute-git-dir", "--symbolic-full-name", "HEAD")
        done = unless_killed(git_from(start, "rev-parse", *asked), "the git that looked for the repository")
        bare, _, rest = done.out.removesuffix(b"\n").partition(b"\n")
        place, _, head = rest.rpartition(b"\n")  # the place may hold a line end, a ref cannot
        if not place:
            said = done.err.decode("utf-8", "replace").strip()
            raise _unusable(start, said or f"git ended with {done.code} and said nothing")
        on_branch = done.code == 0 and bare == b"false" and head.startswith(b"refs/heads/")
        return cls(Path(os.fsdecode(place)), head=os.fsdecode(head) if on_branch else None)

    def branch_in_use(self) -> str | None:
        """Name the branch (full ref) that is checked out; None if bare, detached or without a commit yet."""
        return self._head

    def ref(self, name: str) -> str | None:
        """Give the commit that a ref (full name) points to, or None."""
        if name not in self._refs:
            self.expect(name)
            self._read_refs()
        return self._refs[name]

    def expect(self, *names: str) -> None:
        """Name refs that will be asked for: one process reads them all when the first is."""
        self._expected.update(names)

    def look_again(self) -> None:
        """Forget what the refs were: they are read anew when the next one is asked for."""
        self._refs.clear()

    def _read_refs(self) -> None:
        wanted = sorted(self._expected - self._refs.keys())
        done = git("for-each-ref", f"--format={_REF_LINE}", *wanted, git_dir=self.git_dir)
        unless_killed(done, "the git that read refs")
        rows = (os.fsdecode(line).split(" ") for line in done.out.splitlines())
        found = {row[0]: row[1] for row in rows}
        self._refs |= {name: found.get(name) for name in wanted}

    def messages_since(self, base: str, tip: str) -> list[str] | None:
        """Give the messages on the first-parent chain from `tip` down to `base` (excluded), newest first.

        None where `base` is not on that chain, or a commit of it is missing.
        """
        if tip == base:
            return []
        done = git(
            *("rev-list", "--first-parent", "--encoding=UTF-8", "--format=%x00%P%x00%B%x00"),
            *(tip, f"^{base}", "--"),
            git_dir=self.git_dir,
            env={"GIT_NO_REPLACE_OBJECTS": "1"},
        )
        unless_killed(done, "the git that read commits")
        *parts, _ = done.out.split(b"\0")
        parents, messages = parts[1::3], parts[2::3]
        if done.code != 0 or not parents or parents[-1].split(b" ")[0] != base.encode():
            return None
        return [message.decode("utf-8", "replace") for message in messages]


def common_dir(git_dir: Path) -> Path:
    """Find the directory that linked worktrees share (gitrepository-layout(5), `commondir`)."""
    pointer = git_dir / "commondir"
    return (git_dir / pointer.read_text().strip()).resolve() if pointer.exists() else git_dir.resolve()


def _unusable(start: Path, said: str) -> RepositoryUnusable:
    if _NO_REPOSITORY in said:
        return RepositoryUnusable(
            f"{start} is not in a Git repository", hint="run otto in a repository, or `git init` one"
        )
    return RepositoryUnusable(f"the repository cannot be read: {said}", hint="run `git status` there")
