"""The user's repository by libgit2: what Otto reads of it, and the few refs it writes.

Nothing here reads or writes the user's checkout or index (`otto_core.usertree` does, for a delivery).
"""

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import pygit2
from pygit2.enums import ConfigLevel, RepositoryOpenFlag, SortMode

from merge.objects import Oid, Repository, Signature, write_commit
from otto_core.errors import RepositoryUnusable
from otto_core.git.view import STORE_NAME, common_dir

# libgit2 would keep what it reads, in the repository of each thread, and counts only the bytes of the object
# against its limit, not what parsing made of it. What is read again soon, `merge.trees` keeps.
pygit2.settings.enable_caching(False)
pygit2.settings.enable_fsync_gitdir(True)  # unless `otto_core.git.durability` says otherwise

_CONVERSION_KEYS = re.compile(
    r"^(filter\..+|core\.(autocrlf|eol|checkroundtripencoding|symlinks|filemode|ignorecase|precomposeunicode))$"
)


def libgit2_version() -> str:
    """Give the version of libgit2, such as 1.9.7."""
    return str(pygit2.LIBGIT2_VERSION)


@dataclass(frozen=True, slots=True)
class Head:
    """Where HEAD is: the branch's full ref name, or None when detached."""

    ref: str | None
    commit: str


