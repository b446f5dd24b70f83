from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pygit2 import Oid, Repository, init_repository

from merge.attributes import flatten
from merge.audit import Sound, Unsound, audit
from merge.candidate import commit
from merge.gate import Admitted, Scope, admit
from merge.patterns import PathSet
from merge.strategies import Conflicted, Merged, MergeTreeAnswer, Unavailable, merge
from merge.swap import Swapped, swap
from merge.trailers import Trailers, message
from tests.merge.generated import Tree, sides, trees
from tests.merge.repos import (
    EXECUTABLE,
    SOMEBODY,
    SYMLINK,
    Box,
    Content,
    Files,
    GitCrashed,
    GitMergeTree,
    git_merge,
)

NONE = PathSet.parse([])
TEXT = "".join(f"line {number}\n" for number in range(12))
EDITED = TEXT.replace("line 2\n", "line two\n")
OTHERWISE = TEXT.replace("line 9\n", "line nine\n")
BOTH = EDITED.replace("line 9\n", "line nine\n")


class OldGit:
    """A git program from before `merge-tree --write-tree`."""

    def merge_tree(self, ours: Oid, theirs: Oid) -> MergeTreeAnswer | Unavailable:
        return Unavailable(f"git 2.30 cannot merge {ours} and {theirs} in memory")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "repo.git")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """One repository for many generated histories: objects do not disturb each other."""
    return Box(tmp_path_factory.mktemp("shared") / "repo.git")


@st.composite
def histories(draw: st.DrawFn) -> tuple[Tree, Tree, Tree]:
    base = draw(trees())
    return base, draw(sides(base)), draw(sides(base))


def judge(box: Box, base: Oid, tip: Oid, task: Oid, result: Oid) -> Sound | Unsound:
    return audit(box.repo, box.tree_of(base), box.tree_of(tip), box.tree_of(task), result)


def fork(box: Box, base: Files, ours: Files, theirs: Files) -> tuple[Oid, Oid, Oid]:
    root = box.commit(base)
    return root, box.commit(ours, root), box.commit(theirs, root)


@settings(deadline=None, max_examples=400)
@given(history=histories())
def test_r_m2_merges_equal_gits_own_on_generated_histories(
    shared: Box, history: tuple[Tree, Tree, Tree]
) -> None:
    _, ours, theirs = fork(shared, *history)
    try:
        expected = git_merge(shared, ours, theirs)
    except GitCrashed:
        reject()
    match merge(shared.repo, ours, theirs, registries=NONE, port=GitMergeTree(shared)):
        case Merged(tree, strategy):
            assert expected.clean, strategy
            assert tree == expected.tree, strategy
        case Conflicted(paths):
            assert not expected.clean
            assert paths == expected.paths


