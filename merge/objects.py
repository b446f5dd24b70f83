"""Git's object vocabulary, so that the layers above can name ids and modes without importing pygit2."""

from pygit2 import GitError, Oid, Repository, Signature

__all__ = ["EXECUTABLE", "FILE", "GITLINK", "SYMLINK", "TREE", "GitError", "Oid", "Repository", "Signature"]

FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
TREE = 0o040000
GITLINK = 0o160000
