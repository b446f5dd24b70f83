"""The user's repository: what Otto reads of it, and the few refs it writes.

libgit2 and the git program meet only here. The git program always runs with a scrubbed environment, the C
locale, no hooks, no file-system monitor, no automatic gc and a time limit. Nothing here reads or writes the
user's checkout or index.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, FileMode, RepositoryOpenFlag, SortMode

from merge.objects import Oid, Repository, Signature
from merge.paths import forbidden
from merge.strategies import CONFIG, MergeTreeAnswer, Unavailable
from otto_core.errors import RepositoryUnusable
from otto_core.process import Completed, capture

MERGE_TREE_SINCE = (2, 38)
_SAFE_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.safecrlf=false",  # a warning about content is the user's, a refusal would be the task's end
    "gc.auto=0",
    "maintenance.auto=false",
    "core.fsync=committed",
)
_CONVERSION_KEYS = re.compile(
    r"^(filter\..+|core\.(autocrlf|eol|checkroundtripencoding|symlinks|filemode|ignorecase|precomposeunicode))$"
)


def git_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment for Otto's own calls of git: the user's without `GIT_*`, in the C locale."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**env, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", **(extra or {})}


def git(
    *args: str | bytes,
    git_dir: Path,
    work_tree: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run the git program against one git directory; the exit code is the caller's to judge.

    Raises:
        RepositoryUnusable: there is no git program, or it hangs.

    """
    options = [part for option in _SAFE_OPTIONS for part in ("-c", option)]
    places = [f"--git-dir={git_dir}", *([f"--work-tree={work_tree}"] if work_tree else [])]
    try:
        return capture(
            ["git", *options, *places, *args], env=git_env(env), cwd=work_tree or git_dir, stdin=stdin
        )
    except (OSError, TimeoutError) as error:
        raise RepositoryUnusable(f"git could not run: {error}", hint="install git 2.38 or newer") from error


def must(done: Completed, doing: str) -> bytes:
    """Give the output of a git command that has to succeed.

    Raises:
        RepositoryUnusable: it did not; the message carries what git said.

    """
    if done.code != 0:
        said = done.err.decode("utf-8", "replace").strip()
        raise RepositoryUnusable(f"{doing} failed: {said}", hint="check the disk and `git fsck`")
    return done.out


def git_version() -> tuple[int, ...]:
    """Give the version of the git program, such as (2, 39, 5); () if there is none."""
    try:
        said = capture(["git", "--version"], env=git_env()).out.decode("ascii", "replace")
    except OSError:
        return ()
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


@dataclass(frozen=True, slots=True)
class Head:
    """Where HEAD is: the branch's full ref name, or None when detached."""

    ref: str | None
    commit: str


@dataclass(frozen=True, slots=True)
class Summary:
    """One commit in a listing."""

    id: Oid
    subject: str


class GitRepository:
    """One opened repository. Not to be shared between threads: `reopen` gives each its own."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self.git_dir = Path(repo.path)
        self.common_dir = _common_dir(self.git_dir)
        self.objects_dir = self.common_dir / "objects"
        self.store = self.common_dir / "otto"

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

    def reopen(self) -> "GitRepository":
        """Open the same repository again, for another thread."""
        return GitRepository(pygit2.Repository(str(self.git_dir), RepositoryOpenFlag.NO_SEARCH))

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

    def tree_of(self, commit: Oid) -> Oid:
        """Give the tree of a commit."""
        return self.repo[commit].peel(pygit2.Commit).tree_id

    def parents_of(self, commit: Oid) -> list[Oid]:
        """Give the parents of a commit."""
        return list(self.repo[commit].peel(pygit2.Commit).parent_ids)

    def head(self) -> Head:
        """Say where HEAD is.

        Raises:
            RepositoryUnusable: there is no commit yet.

        """
        commit = str(self.resolve("HEAD"))
        return Head(None if self.repo.head_is_detached else self.repo.head.name, commit)

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

    def checked_out(self) -> dict[str, Path]:
        """Say which branches (full ref names) are checked out, and where.

        The main and all linked worktrees.
        """
        found: dict[str, Path] = {}
        heads = [self.common_dir, *sorted((self.common_dir / "worktrees").glob("*"))]
        for place in heads:
            try:
                content = (place / "HEAD").read_text("utf-8", "surrogateescape").strip()
            except OSError:
                continue
            if content.startswith("ref: ") and not (place == self.common_dir and self.repo.is_bare):
                found[content.removeprefix("ref: ")] = _checkout_of(place)
        return found

    def checkouts(self) -> tuple[Path, ...]:
        """List the directories of the user's worktrees: the main one, and linked ones that exist."""
        linked = (_checkout_of(place) for place in (self.common_dir / "worktrees").glob("*"))
        main = [] if self.repo.is_bare else [_checkout_of(self.common_dir)]
        return tuple(place for place in (*main, *linked) if place.is_dir())

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

    def trusted_config(self, key: str) -> str | None:
        """Give one value of the user's whole configuration, or None."""
        try:
            return self.repo.config[key]
        except KeyError:
            return None


