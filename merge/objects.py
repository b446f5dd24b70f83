"""Git's object vocabulary, so that the layers above can name ids and modes without importing pygit2."""

from collections.abc import Sequence

from pygit2 import GitError, Oid, Repository, Signature
from pygit2.enums import ObjectType

__all__ = [
    "EXECUTABLE",
    "FILE",
    "GITLINK",
    "SYMLINK",
    "TREE",
    "GitError",
    "Oid",
    "Repository",
    "Signature",
    "write_blob",
    "write_commit",
    "write_tree",
]

FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
TREE = 0o040000
GITLINK = 0o160000


def write_blob(repo: Repository, content: bytes) -> Oid:
    """Write a file's content; raises GitError if it could not be written."""
    return _write(repo, ObjectType.BLOB, content)


def write_tree(repo: Repository, content: bytes) -> Oid:
    """Write one directory in Git's own format; raises GitError if it could not be written."""
    return _write(repo, ObjectType.TREE, content)


def _write(repo: Repository, kind: ObjectType, content: bytes) -> Oid:
    """Write an object, and tell in plain words if that fails.

    libgit2 (1.9.7) tells a disk that fills up meanwhile in the words of whatever had failed last before.
    """
    try:
        return repo.odb.write(kind, content)
    except GitError as error:
        what = f"a {kind.name.lower()} of {len(content):,} bytes"
        raise GitError(f"{what} could not be written to {repo.path}") from error


def write_commit(
    repo: Repository,
    *,
    tree: Oid,
    parents: Sequence[Oid],
    message: str,
    author: Signature,
    committer: Signature,
) -> Oid:
    """Write a commit that no ref points to yet.

    Raises GitError if it is not there afterwards: of all that pygit2 writes, only commits are reported as
    written although the disk is full (pygit2 1.21).
    """
    made = repo.create_commit(None, author, committer, message, tree, list(parents))
    if made not in repo:
        raise GitError(f"the commit {made} could not be written")
    return made
