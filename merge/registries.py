"""Registries: append-mostly files to which many tasks add lines at once, united instead of merged."""

from dataclasses import dataclass

from merge import lines, trees
from merge.objects import EXECUTABLE, FILE, Oid, Repository, write_blob
from merge.patterns import PathSet
from merge.trees import Change, Entry


@dataclass(frozen=True, slots=True)
class United:
    """What each registry that both sides changed holds in the end, by path (from base to result)."""

    edits: dict[bytes, Change]


@dataclass(frozen=True, slots=True)
class Clash:
    """Registries that both sides changed, at least one of them by more than inserting lines."""

    paths: tuple[bytes, ...]


def unite(
    repo: Repository, ours: Oid, edits: tuple[Change, ...], registries: PathSet, *, sole_base: bool
) -> United | Clash:
    """Unite the registries among `edits` (what theirs changed) with the tree `ours`, all of them or none.

    A registry that only one side changed, or that both left alike, is no matter for uniting. With several
    merge bases nothing is united: each may hold lines that another lacks, and they would be doubled.
    """
    united: dict[bytes, Change] = {}
    clashing: list[bytes] = []
    for edit in edits:
        mine = trees.entry(repo, ours, edit.path)
        if mine in (edit.old, edit.new) or not registries.matches(edit.path):
            continue
        blob = _united(repo, edit.old, mine, edit.new) if sole_base else None
        if blob is None:
            clashing.append(edit.path)
        else:
            united[edit.path] = Change(edit.path, edit.old, blob)
    return Clash(tuple(clashing)) if clashing else United(united)


def _united(repo: Repository, base: Entry | None, ours: Entry | None, theirs: Entry | None) -> Entry | None:
    if not (base and ours and theirs and base.mode == ours.mode == theirs.mode in (FILE, EXECUTABLE)):
        return None
    merged = lines.union(*(repo[side.oid].read_raw() for side in (base, ours, theirs)))
    return None if merged is None else Entry(base.mode, write_blob(repo, merged))
