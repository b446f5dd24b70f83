"""The tree audit: a merge's result judged by content alone, without asking the strategy that made it.

For each path, where base, tip and task are the trees that were merged:

- the task left it as at the base: the result holds what the tip holds;
- the tip left it as at the base: the result holds what the task holds;
- both changed it alike: the result holds that;
- both changed it, differently: the path is recorded with all four entries. If the result holds one side's
  version or nothing, that must be what a three-way merge of this one file gives: else a side was dropped.

A rename carries one side's edit to a path that the other side made, against these rules. It is honoured only
with proof: a path f of the base is gone from the result, and what the result holds at the new path g is
exactly the clean three-way merge of f at the base and, on either side, g or else f. What cannot be proven
so is a violation, even where git would have merged it: then the owning task or a person decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pygit2.enums import MergeFileFlag

from merge import trees
from merge.gate import Violation
from merge.objects import TREE, Oid, Repository, write_blob, write_tree
from merge.paths import show
from merge.trees import Change, Entry


@dataclass(frozen=True, slots=True)
class Versions:
    """A path with what each of the four trees holds there; `None` is absence (or a directory)."""

    path: bytes
    base: Entry | None
    tip: Entry | None
    task: Entry | None
    result: Entry | None


@dataclass(frozen=True, slots=True)
class Sound:
    """Every change of either side is in the result; `both` are the paths that were merged by content."""

    both: tuple[Versions, ...]


@dataclass(frozen=True, slots=True)
class Unsound:
    """The result lacks a change, holds one that nobody made, or drops a side without proof."""

    violations: tuple[Violation, ...]


def audit(repo: Repository, base: Oid, tip: Oid, task: Oid, result: Oid) -> Sound | Unsound:
    """Judge the tree `result` as the merge of `task` into `tip`, both of which started from `base`.

    All are ids of trees. The cost grows with what the task changed and with what the result changes on the
    tip, however far the tip has moved. Raises KeyError for an id that the repository lacks.
    """
    paths = _changed(repo, base, tip, task, result)
    broken = {at.path: rule for at in paths if (rule := _broken_rule(repo, at))}
    if broken:
        sources = {at.path: _source(repo, at, paths) for at in paths if at.path in broken}
        proven = {path for path, source in sources.items() if source} | {*sources.values()}
        broken = {path: rule for path, rule in broken.items() if path not in proven}
    if broken:
        return Unsound(
            tuple(Violation(path, "audit", f"{show(path)}: {rule}") for path, rule in broken.items())
        )
    return Sound(tuple(at for at in paths if _contested(at)))


def _changed(repo: Repository, base: Oid, tip: Oid, task: Oid, result: Oid) -> list[Versions]:
    """List what the task changed and what the merge changed: at any other path all rules hold."""
    by_task = {change.path: change for change in trees.changes(repo, base, task)}
    by_merge = {change.path: change for change in trees.changes(repo, tip, result)}
    found = []
    for path in sorted(by_task.keys() | by_merge.keys()):
        before = by_task.get(path) or _unchanged(repo, base, path)
        after = by_merge.get(path) or _unchanged(repo, tip, path)
        found.append(Versions(path, before.old, after.old, before.new, after.new))
    return found


def _unchanged(repo: Repository, tree: Oid, path: bytes) -> Change:
    held = trees.entry(repo, tree, path)
    file = None if held and held.mode == TREE else held
    return Change(path, file, file)


def _contested(at: Versions) -> bool:
    return at.base not in (at.tip, at.task) and at.tip != at.task


def _broken_rule(repo: Repository, at: Versions) -> str | None:
    """Tell which rule the result breaks at a path, renames aside."""
    if at.task == at.base:
        return None if at.result == at.tip else "the task did not change it, but the result is not the tip's"
    if at.tip == at.base:
        return None if at.result == at.task else "only the task changed it, but the result is not the task's"
    if at.tip == at.task:
        return None if at.result == at.tip else "both sides changed it alike, but the result differs"
    if at.result is None:
        return "both sides changed it, but the result holds nothing there"
    kept_one = at.result in (at.tip, at.task)
    if not kept_one or at.result == _three_way(repo, at.path, at.base, at.tip, at.task):
        return None
    return "both sides changed it, but the result keeps one side only"


def _source(repo: Repository, at: Versions, paths: Iterable[Versions]) -> bytes | None:
    """Find the path of the base whose rename explains what the result holds at a path that is new."""
    if at.base or not at.result:
        return None
    for source in paths:
        if source.base and not source.result:
            merged = _three_way(repo, at.path, source.base, at.tip or source.tip, at.task or source.task)
            if merged == at.result:
                return source.path
    return None


def _three_way(
    repo: Repository, path: bytes, base: Entry | None, tip: Entry | None, task: Entry | None
) -> Entry | None:
    """Merge one file three ways; `None` is a conflict, or a side that does not exist.

    A file that both sides added is merged from an empty one, as git does: if one side's is empty, the other
    side's is the merge.
    """
    if not (tip and task):
        return None
    base = base or Entry(tip.mode, write_blob(repo, b""))
    # Trees of this one file: pygit2's merge of single files decodes their content, which need not be text.
    empty = write_tree(repo, b"")
    one, two, three = (trees.apply(repo, empty, [Change(path, None, side)]) for side in (base, tip, task))
    index = repo.merge_trees(one, two, three, file_flags=MergeFileFlag.DIFF_PATIENCE)
    return None if index.conflicts else trees.entry(repo, index.write_tree(repo), path)
