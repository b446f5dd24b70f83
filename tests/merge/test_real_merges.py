"""Merges of a real history, made again and compared with git's own (`make test-slow CLONE=path`)."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from pygit2 import Commit, Oid, Repository
from pygit2.enums import SortMode

from merge.attributes import flatten
from merge.audit import Sound, audit
from merge.patterns import PathSet
from merge.strategies import Conflicted, Merged, merge
from tests.merge.repos import Box, GitMergeTree, git_merge

CLONE = os.environ.get("OTTO_TEST_CLONE", "")  # read here: the hermetic fixture removes it
LEAST, MOST = 300, 500
EVERYTHING_ELSE = PathSet.parse([])


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A repository of the test's own that borrows the clone's objects, so nothing is written there."""
    if not CLONE:
        pytest.fail("set OTTO_TEST_CLONE (make test-slow CLONE=path) to a clone with at least 300 merges")
    box = Box(tmp_path / "repo.git")
    objects = Path(Repository(CLONE).path).resolve() / "objects"
    (box.path / "objects" / "info" / "alternates").write_text(f"{objects}\n")
    return Box(box.path)


def merges(box: Box) -> list[Commit]:
    """At least 300 merges of two parents, spread evenly over the history, newest first."""
    clone = Repository(CLONE)
    walker = box.repo.walk(clone.revparse_single("HEAD").id, SortMode.TOPOLOGICAL)
    found = [commit for commit in walker if len(commit.parent_ids) == 2]
    assert len(found) >= LEAST, f"{CLONE} has {len(found)} merges of two parents, {LEAST} are needed"
    return found[:: max(1, len(found) // MOST)][:MOST]


def compare(box: Box, port: GitMergeTree, ours: Oid, theirs: Oid) -> tuple[str, str, str]:
    """Merge twice; returns the strategy, git's verdict and how the two agree."""
    (box.path / "info" / "attributes").write_bytes(flatten(box.repo, box.tree_of(ours)))
    expected = git_merge(box, ours, theirs)
    outcome = merge(box.repo, ours, theirs, registries=EVERYTHING_ELSE, port=port)
    verdict = "clean" if expected.clean else "conflict"
    match outcome:
        case Merged(tree, strategy) if expected.clean:
            return strategy, verdict, "same tree" if tree == expected.tree else "DIFFERENT TREE"
        case Merged(strategy=strategy):
            return strategy, verdict, "SILENT MERGE"
        case Conflicted(strategy=strategy) if expected.clean:
            return strategy, verdict, "FALSE CONFLICT"
        case Conflicted(paths, strategy):
            return strategy, verdict, "same paths" if paths == expected.paths else "OTHER PATHS"


@pytest.mark.slow
def test_r_m2_merges_of_a_real_history_equal_gits_own(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    port = GitMergeTree(box)
    table: Counter[tuple[str, str, str]] = Counter()
    wrong = []
    for commit in merges(box):
        row = compare(box, port, *commit.parent_ids)
        table[row] += 1
        if row[2].isupper():
            wrong.append((str(commit.id), *row))
    with capsys.disabled():
        rows = (f"{count:6}  {row[0]:8}{row[1]:10}{row[2]}\n" for row, count in sorted(table.items()))
        sys.stdout.write("\n" + "".join(rows))
    assert not wrong


@pytest.mark.slow
def test_r_s2_the_audit_confirms_clean_merges_of_a_real_history(
    box: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    """An audit may refuse what it cannot prove: that must stay rare, and only where git followed a rename."""
    port = GitMergeTree(box)
    table: Counter[tuple[str, bool]] = Counter()
    for commit in merges(box):
        ours, theirs = commit.parent_ids
        base = box.repo.merge_base(ours, theirs)
        outcome = merge(box.repo, ours, theirs, registries=EVERYTHING_ELSE, port=port)
        if isinstance(outcome, Merged):
            trunk, tip, task = (box.tree_of(side) for side in (base, ours, theirs))
            judged = audit(box.repo, trunk, tip, task, outcome.tree)
            table[outcome.strategy, isinstance(judged, Sound)] += 1
    with capsys.disabled():
        words = {True: "sound", False: "not proven"}
        rows = (f"{count:6}  {by:8}{words[sound]}\n" for (by, sound), count in sorted(table.items()))
        sys.stdout.write("\n" + "".join(rows))
    assert not table["tree", False]
    assert not table["pygit2", False]
    assert table["ort", False] <= 0.02 * table.total()
