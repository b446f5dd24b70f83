r"""What a commit or a tree needs to be whole, read from its bytes; they have to be as git itself writes them.

Of an object that somebody forged, libgit2 reads what it can, and git's own check (`git fsck --strict`) and
its garbage collection then fail on it. So the format is asked for in full: for a commit, the lines that
git-commit-tree(1) writes first; for a tree, `<octal mode> <name>\0<20 bytes of id>`, each name once, sorted
as if that of a directory ended in a slash.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from pygit2.enums import ObjectType

from merge.objects import EXECUTABLE, FILE, GITLINK, SYMLINK, TREE, Oid
from merge.paths import fold, forbidden

Need = tuple[Oid, ObjectType]
"""An object, and what it has to be."""

_WHO: Final = rb" [^<>\n]* <[^<>\n]*> (?:0|[1-9][0-9]{0,17}) [+-][0-9]{4}\n"
_COMMIT: Final = re.compile(
    rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author%bcommitter%b" % (_WHO, _WHO)
)
_ENTRY: Final = re.compile(rb"([0-7]+) ([^/\0]+)\0(.{20})", re.DOTALL)
_KINDS: Final[Mapping[bytes, ObjectType | None]] = {
    b"%o" % FILE: ObjectType.BLOB,
    b"%o" % EXECUTABLE: ObjectType.BLOB,
    b"%o" % SYMLINK: ObjectType.BLOB,
    b"%o" % TREE: ObjectType.TREE,
    b"%o" % GITLINK: None,  # a commit of another repository
}


def needs(kind: int, data: bytes) -> list[Need]:
    """List what an object needs.

    Raises:
        ValueError: git would not write it so, or it is a tag, which nothing needs.

    """
    return _READERS[kind](data) if kind in _READERS else _refuse(f"nothing needs an object of kind {kind}")


def _of_commit(data: bytes) -> list[Need]:
    found = _COMMIT.match(data)
    if found is None or b"\0" in data:
        return _refuse("a commit is malformed")
    parents = (line.removeprefix(b"parent ") for line in found[2].splitlines())
    return [
        (Oid(hex=found[1].decode()), ObjectType.TREE),
        *((Oid(hex=parent.decode()), ObjectType.COMMIT) for parent in parents),
    ]


def _of_tree(data: bytes) -> list[Need]:
    found, names, last, end = list[Need](), set[bytes](), b"", 0
    for entry in _ENTRY.finditer(data):
        mode, name, raw = entry.groups()
        order = name + b"/" if mode == b"%o" % TREE else name
        if entry.start() != end or mode not in _KINDS or name in names or order <= last:
            return _refuse("a tree is malformed")
        if forbidden(name) or (mode == b"%o" % SYMLINK and fold(name) == ".gitmodules"):
            return _refuse("a tree has a name that Git forbids")
        names.add(name)
        last, end = order, entry.end()
        if (kind := _KINDS[mode]) is not None:
            found.append((Oid(raw=raw), kind))
    return found if end == len(data) else _refuse("a tree is malformed")


def _refuse(why: str) -> list[Need]:
    raise ValueError(why)


_READERS: Final[Mapping[int, Callable[[bytes], list[Need]]]] = {
    ObjectType.BLOB: lambda _: [],
    ObjectType.TREE: _of_tree,
    ObjectType.COMMIT: _of_commit,
}