@settings(deadline=None, max_examples=200)
@given(history=histories(), known=st.booleans())
def test_r_s2_a_merge_by_content_is_sound_to_the_audit(
    shared: Box, history: tuple[Tree, Tree, Tree], known: bool
) -> None:
    base, ours, theirs = fork(shared, *history)
    outcome = merge(shared.repo, ours, theirs, registries=NONE, port=None, base=base if known else None)
    if isinstance(outcome, Merged) and not outcome.note:  # with a note, libgit2 may have followed a rename
        assert isinstance(judge(shared, base, ours, theirs, outcome.tree), Sound)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result", "strategy"),
    [
        pytest.param(
            {"a": "1"}, {"a": "2"}, {"a": "1", "b": "1"}, {"a": "2", "b": "1"}, "tree", id="disjoint"
        ),
        pytest.param({"a": "1"}, {"a": "1"}, {"a": "2"}, {"a": "2"}, "tree", id="theirs only"),
        pytest.param({"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "2"}, "tree", id="ours only"),
        pytest.param({"a": "1", "b": "1"}, {"a": "1"}, {"b": "1"}, {}, "tree", id="everything deleted"),
        pytest.param(
            {"d/a": "1", "e": "1"},
            {"d/a": "1"},
            {"d": "1", "e": "1"},
            {"d": "1"},
            "tree",
            id="directory to file",
        ),
        pytest.param(
            {"d": "1", "e": "1"},
            {"d": "1"},
            {"d/a": "1", "e": "1"},
            {"d/a": "1"},
            "tree",
            id="file to directory",
        ),
        pytest.param(
            {"a": TEXT}, {"a": EDITED}, {"a": OTHERWISE}, {"a": BOTH}, "pygit2", id="one file, two places"
        ),
        pytest.param(
            {"a": TEXT},
            {"a": EDITED},
            {"a": EDITED, "b": ""},
            {"a": EDITED, "b": ""},
            "pygit2",
            id="the same edit",
        ),
        pytest.param(
            {"a": TEXT}, {"b": TEXT}, {"a": EDITED}, {"b": EDITED}, "ort", id="edit of a renamed file"
        ),
        pytest.param(
            {"a": TEXT}, {"a": EDITED}, {"b": TEXT}, {"b": EDITED}, "ort", id="rename of an edited file"
        ),
        pytest.param(
            {"z": ""}, {"z": "", "a": ""}, {"z": "", "a": "1"}, {"z": "", "a": "1"}, "ort", id="empty add"
        ),
    ],
)
def test_the_cheapest_strategy_that_is_certain_decides(
    box: Box, base: Files, ours: Files, theirs: Files, result: Files, strategy: str
) -> None:
    root, left, right = fork(box, base, ours, theirs)
    expected = Merged(box.tree(result), strategy)  # type: ignore[arg-type]
    port = GitMergeTree(box)
    assert merge(box.repo, left, right, registries=NONE, port=port) == expected
    assert merge(box.repo, left, right, registries=NONE, port=port, base=root) == expected
    assert port.asked == (2 if strategy == "ort" else 0)
    assert isinstance(judge(box, root, left, right, expected.tree), Sound)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "paths"),
    [
        pytest.param({"a": "1\n"}, {"a": "2\n"}, {"a": "3\n"}, ["a"], id="one line"),
        pytest.param({"a": TEXT}, {"z": ""}, {"a": EDITED}, ["a"], id="edit and delete"),
        pytest.param({"z": ""}, {"z": "", "a": "1\n"}, {"z": "", "a": "2\n"}, ["a"], id="two additions"),
        pytest.param(
            {"z": ""},
            {"z": "", "a": "1"},
            {"z": "", "a": (EXECUTABLE, b"1")},
            ["a"],
            id="two additions, modes",
        ),
        pytest.param({"a": TEXT}, {"b": TEXT}, {"c": TEXT}, ["a", "b", "c"], id="two renames"),
        pytest.param({"a": TEXT}, {"b": TEXT}, {"a": (SYMLINK, b"z")}, ["b"], id="rename and new type"),
        pytest.param(
            {"d/a": TEXT, "d/b": EDITED},
            {"e/a": TEXT, "e/b": EDITED},
            {"d/a": TEXT, "d/b": EDITED, "d/new": "1"},
            ["e/new"],
            id="ours renames the directory that theirs adds to",
        ),
        pytest.param(
            {"d/a": TEXT, "d/b": EDITED},
            {"d/a": TEXT, "d/b": EDITED, "d/new": "1"},
            {"e/a": TEXT, "e/b": EDITED},
            ["e/new"],
            id="theirs renames the directory that ours adds to",
        ),
    ],
)
def test_r_m10_what_excludes_each_other_is_a_conflict(
    box: Box, base: Files, ours: Files, theirs: Files, paths: list[str]
) -> None:
    _, left, right = fork(box, base, ours, theirs)
    outcome = merge(box.repo, left, right, registries=NONE, port=GitMergeTree(box))
    assert isinstance(outcome, Conflicted)
    assert (outcome.strategy, outcome.paths) == ("ort", tuple(path.encode() for path in paths))


def test_a_file_against_a_directory_is_never_merged_by_entries(box: Box) -> None:
    _, left, right = fork(box, {"z": ""}, {"z": "", "d": "1"}, {"z": "", "d/a": "1"})
    outcome = merge(box.repo, left, right, registries=NONE, port=GitMergeTree(box))
    assert isinstance(outcome, Conflicted)
    assert outcome.strategy == "ort"


def test_names_in_conflict_need_not_be_utf8(box: Box) -> None:
    _, left, right = fork(box, {b"\xff": "1\n"}, {b"\xff": "2\n"}, {b"\xff": "3\n"})
    for port in (None, GitMergeTree(box)):
        outcome = merge(box.repo, left, right, registries=NONE, port=port)
        assert isinstance(outcome, Conflicted)
        assert outcome.paths == (b"\xff",)


def test_histories_without_a_common_commit_are_a_conflict(box: Box) -> None:
    outcome = merge(box.repo, box.commit({"a": "1"}), box.commit({"b": "1"}), registries=NONE, port=None)
    assert isinstance(outcome, Conflicted)
    assert "in common" in outcome.message