def _common_dir(git_dir: Path) -> Path:
    """Find the directory that linked worktrees share (gitrepository-layout(5), `commondir`)."""
    pointer = git_dir / "commondir"
    return (git_dir / pointer.read_text().strip()).resolve() if pointer.exists() else git_dir.resolve()


def _checkout_of(git_dir: Path) -> Path:
    pointer = git_dir / "gitdir"
    return Path(pointer.read_text().strip()).parent if pointer.exists() else git_dir.parent


def prepare_private(git_dir: Path, repository: GitRepository) -> None:
    """Make (or renew) a git directory of Otto's own that reads the user's objects and shares nothing else."""
    for part in ("objects/info", "objects/pack", "refs/heads", "info"):
        (git_dir / part).mkdir(parents=True, exist_ok=True)
    (git_dir / "objects/info/alternates").write_text(f"{repository.objects_dir}\n")
    (git_dir / "HEAD").write_text("ref: refs/heads/otto\n")
    config = git_dir / "config"
    config.write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tlogAllRefUpdates = false\n")
    own = pygit2.Config(str(config))
    for key, value in repository.conversion_config().items():
        own[key] = value
    shallow = repository.common_dir / "shallow"
    if shallow.exists():
        (git_dir / "shallow").write_bytes(shallow.read_bytes())


_NO_ATTRIBUTES = {"core.attributesFile": "/dev/null"}
_NO_MERGE_ATTRIBUTES = b"* !merge !conflict-marker-size\n"
"""Goes before the tip's attributes, so that those of the user or the machine decide no merge."""


