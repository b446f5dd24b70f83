from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygit2 import Oid
from pygit2.enums import ObjectType

from merge import trees
from merge.trees import Change, Entry
from tests.merge.generated import Tree, sides
from tests.merge.generated import trees as generated_trees
from tests.merge.repos import EXECUTABLE, FILE, GITLINK, SYMLINK, TREE, Box, Content, Files

COMMIT = b"1" * 40


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "repo.git")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return Box(tmp_path_factory.mktemp("shared") / "repo.git")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tree, Tree]:
    old = draw(generated_trees())
    return old, draw(sides(old))


def listed(box: Box, files: Files) -> dict[bytes, Entry]:
    return dict(trees.walk(box.repo, box.tree(files)))


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        pytest.param({}, {}, [], id="nothing"),
        pytest.param({"a": "1"}, {"a": "2"}, ["a"], id="content"),
        pytest.param({"a": "1"}, {"a": (EXECUTABLE, b"1")}, ["a"], id="mode"),
        pytest.param({"a": "1"}, {"a": (SYMLINK, b"1")}, ["a"], id="type"),
        pytest.param({"a": "1"}, {"a": (GITLINK, COMMIT)}, ["a"], id="gitlink"),
        pytest.param({"a": "1"}, {"b": "1"}, ["a", "b"], id="rename is delete and add"),
        pytest.param({"d/a": "1"}, {"e/a": "1"}, ["d/a", "e/a"], id="directory rename"),
        pytest.param({"d": "1"}, {"d/a": "1", "d/b/c": "2"}, ["d", "d/a", "d/b/c"], id="file to directory"),
        pytest.param({"d/a": "1", "d/b/c": "2"}, {"d": "1"}, ["d", "d/a", "d/b/c"], id="directory to file"),
        pytest.param({"d/a": "1"}, {"d": (GITLINK, COMMIT)}, ["d", "d/a"], id="directory to gitlink"),
        pytest.param({"d-e": "1", "d/e": "1"}, {"d-e": "2", "d/e": "2"}, ["d-e", "d/e"], id="sorted by path"),
    ],
)
def test_changes_are_told_by_path(box: Box, old: Files, new: Files, paths: list[str]) -> None:
    before, after = listed(box, old), listed(box, new)
    expected = [Change(path, before.get(path), after.get(path)) for path in (name.encode() for name in paths)]
    assert trees.changes(box.repo, box.tree(old), box.tree(new)) == expected


def test_names_need_not_be_utf8(box: Box) -> None:
    found = trees.changes(box.repo, None, box.tree({b"\xff/\xfe": "1"}))
    assert [change.path for change in found] == [b"\xff/\xfe"]


def test_a_missing_side_is_the_empty_tree(box: Box) -> None:
    tree = box.tree({"a/b": "1", "c": "2"})
    assert [change.path for change in trees.changes(box.repo, None, tree)] == [b"a/b", b"c"]
    assert all(change.new is None for change in trees.changes(box.repo, tree, None))


def test_changes_open_only_trees_on_the_way(box: Box) -> None:
    # The untouched directory does not even exist as an object: reading it would raise.
    def tree(leaf: str) -> Oid:
        absent = b"40000 untouched\0" + bytes.fromhex("12" * 20)
        return box.repo.odb.write(
            ObjectType.TREE, b"100644 a\0" + box.repo.create_blob(leaf.encode()).raw + absent
        )

    found = trees.changes(box.repo, tree("1"), tree("2"))
    assert [change.path for change in found] == [b"a"]
    assert trees.apply(box.repo, tree("1"), found) == tree("2")


def test_modes_are_read_as_git_reads_them(box: Box) -> None:
    blob = box.repo.create_blob(b"1").raw
    old = box.repo.odb.write(ObjectType.TREE, b"100664 a\0" + blob + b"100775 b\0" + blob)
    files: dict[str, Content] = {"a": "1", "b": (EXECUTABLE, b"1")}
    assert trees.changes(box.repo, old, box.tree(files)) == []
    assert trees.apply(box.repo, old, []) == old


def test_a_malformed_tree_is_refused(box: Box) -> None:
    broken = box.repo.odb.write(ObjectType.TREE, b"100644 a\0short")
    with pytest.raises(ValueError, match="malformed"):
        trees.changes(box.repo, None, broken)