def test_a_criss_cross_is_left_to_git(box: Box) -> None:
    root = box.commit({"a": TEXT})
    one, two = box.commit({"a": EDITED}, root), box.commit({"a": OTHERWISE}, root)
    left, right = box.commit({"a": BOTH}, one, two), box.commit({"a": BOTH, "b": "1"}, two, one)
    assert len(box.git("merge-base", "--all", str(left), str(right)).split()) == 2
    outcome = merge(box.repo, left, right, registries=NONE, port=GitMergeTree(box))
    assert outcome == Merged(box.tree({"a": BOTH, "b": "1"}), "ort")


@pytest.mark.parametrize("port", [None, OldGit()], ids=["no git", "old git"])
def test_without_git_libgit2_stands_and_says_so(box: Box, port: OldGit | None) -> None:
    _, left, right = fork(box, {"a": TEXT}, {"b": TEXT}, {"a": EDITED})
    outcome = merge(box.repo, left, right, registries=NONE, port=port)
    assert isinstance(outcome, Merged)
    assert (outcome.tree, outcome.strategy) == (box.tree({"b": EDITED}), "pygit2")
    assert "libgit2's stands" in outcome.note
    _, left, right = fork(box, {"a": "1\n"}, {"a": "2\n"}, {"a": "3\n"})
    outcome = merge(box.repo, left, right, registries=NONE, port=port)
    assert isinstance(outcome, Conflicted)
    assert (outcome.paths, outcome.strategy) == ((b"a",), "pygit2")
    assert "libgit2's stands" in outcome.message


REGISTRIES = PathSet.parse(["routes", "*.log"])


@pytest.mark.parametrize(
    ("rest", "strategy"),
    [
        pytest.param(({}, {}, {}, {}), "union", id="alone"),
        pytest.param(
            ({"a": "1"}, {"a": "2"}, {"a": "1", "b": ""}, {"a": "2", "b": ""}), "union", id="disjoint"
        ),
        pytest.param(
            ({"a": TEXT}, {"a": EDITED}, {"a": OTHERWISE}, {"a": BOTH}), "pygit2", id="with one edited twice"
        ),
        pytest.param(({"a": TEXT}, {"b": TEXT}, {"a": EDITED}, {"b": EDITED}), "ort", id="with a rename"),
    ],
)
def test_r_m1_a_registry_takes_the_insertions_of_both_sides(
    box: Box, rest: tuple[dict[str, Content], ...], strategy: str
) -> None:
    texts = ("first\nlast\n", "first\nours\nlast\n", "first\ntheirs\nlast\n", "first\nours\ntheirs\nlast\n")
    base, ours, theirs, result = ({**files, "routes": text} for files, text in zip(rest, texts, strict=True))
    root, left, right = fork(box, base, ours, theirs)
    outcome = merge(box.repo, left, right, registries=REGISTRIES, port=GitMergeTree(box))
    assert outcome == Merged(box.tree(result), strategy)  # type: ignore[arg-type]
    assert isinstance(judge(box, root, left, right, outcome.tree), Sound)


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        pytest.param("a\nb\n", "a\nB\n", "a\nb\nnew\n", id="ours changes a line"),
        pytest.param(TEXT, EDITED, OTHERWISE, id="both change lines that git could merge"),
        pytest.param("a\n", None, "a\nnew\n", id="ours deletes it"),
        pytest.param("a\n", (EXECUTABLE, b"a\nx\n"), "a\nnew\n", id="ours changes its mode"),
        pytest.param(None, "a\n", "b\n", id="both create it"),
    ],
)
def test_r_m1_a_registry_changed_otherwise_is_a_conflict(
    box: Box, base: Content | None, ours: Content | None, theirs: Content
) -> None:
    before, mine, yours = (
        {"z": ""} if text is None else {"z": "", "routes": text} for text in (base, ours, theirs)
    )
    _, left, right = fork(box, before, mine, yours)
    outcome = merge(box.repo, left, right, registries=REGISTRIES, port=GitMergeTree(box))
    assert isinstance(outcome, Conflicted)
    assert (outcome.paths, outcome.strategy) == ((b"routes",), "union")


def test_r_m1_a_registry_is_never_united_over_several_bases(box: Box) -> None:
    root = box.commit({"routes": "a\n"})
    one, two = box.commit({"routes": "a\n1\n"}, root), box.commit({"routes": "a\n2\n"}, root)
    left = box.commit({"routes": "a\n1\n2\nours\n"}, one, two)
    right = box.commit({"routes": "a\n1\n2\ntheirs\n"}, two, one)
    outcome = merge(box.repo, left, right, registries=REGISTRIES, port=GitMergeTree(box))
    assert isinstance(outcome, Conflicted)
    assert outcome.paths == (b"routes",)