class MergeRepository:
    """A git directory of Otto's own for merging.

    Writes into the user's objects, takes attributes only from what it is told.
    """

    def __init__(self, git_dir: Path, repository: GitRepository) -> None:
        prepare_private(git_dir, repository)
        config = pygit2.Config(str(git_dir / "config"))
        for key, value in {**CONFIG, **_NO_ATTRIBUTES}.items():
            config[key] = value
        self._git_dir = git_dir
        self._objects_dir = repository.objects_dir
        self.repo = pygit2.Repository(str(git_dir), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
        self.repo.set_odb(pygit2.Odb(str(repository.objects_dir)))
        self._usable = git_version() >= MERGE_TREE_SINCE

    def use_attributes(self, content: bytes) -> None:
        """Take these as the only attributes of the merges that follow."""
        path = self._git_dir / "info/attributes"
        if not path.exists() or path.read_bytes() != _NO_MERGE_ATTRIBUTES + content:
            path.write_bytes(_NO_MERGE_ATTRIBUTES + content)
            self.repo = pygit2.Repository(
                str(self._git_dir), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE
            )
            self.repo.set_odb(pygit2.Odb(str(self._objects_dir)))

    def merge_tree(self, ours: Oid, theirs: Oid) -> MergeTreeAnswer | Unavailable:
        """Merge two commits with `git merge-tree --write-tree` (the ort strategy).

        See its manual for the output.
        """
        if not self._usable:
            return Unavailable(f"git {'.'.join(map(str, git_version()))} is older than 2.38")
        done = git(
            *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", str(ours), str(theirs)),
            git_dir=self._git_dir,
            env={"GIT_OBJECT_DIRECTORY": str(self._objects_dir), "GIT_ATTR_NOSYSTEM": "1"},
        )
        if done.code < 0:  # ort has failed assertions on tangled renames; what it cannot merge is a conflict
            return MergeTreeAnswer(clean=False, tree=None, paths=())
        head, *paths = done.out.split(b"\0")
        if done.code not in (0, 1) or not re.fullmatch(rb"[0-9a-f]{40,64}", head):
            said = done.err.decode("utf-8", "replace").strip()
            raise RepositoryUnusable(
                f"git merge-tree gave no tree (exit {done.code}): {said}", hint="run `git fsck`"
            )
        tree = Oid(hex=head.decode())
        return MergeTreeAnswer(clean=done.code == 0, tree=tree, paths=tuple(sorted({p for p in paths if p})))


def commit_tree(
    repository: GitRepository, *, tree: Oid, parents: Sequence[Oid], message: str, committer: Signature
) -> Oid:
    """Write a commit that no ref points to yet."""
    return repository.repo.create_commit(None, committer, committer, message, tree, list(parents))


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


def fast_forward_checkout(checkout: Path, commit: Oid) -> None:
    """Move the branch that is checked out at `checkout`, its index and its files forward to a commit.

    Git itself refuses, before it moves anything, where a local change would be overwritten.

    Raises:
        RepositoryUnusable: it refused; the message carries what git said.

    """
    found = pygit2.discover_repository(str(checkout))
    done = git("merge", "--ff-only", "--quiet", str(commit), git_dir=Path(str(found)), work_tree=checkout)
    if done.code != 0:
        said = " ".join(done.err.decode("utf-8", "replace").split())
        raise RepositoryUnusable(
            f"the checkout {checkout} could not be moved: {said}",
            hint="commit or stash your changes there, then land again",
        )


MAX_ADOPTED = 10_000
"""How many objects of an attempt's own commits are kept at most."""

MAX_ADOPTED_BYTES = 100_000_000
"""How large they may be together."""


def adopt_commits(
    repository: GitRepository, own_git_dir: Path, objects: Path, head: Oid
) -> tuple[str, ...] | None:
    """Copy a commit, and all that it needs and the user's repository lacks, out of untrusted objects.

    `own_git_dir` is one of Otto's that reads the user's objects. Gives the subjects of the copied commits
    on the first-parent chain, oldest first; None where an object is missing, damaged, or there are more
    than `MAX_ADOPTED`.
    """
    try:
        foreign = pygit2.Repository(str(own_git_dir), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
        foreign.odb.add_disk_alternate(str(objects))
        lacking = _lacking(repository.repo, foreign, head)
        for oid in lacking:
            repository.repo.odb.write(*foreign.odb.read(oid))
        subjects = []
        commit = foreign[head].peel(pygit2.Commit)
        while commit.id in lacking:
            subjects.append(commit.message.partition("\n")[0])
            if not commit.parent_ids:
                break
            commit = foreign[commit.parent_ids[0]].peel(pygit2.Commit)
        return tuple(reversed(subjects))
    except (pygit2.GitError, KeyError, ValueError, OSError):
        return None


def _lacking(known: Repository, foreign: Repository, head: Oid) -> dict[Oid, None]:
    """List what a commit needs and `known` lacks (ValueError if that is too much)."""
    found: dict[Oid, None] = {}
    waiting, room = [head], MAX_ADOPTED_BYTES
    while waiting:
        oid = waiting.pop()
        if oid in found or oid in known:
            continue
        found[oid] = None
        room -= foreign.odb.read_header(oid)[1]
        if len(found) > MAX_ADOPTED or room < 0:
            raise ValueError(f"more than {MAX_ADOPTED} objects or {MAX_ADOPTED_BYTES} bytes")
        match foreign[oid]:
            case pygit2.Commit() as commit:
                waiting += [commit.tree_id, *commit.parent_ids]
            case pygit2.Tree() as tree:
                if any(forbidden(entry.raw_name or b"") for entry in tree):
                    raise ValueError(f"a tree of {oid} has a name that Git forbids")
                waiting += [entry.id for entry in tree if entry.filemode != FileMode.COMMIT]
    return found
