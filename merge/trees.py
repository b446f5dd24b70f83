r"""Trees as git stores them: what differs between two, and a tree with some of its entries changed.

Both operations open only the directories on the way to a difference, so their cost grows with the change
and not with the repository. Names are raw bytes throughout: git promises no encoding.

A tree object is a run of `<octal mode> <name>\0<20 bytes of id>`, sorted as if the name of a directory ended
in a slash (git's `base_name_compare`; `git fsck` reports any other order).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache, lru_cache
from stat import S_ISDIR, S_ISLNK, S_ISREG

from pygit2.enums import ObjectType

from merge.objects import EXECUTABLE, FILE, GITLINK, SYMLINK, TREE, Oid, Repository, write_tree

_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
_SEPARATORS = 22  # bytes of an entry beside mode and name: the space, the NUL and the id
_SMALL_BYTES = 1 << 12  # most directories of most repositories
_CACHED_BYTES = 1 << 16  # larger directories are parsed each time, which bounds the cache's memory

_Raw = tuple[int, bytes]  # mode and binary id: what a directory maps a name to
_Directory = Mapping[bytes, _Raw]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a path holds: a mode (one of those in `merge.objects`), the id of a blob, a tree or a commit."""

    mode: int
    oid: Oid


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees; `None` is absence. Neither side is ever a directory."""

    path: bytes
    old: Entry | None
    new: Entry | None


@dataclass(slots=True)
class _Edit:
    """The edits at and below one name: a change of the name itself, changes below it, or a swap (both)."""

    change: Change | None = None
    below: "dict[bytes, _Edit]" = field(default_factory=dict)


def changes(repo: Repository, old: Oid | None, new: Oid | None) -> list[Change]:
    """Tell the paths that differ between two trees, sorted by path.

    `old` and `new` are ids of trees; `None` is the empty tree. A rename is a deletion and an addition; where
    a file gives way to a directory, the file is deleted and what the directory holds is added.
    Raises KeyError for an id that the repository lacks, ValueError for an object that is not a tree.
    """
    found: list[Change] = []
    _compare(repo, b"", old.raw if old else None, new.raw if new else None, found)
    found.sort(key=lambda change: change.path)
    return found


def apply(repo: Repository, tree: Oid, edits: Iterable[Change]) -> Oid:
    """Write `tree` with the new side of each change in place; returns the id of the resulting tree.

    The old sides are not looked at. Directories left empty vanish. Raises ValueError when the result would
    need one name to be a file and a directory at once.
    """
    root: dict[bytes, _Edit] = {}
    for change in edits:
        *parents, name = change.path.split(b"/")
        level = root
        for parent in parents:
            level = level.setdefault(parent, _Edit()).below
        level.setdefault(name, _Edit()).change = change
    if not root:
        return tree
    written = _rewrite(repo, tree.raw, root, b"")
    return Oid(raw=written) if written else Oid(raw=_write(repo, {}))


def entry(repo: Repository, tree: Oid, path: bytes) -> Entry | None:
    """Look one path up: a file, symlink, gitlink or directory, or `None` where there is nothing."""
    raw: _Raw | None = (TREE, tree.raw)
    for name in path.split(b"/"):
        if raw is None or raw[0] != TREE:
            return None
        raw = _read(repo, raw[1]).get(name)
    return _entry(raw)


def listing(repo: Repository, tree: Oid, directory: bytes) -> dict[bytes, Entry]:
    """Tell what a directory holds, by name; `b""` is the root. What is not a directory holds nothing."""
    return {name: Entry(mode, Oid(raw=raw)) for name, (mode, raw) in _held(repo, tree, directory).items()}


def names(repo: Repository, tree: Oid, directory: bytes) -> AbstractSet[bytes]:
    """Tell the names in a directory, for less than `listing` costs."""
    return _held(repo, tree, directory).keys()


def walk(repo: Repository, tree: Oid) -> Iterator[tuple[bytes, Entry]]:
    """Yield every path of a tree that is not a directory. Opens all of it: not for the landing path."""
    for path, (mode, raw) in _leaves(repo, b"", (TREE, tree.raw)):
        yield path, Entry(mode, Oid(raw=raw))


def _held(repo: Repository, tree: Oid, directory: bytes) -> _Directory:
    at = Entry(TREE, tree) if not directory else entry(repo, tree, directory)
    return {} if at is None or at.mode != TREE else _read(repo, at.oid.raw)


def _compare(
    repo: Repository, prefix: bytes, old: bytes | None, new: bytes | None, found: list[Change]
) -> None:
    if old == new:
        return
    before = _read(repo, old) if old else {}
    after = _read(repo, new) if new else {}
    for name in {name for name, _ in before.items() ^ after.items()}:
        path = prefix + name
        was_tree, was_file = _sides(before.get(name))
        now_tree, now_file = _sides(after.get(name))
        _compare(repo, path + b"/", was_tree, now_tree, found)
        if was_file != now_file:
            found.append(Change(path, _entry(was_file), _entry(now_file)))


def _sides(raw: _Raw | None) -> tuple[bytes | None, _Raw | None]:
    """Split what a name holds into (id of a directory, anything else): at most one of them is there."""
    if raw and raw[0] == TREE:
        return raw[1], None
    return None, raw


def _leaves(repo: Repository, path: bytes, raw: _Raw) -> Iterator[tuple[bytes, _Raw]]:
    if raw[0] != TREE:
        yield path, raw
        return
    for name, below in _read(repo, raw[1]).items():
        yield from _leaves(repo, path + b"/" + name if path else name, below)


def _rewrite(
    repo: Repository, tree: bytes | None, edits: Mapping[bytes, _Edit], prefix: bytes
) -> bytes | None:
    """Write one directory with its edits; returns its binary id, or `None` when nothing is left in it."""
    before = _read(repo, tree) if tree else {}
    after = dict(before)
    for name, edit in edits.items():
        left = _edited(repo, before.get(name), edit, prefix + name)
        if left is None:
            after.pop(name, None)
        else:
            after[name] = left
    if not after:
        return None
    return tree if tree and after == before else _write(repo, after)


def _edited(repo: Repository, raw: _Raw | None, edit: _Edit, path: bytes) -> _Raw | None:
    """Tell what one name holds after its edits, where a swap of file and directory is two of them."""
    directory, file = _sides(raw)
    if edit.change:
        new = edit.change.new
        file = (new.mode, new.oid.raw) if new else None
    if edit.below:
        directory = _rewrite(repo, directory, edit.below, path + b"/")
    if file and directory:
        raise ValueError(f"{path!r} would be a file and a directory at once")
    return (TREE, directory) if directory else file


def _read(repo: Repository, raw: bytes) -> _Directory:
    kind, data = repo.odb.read(Oid(raw=raw))
    if kind != ObjectType.TREE:
        raise ValueError(f"{raw.hex()} is not a tree")
    if len(data) <= _SMALL_BYTES:
        return _parse_small(data)
    return _parse_large(data) if len(data) <= _CACHED_BYTES else _parse(data)


def _parse(data: bytes) -> _Directory:
    fields = _ENTRY.findall(data)
    if sum(len(mode) + len(name) for mode, name, _ in fields) + _SEPARATORS * len(fields) != len(data):
        raise ValueError("a tree object is malformed")
    return {name: (_mode(mode), raw) for mode, name, raw in fields}


# Keyed by content, so no repository is kept alive and no id is answered for one that lacks it. One landing
# reads the same few directories four times over: gate, merge, gate, audit. A parsed directory takes about
# seven times its bytes, so each of the two holds some 2 MB at most.
_parse_small = lru_cache(maxsize=64)(_parse)
_parse_large = lru_cache(maxsize=6)(_parse)


@cache
def _mode(text: bytes) -> int:
    """Read a mode as git does (`canon_mode`): old tools wrote group permissions and leading zeros."""
    mode = int(text, 8)
    if S_ISREG(mode):
        return EXECUTABLE if mode & 0o100 else FILE
    if S_ISLNK(mode):
        return SYMLINK
    return TREE if S_ISDIR(mode) else GITLINK


def _write(repo: Repository, directory: _Directory) -> bytes:
    def order(item: tuple[bytes, _Raw]) -> bytes:
        return item[0] + b"/" if item[1][0] == TREE else item[0]

    data = b"".join(
        b"%o %s\0%s" % (mode, name, raw) for name, (mode, raw) in sorted(directory.items(), key=order)
    )
    return write_tree(repo, data).raw


def _entry(raw: _Raw | None) -> Entry | None:
    return Entry(raw[0], Oid(raw=raw[1])) if raw else None