def test_a_registry_that_one_side_changed_is_no_special_case(box: Box) -> None:
    _, left, right = fork(box, {"routes": "a\n"}, {"routes": "b\n"}, {"routes": "a\n", "new": ""})
    outcome = merge(box.repo, left, right, registries=REGISTRIES, port=None)
    assert outcome == Merged(box.tree({"routes": "b\n", "new": ""}), "tree")


@pytest.mark.parametrize("number", [5, 20, 100])
def test_r_m1_tasks_that_finish_at_once_all_land_on_a_moving_tip(box: Box, number: int) -> None:
    ref = "refs/otto/runs/r-1/tip"
    files = {f"pkg{task}/mod.py": "old\n" for task in range(number)}
    base = box.commit({**files, "routes": "# routes\n# end\n"})
    assert swap(box.repo, ref, None, base) == Swapped()
    attempts = []
    for task in range(number):
        routes = f"# routes\nroute {task}\n# end\n"
        work = {**files, f"pkg{task}/mod.py": f"new {task}\n", f"pkg{task}/new.py": "", "routes": routes}
        attempts.append(box.commit(work, base))
    tip = base
    for task, snapshot in enumerate(attempts):
        scope = Scope(PathSet.parse([f"pkg{task}"]), REGISTRIES)
        merged = merge(box.repo, tip, snapshot, registries=REGISTRIES, port=None, base=base)
        assert isinstance(merged, Merged)
        assert isinstance(admit(box.repo, box.tree_of(tip), merged.tree, scope), Admitted)
        assert isinstance(judge(box, base, tip, snapshot, merged.tree), Sound)
        text = message("", "", Trailers("r-1", f"task-{task}", 1, "p"))
        made = commit(
            box.repo,
            tree=merged.tree,
            tip=tip,
            snapshot=snapshot,
            message=text,
            author=SOMEBODY,
            committer=SOMEBODY,
        )
        assert swap(box.repo, ref, tip, made) == Swapped()
        tip = made
    landed = box.files(box.tree_of(tip))
    assert [landed[f"pkg{task}/mod.py"] for task in range(number)] == [
        b"new %d\n" % task for task in range(number)
    ]
    assert (
        landed["routes"]
        == b"# routes\n" + b"".join(b"route %d\n" % task for task in range(number)) + b"# end\n"
    )
    assert len(landed) == 2 * number + 1


def test_r_s2_a_merge_from_a_wrong_base_is_caught(box: Box) -> None:
    base = box.commit({"a": TEXT, "b": "1\n"})
    tip = box.commit({"a": EDITED, "b": "1\n"}, base)
    task = box.commit({"a": TEXT, "b": "2\n"}, base)
    # With the tip for a base, the task seems to have taken the edit of `a` back, and git merges just that.
    reverted = merge(box.repo, tip, task, registries=NONE, port=None, base=tip)
    assert reverted == Merged(box.tree({"a": TEXT, "b": "2\n"}), "tree")
    judged = judge(box, base, tip, task, reverted.tree)
    assert isinstance(judged, Unsound)
    assert [violation.path for violation in judged.violations] == [b"a"]
    right = merge(box.repo, tip, task, registries=NONE, port=None)
    assert isinstance(right, Merged)
    assert isinstance(judge(box, base, tip, task, right.tree), Sound)


def test_r_m9_a_repository_with_a_work_tree_is_refused(box: Box, tmp_path: Path) -> None:
    checkout = init_repository(str(tmp_path / "checkout"))
    _, left, right = fork(box, {"a": "1"}, {"a": "2"}, {"b": "1"})
    with pytest.raises(ValueError, match="work tree"):
        merge(checkout, left, right, registries=NONE, port=None)


def test_r_m9_the_tips_attributes_decide_how_a_file_is_merged(box: Box) -> None:
    _, left, right = fork(
        box, {"a": TEXT}, {"a": EDITED}, {"a": OTHERWISE, ".gitattributes": "a merge=union\n"}
    )
    tip = box.commit({"a": EDITED, ".gitattributes": "a binary\n"}, left)
    (box.path / "info" / "attributes").write_bytes(flatten(box.repo, box.tree_of(tip)))
    for port in (None, GitMergeTree(box)):
        outcome = merge(Repository(str(box.path)), left, right, registries=NONE, port=port)
        assert isinstance(outcome, Conflicted)
        assert outcome.paths == (b"a",)