def test_a_blob_is_not_a_tree(box: Box) -> None:
    with pytest.raises(ValueError, match="is not a tree"):
        trees.changes(box.repo, None, box.repo.create_blob(b""))


@settings(deadline=None, max_examples=150)
@given(pair=pairs())
def test_applying_the_changes_gives_the_other_tree(shared: Box, pair: tuple[Tree, Tree]) -> None:
    old, new = map(shared.tree, pair)
    assert trees.apply(shared.repo, old, trees.changes(shared.repo, old, new)) == new
    assert trees.apply(shared.repo, new, trees.changes(shared.repo, new, old)) == old


@settings(deadline=None, max_examples=60)
@given(pair=pairs())
def test_changes_agree_with_git(shared: Box, pair: tuple[Tree, Tree]) -> None:
    old, new = map(shared.tree, pair)
    raw = shared.git("diff-tree", "-r", "-z", "--no-renames", str(old), str(new)).split(b"\0")[:-1]
    expected = [(path, *meta[1:].split()) for meta, path in zip(raw[::2], raw[1::2], strict=True)]
    found = trees.changes(shared.repo, old, new)
    assert [change.path for change in found] == sorted({path for path, *_ in expected})
    by_path = {change.path: change for change in found}
    for path, old_mode, new_mode, old_oid, new_oid, _ in expected:
        for side, mode, oid in (
            (by_path[path].old, old_mode, old_oid),
            (by_path[path].new, new_mode, new_oid),
        ):
            if int(mode, 8):
                assert side == Entry(int(mode, 8), Oid(hex=oid.decode()))


def test_emptied_directories_vanish_up_to_the_root(box: Box) -> None:
    tree = box.tree({"a/b/c": "1"})
    gone = [Change(b"a/b/c", None, None)]
    assert trees.apply(box.repo, tree, gone) == box.tree({})


@pytest.mark.parametrize(
    ("files", "path"),
    [
        pytest.param({"a": "1"}, b"a/b", id="a file is in the way"),
        pytest.param({"a/b": "1"}, b"a", id="a directory is in the way"),
        pytest.param({"a": (GITLINK, COMMIT)}, b"a/b/c", id="a gitlink is in the way"),
    ],
)
def test_a_clash_of_file_and_directory_is_an_error(box: Box, files: Files, path: bytes) -> None:
    blob = Entry(FILE, box.repo.create_blob(b"2"))
    with pytest.raises(ValueError, match="at once"):
        trees.apply(box.repo, box.tree(files), [Change(path, None, blob)])


def test_a_path_is_looked_up_as_file_directory_or_nothing(box: Box) -> None:
    files: dict[str, Content] = {"a/b": "1", "l": (SYMLINK, b"a")}
    tree = box.tree(files)
    below = box.tree({"b": "1"})
    assert trees.entry(box.repo, tree, b"a/b") == Entry(FILE, box.repo.create_blob(b"1"))
    assert trees.entry(box.repo, tree, b"a") == Entry(TREE, below)
    assert trees.entry(box.repo, tree, b"a/b/c") is None
    assert trees.entry(box.repo, tree, b"l/b") is None
    assert trees.entry(box.repo, tree, b"none") is None


def test_a_listing_tells_one_directory(box: Box) -> None:
    tree = box.tree({"a/b/c": "1", "a/d": "2", "e": "3"})
    assert set(trees.listing(box.repo, tree, b"")) == {b"a", b"e"}
    assert {name: at.mode for name, at in trees.listing(box.repo, tree, b"a").items()} == {
        b"b": TREE,
        b"d": FILE,
    }
    assert trees.listing(box.repo, tree, b"e") == {}
    assert trees.listing(box.repo, tree, b"none") == {}


def test_what_is_written_is_sound_to_git(box: Box) -> None:
    names = [
        "a",
        "a-b",
        "a.b",
        "a0",
        "ab/c",
        "b/a",
        "b.c",
        "b-c",
    ]  # around the slash, where the order is subtle
    edits = trees.changes(box.repo, None, box.tree(dict.fromkeys(names, "1")))
    tree = box.tree({"z": "1"})
    for edit in edits:
        tree = trees.apply(box.repo, tree, [edit])
    box.git("fsck", "--strict", "--no-dangling")
    assert tree == box.tree(dict.fromkeys([*names, "z"], "1"))
