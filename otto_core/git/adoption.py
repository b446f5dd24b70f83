"""Take an attempt's own commits, with all that they need, out of objects that nobody vouches for."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import ObjectType, RepositoryOpenFlag

from merge.objects import Oid, Repository
from otto_core.git.needs import Need, needs
from otto_core.git.program import git, must
from otto_core.git.repository import GitRepository

MAX_ADOPTED = 10_000
"""How many objects of an attempt's own commits are kept at most."""

MAX_ADOPTED_BYTES = 100_000_000
"""How large they may be together."""

MAX_TAGS = 100
"""How many tags of tags are followed at most."""

_EMPTY_TREE: Final = Oid(hex="4b825dc642cb6eb9a060e54bf8d69288fbee4904")

_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class History:
    """The commits that an attempt made on top of its base: the last one, and all subjects, oldest first."""

    head: Oid | None
    subjects: tuple[str, ...]


def adopt_commits(repository: GitRepository, own_git_dir: Path, objects: Path, head: Oid) -> History | None:
    """Copy a commit, and all that it needs and the user's repository lacks, out of untrusted objects.

    `own_git_dir` is one of Otto's that reads the user's objects. Of a tag, the commit that it leads to
    counts. Gives that commit and the subjects of the copied ones on its first-parent chain; None where it is
    none, an object is missing, damaged or not what it is needed for, or there are more than `MAX_ADOPTED`.

    Whatever ends it on the way, no object is there that needs one which is not.

    Raises:
        GitError, RepositoryUnusable: the user's repository takes no object.

    """
    try:
        foreign = pygit2.Repository(str(own_git_dir), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
        foreign.odb.add_disk_alternate(str(objects))
        head = _commit_at(foreign, objects, head)
        lacking = _lacking(repository.repo, foreign, objects, head)
        subjects = []
        commit = foreign[head].peel(pygit2.Commit)
        while commit.id in lacking:
            subjects.append(_message_of(commit).partition("\n")[0])
            if not commit.parent_ids:
                break
            commit = foreign[commit.parent_ids[0]].peel(pygit2.Commit)
    except (pygit2.GitError, KeyError, ValueError, OSError, zlib.error):
        return None
    for oid in lacking:
        if oid == _EMPTY_TREE:
            _write_empty_tree(repository)
            continue
        try:
            found = foreign.odb.read(oid)
        except (pygit2.GitError, KeyError):
            return None
        repository.repo.odb.write(*found)
    return History(head, tuple(reversed(subjects)))


def _write_empty_tree(repository: GitRepository) -> None:
    """Have git write the empty tree: libgit2 (1.9.7) takes it to be everywhere, and writes it nowhere."""
    command = ("hash-object", "-w", "-t", "tree", "--stdin")
    must(git(*command, git_dir=repository.common_dir), "writing the empty tree")


def _commit_at(foreign: Repository, objects: Path, oid: Oid) -> Oid:
    """Follow tags to the commit that they lead to (ValueError where it is none).

    A tag's own word for what it names is not asked.
    """
    for _ in range(MAX_TAGS):
        kind, size = foreign.odb.read_header(oid)
        if kind == ObjectType.COMMIT:
            return oid
        if kind != ObjectType.TAG or size > MAX_ADOPTED_BYTES:
            break
        _require_whole(_loose(objects, oid))
        oid = foreign[oid].peel(pygit2.Tag).target
    raise ValueError(f"{oid} leads to no commit")


def _message_of(commit: pygit2.Commit) -> str:
    """Decode a message as it says that it is encoded, or as UTF-8 where that cannot be."""
    try:
        return commit.message
    except (LookupError, ValueError):
        return commit.raw_message.decode("utf-8", "replace")


def _lacking(known: Repository, foreign: Repository, objects: Path, head: Oid) -> dict[Oid, None]:
    """List what a commit needs and `known` lacks, each after what it needs itself.

    A search in depth, noted on the way back (ValueError if that is too much, or something is not what it is
    needed for).
    """
    seen: dict[Oid, ObjectType] = {}
    found: dict[Oid, None] = {}
    waiting: list[tuple[Need, bool]] = [((head, ObjectType.COMMIT), False)]
    room = MAX_ADOPTED_BYTES
    while waiting:
        (oid, wanted), searched = waiting.pop()
        if searched:
            found[oid] = None
            continue
        if oid == _EMPTY_TREE:  # git knows it, written or not; what needs it has it copied first
            seen[oid] = ObjectType.TREE
            found[oid] = None
        elif oid not in seen and oid not in known:
            room -= foreign.odb.read_header(oid)[1]
            if len(seen) >= MAX_ADOPTED or room < 0:
                raise ValueError(f"more than {MAX_ADOPTED} objects or {MAX_ADOPTED_BYTES} bytes")
            _require_whole(_loose(objects, oid))
            seen[oid], data = foreign.odb.read(oid)
            waiting += [((oid, wanted), True), *((need, False) for need in needs(seen[oid], data))]
        kind = seen[oid] if oid in seen else known.odb.read_header(oid)[0]
        if kind != wanted:
            raise ValueError(f"{oid} is needed as a {wanted.name}, and is none")
    return found


def _loose(objects: Path, oid: Oid) -> Path:
    return objects / str(oid)[:2] / str(oid)[2:]


def _require_whole(loose: Path) -> None:
    """Make sure that the stream of a loose object, if it is one, has an end (ValueError where it is cut off).

    For the rest of one that has none, libgit2 1.9 looks for ever.
    """
    if not loose.exists():
        return
    stream, size = zlib.decompressobj(), 0
    with loose.open("rb") as file:
        while not stream.eof:
            data = stream.unconsumed_tail or file.read(_CHUNK)
            made = stream.decompress(data, _CHUNK)
            size += len(made)
            if size > 2 * MAX_ADOPTED_BYTES or not (data or made):
                raise ValueError(f"{loose} is cut off, or larger than it says")