@dataclass(frozen=True, slots=True)
class Checkout:
    """A place with files: its directory, the git directory with its index, the full ref it is on.

    `branch` is None on a detached HEAD. The directory may be gone.
    """

    path: Path
    git_dir: Path
    branch: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One commit in a listing."""

    id: Oid
    subject: str


class GitRepository:
    """One opened repository. Not to be shared between threads: `here` gives each its own."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self._of_thread = threading.local()
        self.git_dir = Path(repo.path)
        self.common_dir = common_dir(self.git_dir)
        self.objects_dir = self.common_dir / "objects"
        self.store = self.common_dir / STORE_NAME

    @classmethod
    def discover(cls, start: Path) -> "GitRepository":
        """Open the repository that `start` lies in.

        Raises:
            RepositoryUnusable: there is none, or libgit2 cannot read it.

        """
        try:
            found = pygit2.discover_repository(str(start))
            if found is None:
                raise RepositoryUnusable(
                    f"{start} is not in a Git repository", hint="run otto in a repository, or `git init` one"
                )
            return cls(pygit2.Repository(found, RepositoryOpenFlag.NO_SEARCH))
        except (pygit2.GitError, KeyError) as error:
            raise RepositoryUnusable(
                f"the repository cannot be read: {error}", hint="run `git status` there"
            ) from error

    @classmethod
    def at(cls, git_dir: Path) -> "GitRepository":
        """Open the repository of a git directory that is known to be one."""
        return cls(pygit2.Repository(str(git_dir), RepositoryOpenFlag.NO_SEARCH))

    def require_writable(self) -> None:
        """Make sure that objects and refs can be written.

        Raises:
            RepositoryUnusable: they cannot.

        """
        for place in (self.objects_dir, self.common_dir / "refs"):
            if not os.access(place, os.W_OK):
                raise RepositoryUnusable(
                    f"{place} cannot be written", hint="check its permissions and its disk"
                )

    def here(self) -> "GitRepository":
        """Give the same repository as the calling thread's own, opened when it first asks."""
        opened: GitRepository | None = getattr(self._of_thread, "opened", None)
        if opened is None:
            opened = self.at(self.git_dir)
            opened.private_config = self.private_config
            self._of_thread.opened = opened
        return opened

    @property
    def name(self) -> str:
        """A short name for directories: that of the checkout, or of the bare repository."""
        place = Path(self.repo.workdir) if self.repo.workdir else self.git_dir
        return re.sub(r"[^A-Za-z0-9._-]+", "-", place.name.removesuffix(".git")).strip(".-") or "repository"

    @property
    def workdir(self) -> Path | None:
        """The user's checkout; None for a bare repository."""
        return Path(self.repo.workdir) if self.repo.workdir else None

    def resolve(self, revision: str) -> Oid:
        """Give the commit that a revision names.

        Raises:
            RepositoryUnusable: it names none.

        """
        try:
            return self.repo.revparse_single(revision).peel(pygit2.Commit).id
        except (KeyError, ValueError, pygit2.GitError) as error:
            if revision == "HEAD" and self.repo.head_is_unborn:
                raise RepositoryUnusable(
                    "the repository has no commit yet", hint='commit something first: git commit -m "start"'
                ) from error
            raise RepositoryUnusable(
                f"the base {revision!r} does not name a commit here", hint="see `git branch -a` and `git log`"
            ) from error

    def has(self, oid: Oid) -> bool:
        """Tell whether an object is there and has not lost its beginning, as a power cut may leave one."""
        try:
            self.repo.odb.read_header(oid)
        except (KeyError, pygit2.GitError):
            return False
        return True

    def commit_at(self, oid: Oid) -> Oid | None:
        """Give the commit that an object is, or that it leads to as a tag, if there is one."""
        try:
            return self.repo[oid].peel(pygit2.Commit).id
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def tree_of(self, commit: Oid) -> Oid:
        """Give the tree of a commit."""
        return self.repo[commit].peel(pygit2.Commit).tree_id

    def parents_of(self, commit: Oid) -> list[Oid]:
        """Give the parents of a commit."""
        return list(self.repo[commit].peel(pygit2.Commit).parent_ids)

    def is_unborn(self) -> bool:
        """Tell whether HEAD names a branch that has no commit yet."""
        return bool(self.repo.head_is_unborn)

    def head(self) -> Head:
        """Say where HEAD is.

        Raises:
            RepositoryUnusable: there is no commit yet.

        """
        commit = str(self.resolve("HEAD"))
        return Head(None if self.repo.head_is_detached else self.repo.head.name, commit)

    def branch_in_use(self) -> str | None:
        """Name the branch (full ref) that is checked out; None if bare, detached or without a commit yet."""
        in_use = self.repo.workdir and not self.repo.head_is_unborn and not self.repo.head_is_detached
        return self.repo.head.name if in_use else None

    def blob(self, oid: Oid) -> bytes:
        """Give the content of a blob."""
        found = self.repo[oid]
        if not isinstance(found, pygit2.Blob):
            raise RepositoryUnusable(f"{oid} is not a blob", hint="run `git fsck`")
        return found.data

    def diff(self, old: Oid, new: Oid) -> bytes:
        """Give the difference of two trees as a patch."""
        before, after = self.repo[old], self.repo[new]
        if not isinstance(before, pygit2.Tree) or not isinstance(after, pygit2.Tree):
            raise RepositoryUnusable("only trees can be compared", hint="run `git fsck`")
        return b"".join(patch.data for patch in before.diff_to_tree(after) if patch is not None)

    def ref(self, name: str) -> Oid | None:
        """Give what a ref points to, or None."""
        try:
            return self.repo.references[name].peel(pygit2.Commit).id
        except (KeyError, pygit2.GitError):
            return None

    def refs(self, prefix: str) -> list[str]:
        """Name all refs below a prefix, sorted."""
        return sorted(name for name in self.repo.references if name.startswith(prefix))

    def first_parents(self, ref: str) -> Iterator[Summary]:
        """Walk the first-parent chain of a ref, newest first."""
        walker = self.repo.walk(self.repo.references[ref].peel(pygit2.Commit).id, SortMode.TOPOLOGICAL)
        walker.simplify_first_parent()
        for commit in walker:
            yield Summary(commit.id, commit.message.partition("\n")[0])

    def messages_since(self, base: str, tip: str) -> list[str] | None:
        """Give the messages on the first-parent chain from `tip` down to `base` (excluded), newest first.

        None where `base` is not on that chain, or a commit of it is missing.
        """
        found, at = [], tip
        try:
            while at != base:
                commit = self.repo[at].peel(pygit2.Commit)
                found.append(commit.raw_message.decode("utf-8", "replace"))
                at = str(commit.parent_ids[0])
        except (KeyError, IndexError):
            return None
        return found

    def linked_git_dirs(self) -> list[Path]:
        """List the Git directories of linked worktrees. With the last of them, git removes their parent."""
        try:
            return sorted((self.common_dir / "worktrees").iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def checked_out(self) -> dict[str, Path]:
        """Say which branches (full ref names) are checked out, and where.

        The main and all linked worktrees.
        """
        found: dict[str, Path] = {}
        for place in (self.common_dir, *self.linked_git_dirs()):
            try:
                content = (place / "HEAD").read_text("utf-8", "surrogateescape").strip()
            except OSError:
                continue
            if content.startswith("ref: ") and not (place == self.common_dir and self.repo.is_bare):
                found[content.removeprefix("ref: ")] = _checkout_of(place)
        return found

    def checkouts(self) -> tuple[Path, ...]:
        """List the directories of the user's worktrees: the main one, and linked ones that exist."""
        linked = map(_checkout_of, self.linked_git_dirs())
        main = [] if self.repo.is_bare else [_checkout_of(self.common_dir)]
        return tuple(place for place in (*main, *linked) if place.is_dir())

    def user_checkouts(self) -> list[Checkout]:
        """List the main checkout, if there is one, and all linked ones, each with the branch it is on."""
        found = []
        for place in (self.common_dir, *self.linked_git_dirs()):
            try:
                head = (place / "HEAD").read_text("utf-8", "surrogateescape").strip()
            except OSError:
                continue
            path = self._main_checkout() if place == self.common_dir else _checkout_of(place)
            if path is not None:
                branch = head.removeprefix("ref: ") if head.startswith("ref: ") else None
                found.append(Checkout(path, place, branch))
        return found

    def _main_checkout(self) -> Path | None:
        main = pygit2.Repository(str(self.common_dir), RepositoryOpenFlag.NO_SEARCH)
        return Path(main.workdir) if main.workdir else None

    def merge_base(self, one: Oid, other: Oid) -> str | None:
        """Give the best common ancestor of two commits, if there is one."""
        found = cast("Oid | None", self.repo.merge_base(one, other))
        return str(found) if found else None

    def author(self) -> Signature:
        """Give the user's identity, with the time of now; a neutral one where none is configured."""
        try:
            return self.repo.default_signature
        except KeyError:
            return pygit2.Signature("Otto", "otto@localhost")

    def conversion_config(self) -> dict[str, str]:
        """Give the keys of the repository's own configuration that decide how content is converted."""
        path = self.common_dir / "config"
        config = pygit2.Config()
        if path.exists():
            config.add_file(str(path), level=ConfigLevel.LOCAL)
        return {e.name: e.value for e in config if e.value is not None and _CONVERSION_KEYS.match(e.name)}

    def trusted_conversion_config(self) -> list[tuple[bytes, bytes | None]]:
        """Give the same keys of the user's whole configuration, in its order: of several, the last counts."""
        return [(e.raw_name, e.raw_value) for e in self.repo.config if _CONVERSION_KEYS.match(e.name)]

    @cached_property
    def private_config(self) -> bytes:
        """The configuration of a git directory of Otto's own for this repository, as a file."""
        try:
            with tempfile.TemporaryDirectory(prefix="otto-") as place:
                path = Path(place) / "config"
                path.write_text(
                    "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tlogAllRefUpdates = false\n"
                )
                config = pygit2.Config(str(path))
                for key, value in self.conversion_config().items():
                    config[key] = value
                return path.read_bytes()
        except (OSError, pygit2.GitError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise RepositoryUnusable(
                f"no temporary file can be written: {why}", hint="make room, or set TMPDIR to another place"
            ) from error

    def trusted_config(self, key: str) -> str | None:
        """Give one value of the user's whole configuration, or None."""
        try:
            return self.repo.config[key]
        except KeyError:
            return None


def _checkout_of(git_dir: Path) -> Path:
    try:
        return Path((git_dir / "gitdir").read_text().strip()).parent
    except (FileNotFoundError, NotADirectoryError):  # the main one, or one that is being removed
        return git_dir.parent


def commit_tree(
    repository: GitRepository, *, tree: Oid, parents: Sequence[Oid], message: str, committer: Signature
) -> Oid:
    """Write a commit that no ref points to yet."""
    return write_commit(
        repository.repo, tree=tree, parents=parents, message=message, author=committer, committer=committer
    )


def blob_id(content: bytes) -> Oid:
    """Give the id that a blob of this content has."""
    return pygit2.hash(content)


def read_index(path: Path) -> dict[bytes, Oid]:
    """Give the blob ids of an index file that Otto itself wrote; never for an agent's."""
    return {os.fsencode(entry.path): entry.id for entry in pygit2.Index(str(path))}


def init_sample(place: Path, subject: str) -> None:
    """Make a directory a repository with one commit of all that it holds."""
    repo = pygit2.init_repository(str(place), initial_head="main")
    repo.index.add_all()
    repo.index.write()
    repository = GitRepository(repo)
    author = repository.author()
    repo.create_commit("HEAD", author, author, f"{subject}\n", repo.index.write_tree(), [])
