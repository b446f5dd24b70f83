"""Builders for the tests of `merge`: trees and commits made without the code under test, and git itself."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pygit2
from pygit2 import Oid, Repository, Signature
from pygit2.enums import ObjectType

from merge.strategies import CONFIG, MergeTreeAnswer, Unavailable

FILE, EXECUTABLE, SYMLINK, TREE, GITLINK = 0o100644, 0o100755, 0o120000, 0o040000, 0o160000
SOMEBODY = Signature("Test Person", "person@example.com", 1_700_000_000, 0)

# What a path holds in a builder's tree: text stands for a plain file; a gitlink's content is its 40 digits.
Content = str | bytes | tuple[int, bytes]
Files = Mapping[str, Content] | Mapping[str, str] | Mapping[str, tuple[int, bytes]] | Mapping[bytes, Content]


class Box:
    """A bare repository with the settings that `merge` asks for."""

    def __init__(self, path: Path) -> None:
        self.repo: Repository = pygit2.init_repository(str(path), bare=True)
        self.path = path
        for name, value in CONFIG.items():
            self.repo.config[name] = value

    def tree(self, files: Files) -> Oid:
        """Write a tree; raw bytes throughout, so that it may hold what no checkout could."""
        below: dict[bytes, dict[bytes, Content]] = {}
        entries: list[tuple[bytes, int, bytes]] = []
        for path, content in files.items():
            name, separator, rest = (path.encode() if isinstance(path, str) else path).partition(b"/")
            if separator:
                below.setdefault(name, {})[rest] = content
            else:
                entries.append((name, *self._leaf(content)))
        entries += [(name, TREE, self.tree(files).raw) for name, files in below.items()]
        entries.sort(key=lambda entry: entry[0] + b"/" if entry[1] == TREE else entry[0])
        data = b"".join(b"%o %s\0%s" % (mode, name, raw) for name, mode, raw in entries)
        return self.repo.odb.write(ObjectType.TREE, data)

    def _leaf(self, content: Content) -> tuple[int, bytes]:
        if isinstance(content, str):
            content = content.encode()
        mode, data = content if isinstance(content, tuple) else (FILE, content)
        return mode, Oid(hex=data.decode()).raw if mode == GITLINK else self.repo.create_blob(data).raw

    def commit(self, files: Files | Oid, *parents: Oid, message: str = "x") -> Oid:
        tree = files if isinstance(files, Oid) else self.tree(files)
        return self.repo.create_commit(None, SOMEBODY, SOMEBODY, message, tree, list(parents))

    def tree_of(self, commit: Oid) -> Oid:
        return self.repo[commit].peel(pygit2.Commit).tree_id

    def files(self, tree: Oid) -> dict[str, bytes]:
        """Read all plain files of a tree back, by the git program."""
        listed = self.git("ls-tree", "-r", "-z", str(tree)).split(b"\0")[:-1]
        fields = [(line.split()[2].decode(), line.partition(b"\t")[2].decode()) for line in listed]
        return {path: self.repo[Oid(hex=oid)].read_raw() for oid, path in fields}

    def git(self, *args: str, stdin: bytes = b"") -> bytes:
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def run(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["git", "--git-dir", str(self.path), *args]
        return subprocess.run(command, input=stdin, capture_output=True, check=False)


class GitMergeTree:
    """The port as the git program answers it, one process for each merge; `asked` counts them."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.asked = 0

    def merge_tree(self, ours: Oid, theirs: Oid) -> MergeTreeAnswer | Unavailable:
        self.asked += 1
        return git_merge(self.box, ours, theirs)


class GitCrashed(Exception):
    """The git program itself failed an assertion of its own: there is nothing to compare with."""


def git_merge(box: Box, ours: Oid, theirs: Oid) -> MergeTreeAnswer:
    """Merge by `git merge-tree`. It exits 1 for an unknown id too: only an object id is an answer."""
    args = ("--write-tree", "-z", "--name-only", "--no-messages", str(ours), str(theirs))
    done = box.run("merge-tree", *args)
    tree, *paths = done.stdout.removesuffix(b"\0").split(b"\0")
    if done.returncode < 0:
        raise GitCrashed(done.stderr.decode())
    assert done.returncode in (0, 1), done.stderr.decode()
    assert len(tree) == 40, done.stderr.decode()
    clean = done.returncode == 0
    return MergeTreeAnswer(clean, Oid(hex=tree.decode()) if clean else None, tuple(sorted(set(paths))))
