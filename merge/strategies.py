"""Merging two commits in memory: the cheapest strategy that provably gives what git itself would give.

1. `tree`: theirs changes only what ours has left as it was at the base. The changed entries go into ours.
2. `union`: a registry that both sides changed takes the insertions of both (`merge.lines`), before the rest.
3. `pygit2`: libgit2's three-way merge, with renames.
4. `ort`: `git merge-tree --write-tree`, which decides wherever libgit2 conflicts or may differ silently:
   either side removes a directory (libgit2 knows no directory renames), both changed a path that is not a
   plain file in all three trees, or there are several merge bases.

The repository is a git directory of Otto's own: its `info/attributes` holds the tip's attributes
(`merge.attributes`), it has no work tree, and its configuration includes `CONFIG`.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, Protocol, cast

from pygit2 import Commit
from pygit2.enums import MergeFileFlag, MergeFlag, SortMode

from merge import registries as registry_files
from merge import trees
from merge.objects import EXECUTABLE, FILE, TREE, Oid, Repository, Signature, write_commit
from merge.patterns import PathSet
from merge.trees import Change, Entry

CONFIG: Mapping[str, str] = MappingProxyType(
    {"merge.renameLimit": "7000", "merge.directoryRenames": "conflict"}
)

Strategy = Literal["tree", "union", "pygit2", "ort"]


@dataclass(frozen=True, slots=True)
class MergeTreeAnswer:
    """What `git merge-tree` said: a clean merge's tree, or the paths in conflict."""

    clean: bool
    tree: Oid | None
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The git program cannot merge in memory (it is older than 2.38), for this reason."""

    reason: str


class MergeTreePort(Protocol):
    """The git program's in-memory merge, given by the layer that may start processes."""

    def merge_tree(self, ours: Oid, theirs: Oid) -> MergeTreeAnswer | Unavailable:
        """Merge two commits of the repository. Anything but a clean merge or a conflict raises."""
        ...


@dataclass(frozen=True, slots=True)
class Merged:
    """A clean merge: its tree, what decided it, and what a reader of the journal should know besides."""

    tree: Oid
    strategy: Strategy
    note: str = ""


@dataclass(frozen=True, slots=True)
class Conflicted:
    """No merge without a person or an agent. `paths` are sorted; empty if the histories are unrelated."""

    paths: tuple[bytes, ...]
    strategy: Strategy
    message: str


@dataclass(frozen=True, slots=True)
class _Sides:
    """The trees of a merge and what theirs changed since the base."""

    base: Oid
    ours: Oid
    theirs: Oid
    edits: tuple[Change, ...]


def merge(
    repo: Repository,
    ours: Oid,
    theirs: Oid,
    *,
    registries: PathSet,
    port: MergeTreePort | None,
    base: Oid | None = None,
) -> Merged | Conflicted:
    """Merge the commit `theirs` into the commit `ours`, in memory.

    `registries` are the paths of append-mostly files. `port` is the git program; without it libgit2's merge
    stands, and the note says so. `base` is the one merge base where the caller knows it (an attempt's pinned
    base), which spares looking for it. Raises KeyError for an id that the repository lacks, ValueError for
    a repository with a work tree, whose attributes would have a say.
    """
    if repo.workdir:
        raise ValueError(f"{repo.path} has a work tree: merge in a bare git directory of Otto's own")
    bases = (base,) if base else _merge_bases(repo, ours, theirs)
    if not bases:
        return Conflicted((), "tree", "the two histories have no commit in common")
    trunk, ours_tree, theirs_tree = (_commit(repo, oid).tree_id for oid in (bases[0], ours, theirs))
    edits = trees.changes(repo, trunk, theirs_tree)
    sides = _Sides(trunk, ours_tree, theirs_tree, tuple(edits))
    several = len(bases) > 1
    found = registry_files.unite(repo, ours_tree, sides.edits, registries, sole_base=not several)
    if isinstance(found, registry_files.Clash):
        return Conflicted(found.paths, "union", "both sides changed a registry by more than inserting lines")
    united = found.edits
    rest = [edit for edit in sides.edits if edit.path not in united]
    if not several and _apart(repo, sides, rest):
        tree = trees.apply(repo, ours_tree, [*rest, *united.values()])
        return Merged(tree, "union" if united else "tree")
    if united:
        # Both sides now hold the same content there, which leaves the engines nothing to merge.
        ours, theirs = (_with(repo, side, united.values()) for side in (ours, theirs))
    merged = _libgit2(repo, ours, theirs)
    if isinstance(merged, Merged) and not several and not _beyond_libgit2(repo, sides):
        return merged
    return _ort(port, ours, theirs, otherwise=merged)


