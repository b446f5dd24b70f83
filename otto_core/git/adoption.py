"""Take an attempt's own commits, with all that they need, out of objects that nobody vouches for."""

import zlib
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import FileMode, RepositoryOpenFlag

from merge.objects import Oid, Repository
from merge.paths import forbidden
from otto_core.git.repository import GitRepository

MAX_ADOPTED = 10_000
"""How many objects of an attempt's own commits are kept at most."""

MAX_ADOPTED_BYTES = 100_000_000
"""How large they may be together."""

_CHUNK: Final = 65_536


def adopt_commits(
    repository: GitRepository, own_git_dir: Path, objects: Path, head: Oid
) -> tuple[str, ...] | None:
    """Copy a commit, and all that it needs and the user's repository lacks, out of untrusted objects.

    `own_git_dir` is one of Otto's that reads the user's objects. Gives the subjects of the copied commits
    on the first-parent chain, oldest first; None where an object is missing, damaged, or there are more
    than `MAX_ADOPTED`.

    Whatever ends it on the way, no object is there that needs one which is not.

    Raises:
        GitError: the user's repository takes no object.

    """
    try:
        foreign = pygit2.Repository(str(own_git_dir), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
        foreign.odb.add_disk_alternate(str(objects))
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
        try:
            found = foreign.odb.read(oid)
        except (pygit2.GitError, KeyError):
            return None
        repository.repo.odb.write(*found)
    return tuple(reversed(subjects))


def _message_of(commit: pygit2.Commit) -> str:
    """Decode a message as it says that it is encoded, or as UTF-8 where that cannot be."""
    try:
        return commit.message
    except (LookupError, ValueError):
        return commit.raw_message.decode("utf-8", "replace")


def _lacking(known: Repository, foreign: Repository, objects: Path, head: Oid) -> dict[Oid, None]:
    """List what a commit needs and `known` lacks, each after what it needs itself.

    A search in depth, noted on the way back (ValueError if that is too much).
    """
    seen: set[Oid] = set()
    found: dict[Oid, None] = {}
    waiting, room = [(head, False)], MAX_ADOPTED_BYTES
    while waiting:
        oid, searched = waiting.pop()
        if searched:
            found[oid] = None
        elif oid not in seen and oid not in known:
            seen.add(oid)
            room -= foreign.odb.read_header(oid)[1]
            if len(seen) > MAX_ADOPTED or room < 0:
                raise ValueError(f"more than {MAX_ADOPTED} objects or {MAX_ADOPTED_BYTES} bytes")
            _require_whole(objects / str(oid)[:2] / str(oid)[2:])
            waiting += [(oid, True), *((need, False) for need in _needs(foreign, oid))]
    return found


def _needs(foreign: Repository, oid: Oid) -> list[Oid]:
    match foreign[oid]:
        case pygit2.Commit() as commit:
            return [commit.tree_id, *commit.parent_ids]
        case pygit2.Tree() as tree:
            if any(forbidden(entry.raw_name or b"") for entry in tree):
                raise ValueError(f"a tree of {oid} has a name that Git forbids")
            return [entry.id for entry in tree if entry.filemode != FileMode.COMMIT]
    return []


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
