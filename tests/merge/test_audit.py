from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from merge import trees
from merge.audit import Sound, Unsound, audit
from tests.merge.generated import Tree, put, sides
from tests.merge.generated import trees as generated_trees
from tests.merge.repos import EXECUTABLE, SYMLINK, Box, Files

TEXT = "".join(f"line {number}\n" for number in range(12))
EDITED = TEXT.replace("line 2\n", "line two\n")
OTHERWISE = TEXT.replace("line 9\n", "line nine\n")
BOTH = EDITED.replace("line 9\n", "line nine\n")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "repo.git")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return Box(tmp_path_factory.mktemp("shared") / "repo.git")


def judge(box: Box, base: Files, tip: Files, task: Files, result: Files) -> Sound | Unsound:
    return audit(box.repo, box.tree(base), box.tree(tip), box.tree(task), box.tree(result))


@pytest.mark.parametrize(
    ("base", "tip", "task", "result", "both"),
    [
        pytest.param({"a": "1"}, {"a": "1"}, {"a": "1"}, {"a": "1"}, [], id="nothing"),
        pytest.param(
            {"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1"}, {"a": "2"}, [], id="task deletes"
        ),
        pytest.param(
            {"a": "1", "b": "1"}, {"a": "1"}, {"a": "2", "b": "1"}, {"a": "2"}, [], id="tip deletes"
        ),
        pytest.param({"a": "1"}, {"a": "2"}, {"a": "2"}, {"a": "2"}, [], id="both alike"),
        pytest.param({"a": "1"}, {}, {}, {}, [], id="both delete"),
        pytest.param(
            {"a": TEXT}, {"a": EDITED}, {"a": OTHERWISE}, {"a": BOTH}, ["a"], id="merged by content"
        ),
        pytest.param(
            {"a": TEXT}, {"a": BOTH}, {"a": EDITED}, {"a": BOTH}, ["a"], id="the tip has the task's edit"
        ),
        pytest.param({"a": "1\n"}, {"a": "2\n"}, {"a": "3\n"}, {"a": "23\n"}, ["a"], id="resolved by hand"),
        pytest.param({}, {"a": ""}, {"a": "1"}, {"a": "1"}, ["a"], id="one adds it empty"),
        pytest.param(
            {"a": TEXT}, {"g": TEXT}, {"a": EDITED}, {"g": EDITED}, ["a"], id="tip renames, task edits"
        ),
        pytest.param(
            {"a": TEXT}, {"a": EDITED}, {"g": TEXT}, {"g": EDITED}, ["a"], id="task renames, tip edits"
        ),
        pytest.param(
            {"a": TEXT}, {"g": EDITED}, {"a": OTHERWISE}, {"g": BOTH}, ["a"], id="renamed and edited"
        ),
        pytest.param(
            {"a": TEXT}, {"g": EDITED}, {"g": TEXT}, {"g": EDITED}, ["g"], id="both rename, one edits"
        ),
        pytest.param(
            {"a": TEXT},
            {"g": TEXT},
            {"a": (EXECUTABLE, TEXT.encode())},
            {"g": (EXECUTABLE, TEXT.encode())},
            ["a"],
            id="mode follows a rename",
        ),
        pytest.param(
            {"d": "1"}, {"d": "1", "e": "1"}, {"d/a": "1"}, {"d/a": "1", "e": "1"}, [], id="file to directory"
        ),
    ],
)
def test_r_s2_a_result_that_holds_both_sides_is_sound(
    box: Box, base: Files, tip: Files, task: Files, result: Files, both: list[str]
) -> None:
    outcome = judge(box, base, tip, task, result)
    assert isinstance(outcome, Sound)
    assert [at.path.decode() for at in outcome.both] == both