def _with(repo: Repository, oid: Oid, united: Iterable[Change]) -> Oid:
    """Write a commit on top of `oid` that holds the united registries; nothing ever refers to it."""
    commit = _commit(repo, oid)
    # Dated as its parent: a search for merge bases walks by date and would otherwise wander off.
    nobody = Signature("otto", "otto@localhost", commit.commit_time, 0)
    tree = trees.apply(repo, commit.tree_id, united)
    return write_commit(repo, tree=tree, parents=[oid], message="", author=nobody, committer=nobody)


def _apart(repo: Repository, sides: _Sides, edits: Iterable[Change]) -> bool:
    """Tell whether the edits of theirs touch nothing that ours changed, as a rename-aware merge would see it.

    A changed path must be as at the base in ours. So must a directory that theirs removed: it may have been
    renamed, and a file that ours put there would have to follow. A directory that theirs adds to must be
    there in ours, or be as at the base: if ours removed it, it may have been renamed in ours, and if ours
    made it a file, the two clash. Plain renames need no more: their source is a changed path.
    """
    same: set[bytes] = set()
    present: set[bytes] = set()
    for edit in edits:
        same.add(edit.path)
        parents = _parents(edit.path)
        if edit.old is None:
            present.update(parents)
        elif edit.new is None:
            same.update(at for at in parents if not _is_directory(trees.entry(repo, sides.theirs, at)))
    return all(
        mine == trees.entry(repo, sides.base, at) or (at not in same and _is_directory(mine))
        for at in same | present
        for mine in [trees.entry(repo, sides.ours, at)]
    )


def _parents(path: bytes) -> list[bytes]:
    names = path.split(b"/")[:-1]
    return [b"/".join(names[: end + 1]) for end in range(len(names))]


def _is_plain_file(at: Entry | None) -> bool:
    return at is not None and at.mode in (FILE, EXECUTABLE)


def _is_directory(at: Entry | None) -> bool:
    return at is not None and at.mode == TREE


def _beyond_libgit2(repo: Repository, sides: _Sides) -> bool:
    """Tell whether libgit2 may merge cleanly what git would not.

    What it merges as git does are plain files that both sides changed in place. Its renames differ, also that
    of a file which became a symlink, and so does a file added by both with two modes. A directory's rename
    matters if the other side put something into it; any directory that a side lacks is taken for one.
    """
    for edit in sides.edits:
        mine = trees.entry(repo, sides.ours, edit.path)
        if mine != edit.old and not all(map(_is_plain_file, (edit.old, mine, edit.new))):
            return True
    pairs = ((sides.ours, trees.changes(repo, sides.base, sides.ours)), (sides.theirs, sides.edits))
    return any(
        not _is_directory(trees.entry(repo, tree, at))
        for tree, edits in pairs
        for at in {parent for edit in edits if edit.new is None for parent in _parents(edit.path)}
    )


def _merge_bases(repo: Repository, ours: Oid, theirs: Oid) -> tuple[Oid, ...]:
    """Return the best common ancestor, and with it any that is not among its own ancestors."""
    best = cast("Oid | None", repo.merge_base(ours, theirs))  # unrelated histories have none
    if best is None or best in (ours, theirs):
        return (best,) if best else ()
    beyond = []
    for tip in (ours, theirs):
        walker = repo.walk(tip, SortMode.NONE)
        walker.hide(best)
        beyond.append({commit.id for commit in walker})
    return (best, *(beyond[0] & beyond[1]))


def _libgit2(repo: Repository, ours: Oid, theirs: Oid) -> Merged | Conflicted:
    index = repo.merge_commits(
        ours, theirs, flags=MergeFlag.FIND_RENAMES, file_flags=MergeFileFlag.DIFF_PATIENCE
    )
    if index.conflicts is None:
        return Merged(index.write_tree(repo), "pygit2")
    sides = (side for conflict in index.conflicts for side in conflict if side)
    paths = sorted({os.fsencode(side.path) for side in sides})
    return Conflicted(
        tuple(paths), "pygit2", "both sides changed these paths in ways that exclude each other"
    )


def _ort(
    port: MergeTreePort | None, ours: Oid, theirs: Oid, otherwise: Merged | Conflicted
) -> Merged | Conflicted:
    answer = port.merge_tree(ours, theirs) if port else Unavailable("no git program was given")
    match answer:
        case Unavailable(reason):
            doubt = f"git's own merge could not be asked ({reason}), so libgit2's stands"
            if isinstance(otherwise, Merged):
                return replace(otherwise, note=doubt)
            return replace(otherwise, message=f"{otherwise.message}; {doubt}")
        case MergeTreeAnswer(clean=True, tree=Oid() as tree):
            return Merged(tree, "ort")
        case MergeTreeAnswer(paths=paths):
            return Conflicted(
                tuple(sorted(paths)), "ort", "both sides changed these paths in ways that exclude each other"
            )


def _commit(repo: Repository, oid: Oid) -> Commit:
    return repo[oid].peel(Commit)
