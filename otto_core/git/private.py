"""Git directories of Otto's own: they read the user's objects and share nothing else with the repository."""

import os
import re
from pathlib import Path

import pygit2
from pygit2.enums import RepositoryOpenFlag

from merge.objects import Oid
from merge.strategies import CONFIG, MergeTreeAnswer, Unavailable
from otto_core.errors import RepositoryUnusable
from otto_core.git.program import git, git_version, unless_killed
from otto_core.git.repository import GitRepository
from otto_core.places import create

MERGE_TREE_SINCE = (2, 38)

_NO_ATTRIBUTES = {"core.attributesFile": "/dev/null"}

_NO_MERGE_ATTRIBUTES = b"* !merge !conflict-marker-size\n"
"""Goes before the tip's attributes, so that those of the user or the machine decide no merge."""


_PARTS = ("objects", "objects/info", "objects/pack", "refs", "refs/heads", "info")


def prepare_private(git_dir: Path, repository: GitRepository, config: bytes = b"") -> None:
    """Make a git directory of Otto's own that reads the user's objects and shares nothing else.

    `config` is added to its configuration. What it is made of must not be there yet.

    Raises:
        OSError: something of it is there, or cannot be written.

    """
    git_dir.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        os.mkdir(git_dir / part)  # noqa: PTH102 - half the cost
    create(git_dir / "objects/info/alternates", os.fsencode(repository.objects_dir) + b"\n")
    create(git_dir / "HEAD", b"ref: refs/heads/otto\n")
    create(git_dir / "config", repository.private_config + config)
    shallow = repository.common_dir / "shallow"
    if shallow.exists():
        create(git_dir / "shallow", shallow.read_bytes())


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
        unless_killed(done, "git merge-tree")
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