@pytest.mark.parametrize(
    ("base", "tip", "task", "result", "path"),
    [
        pytest.param({"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "1"}, "a", id="the tip's change reverted"),
        pytest.param({"a": "1"}, {"a": "1"}, {"a": "2"}, {"a": "1"}, "a", id="the task's change missing"),
        pytest.param({"a": "1"}, {"a": "1"}, {"a": "1"}, {"a": "1", "b": ""}, "b", id="a file nobody added"),
        pytest.param({"a": "1"}, {"a": "1"}, {"a": "1"}, {}, "a", id="a file nobody deleted"),
        pytest.param({"a": "1"}, {}, {"a": "1"}, {"a": "1"}, "a", id="the tip's deletion undone"),
        pytest.param({"a": "1"}, {"a": "1"}, {}, {"a": "1"}, "a", id="the task's deletion undone"),
        pytest.param({}, {"a": "1"}, {}, {}, "a", id="the tip's addition missing"),
        pytest.param({}, {}, {"a": "1"}, {}, "a", id="the task's addition missing"),
        pytest.param({"a": "1"}, {"a": (EXECUTABLE, b"1")}, {"a": "1"}, {"a": "1"}, "a", id="mode"),
        pytest.param({"a": "1"}, {"a": "1"}, {"a": (SYMLINK, b"1")}, {"a": "1"}, "a", id="type"),
        pytest.param({"a": "1"}, {"a": "2"}, {"a": "2"}, {"a": "3"}, "a", id="both alike, the result not"),
        pytest.param(
            {"a": TEXT}, {"a": EDITED}, {"a": OTHERWISE}, {"a": EDITED}, "a", id="only the tip's edit"
        ),
        pytest.param(
            {"a": TEXT}, {"a": EDITED}, {"a": OTHERWISE}, {"a": OTHERWISE}, "a", id="only the task's edit"
        ),
        pytest.param(
            {"a": "1\n"}, {"a": "2\n"}, {"a": "3\n"}, {"a": "2\n"}, "a", id="a conflict kept one side"
        ),
        pytest.param({}, {"a": "2\n"}, {"a": "3\n"}, {"a": "3\n"}, "a", id="two additions kept one"),
        pytest.param({"a": "1"}, {}, {"a": "2"}, {}, "a", id="an edit deleted with its file"),
        pytest.param({"a": "1"}, {}, {"a": "2"}, {"a": "2"}, "a", id="a deletion undone by an edit"),
        pytest.param({"a": "1"}, {"a": "2"}, {"a": "3"}, {}, "a", id="two edits deleted"),
        pytest.param(
            {"a": TEXT}, {"g": TEXT}, {"a": EDITED}, {"g": TEXT}, "a", id="an edit lost on a rename"
        ),
        pytest.param(
            {"a": TEXT}, {"g": TEXT}, {"a": EDITED}, {"g": BOTH}, "g", id="more than the edit on a rename"
        ),
        pytest.param({"a": TEXT}, {"g": "x"}, {"a": EDITED}, {"g": EDITED}, "g", id="no rename at all"),
        pytest.param(
            {"d": "1"}, {"d": "2"}, {"d/a": "1"}, {"d/a": "1"}, "d", id="an edit lost to a directory"
        ),
    ],
)
def test_r_s2_a_result_that_drops_a_side_is_unsound(
    box: Box, base: Files, tip: Files, task: Files, result: Files, path: str
) -> None:
    outcome = judge(box, base, tip, task, result)
    assert isinstance(outcome, Unsound)
    assert path in {violation.path.decode() for violation in outcome.violations}
    assert all(violation.rule == "audit" for violation in outcome.violations)


def test_what_both_changed_is_recorded_with_all_four_entries(box: Box) -> None:
    outcome = judge(box, {"a": TEXT}, {"a": EDITED}, {"a": OTHERWISE}, {"a": BOTH})
    assert isinstance(outcome, Sound)
    [at] = outcome.both
    entries = [trees.entry(box.repo, box.tree({"a": text}), b"a") for text in (TEXT, EDITED, OTHERWISE, BOTH)]
    assert [at.base, at.tip, at.task, at.result] == entries


def test_content_that_is_not_text_is_judged_as_well(box: Box) -> None:
    base, tip, task, result = (text.encode() + b"\xff\x80\n" for text in (TEXT, EDITED, OTHERWISE, BOTH))
    assert isinstance(judge(box, {"a": base}, {"g": tip}, {"a": task}, {"g": result}), Sound)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_r_s2_any_single_damage_to_a_merge_is_caught(shared: Box, data: st.DataObject) -> None:
    base = data.draw(generated_trees())
    tip, task = data.draw(sides(base)), data.draw(sides(base))
    ours, theirs = (
        {path for path in base.keys() | side.keys() if base.get(path) != side.get(path)}
        for side in (tip, task)
    )
    paths = sorted(ours | theirs)
    assume(paths)
    assume(not ours & theirs)
    merged = {path: (task if path in theirs else tip).get(path) for path in base.keys() | ours | theirs}
    held = {path: content for path, content in merged.items() if content}
    assume(not any(path.startswith(f"{other}/") for path in held for other in held))
    assert isinstance(judge(shared, base, tip, task, held), Sound)
    damaged = data.draw(st.sampled_from(paths))
    assert isinstance(judge(shared, base, tip, task, revert(held, damaged, base)), Unsound)


def revert(tree: Tree, path: str, base: Tree) -> Tree:
    """Put one path back to what it was at the base."""
    reverted = {other: content for other, content in tree.items() if other != path}
    if path in base:
        put(reverted, path, base[path])
    return reverted
