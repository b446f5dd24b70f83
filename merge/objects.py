"""Git's object vocabulary, so that the layers above can name ids and modes without importing pygit2."""

from collections.abc import Sequence

from pygit2 import GitError, Oid, Repository, Signature

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
    "write_commit",
]

FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
TREE = 0o040000
GITLINK = 0o160000


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
