import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.lines import is_insertion, union

# Few distinct lines, so that repetitions (where alignments go wrong) are common.
texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"}\n", b"\n"]), max_size=7).flatmap(
    lambda lines: st.sampled_from([b"".join(lines), b"".join(lines).removesuffix(b"\n")])
)


@st.composite
def grown(draw: st.DrawFn, base: bytes) -> bytes:
    """Insert lines into a text that ends in a newline."""
    lines = base.splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 3))):
        lines.insert(
            draw(st.integers(0, len(lines))), draw(st.sampled_from([b"a\n", b"}\n", b"x\n", b"y\n"]))
        )
    return b"".join(lines)


@st.composite
def both_grown(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    base = b"".join(draw(st.lists(st.sampled_from([b"a\n", b"b\n", b"}\n"]), max_size=6)))
    return base, draw(grown(base)), draw(grown(base))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(b"", b"", True, id="nothing"),
        pytest.param(b"", b"a", True, id="into an empty file"),
        pytest.param(b"a\n", b"", False, id="emptied"),
        pytest.param(b"a\nb\n", b"a\nx\nb\n", True, id="between"),
        pytest.param(b"a\nb\n", b"x\na\nb\ny\n", True, id="around"),
        pytest.param(b"a\nb\n", b"b\na\n", False, id="reordered"),
        pytest.param(b"a\nb\n", b"a\nB\n", False, id="changed"),
        pytest.param(b"a\n", b"ax\n", False, id="within a line"),
        pytest.param(b"a\na\n", b"a\n", False, id="one of two equal lines gone"),
        pytest.param(b"}\na\n}\n", b"}\n}\na\n}\n", True, id="repeated lines"),
        pytest.param(b"a\n", b"a\nx", True, id="an open line added at the end"),
        pytest.param(b"a\n", b"a", False, id="the last line loses its newline"),
        pytest.param(b"a\n", b"x\na", False, id="the last line loses its newline beside an insertion"),
        pytest.param(b"a", b"a\n", True, id="the open line is closed"),
        pytest.param(b"a", b"a\nx", True, id="after an open line"),
        pytest.param(b"a", b"a\r\nx", True, id="after an open line, CRLF"),
        pytest.param(b"a", b"ax\n", False, id="appended to an open line"),
        pytest.param(b"a", b"x\na", True, id="before an open line"),
        pytest.param(b"a\r\n", b"a\n", False, id="line endings changed"),
        pytest.param(b"a\rb\n", b"a\rx\nb\n", False, id="a carriage return ends no line"),
    ],
)
def test_r_m1_an_insertion_adds_whole_lines_and_nothing_else(old: bytes, new: bytes, expected: bool) -> None:
    assert is_insertion(old, new) is expected


def _is_insertion_by_search(old: list[bytes], new: list[bytes]) -> bool:
    picks = itertools.combinations(range(len(new)), len(old))
    return any([new[at] for at in pick] == old for pick in picks)


@settings(deadline=None, max_examples=400)
@given(old=texts, new=texts)
def test_insertions_are_decided_exactly(old: bytes, new: bytes) -> None:
    lines = new.splitlines(keepends=True)
    readings = {old, old if not old or old.endswith(b"\n") else old + b"\n"}
    expected = any(_is_insertion_by_search(reading.splitlines(keepends=True), lines) for reading in readings)
    assert is_insertion(old, new) is expected


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        pytest.param(b"a\n", b"a\nx\n", b"a\ny\n", b"a\nx\ny\n", id="same place: ours first"),
        pytest.param(b"a\nb\n", b"x\na\nb\n", b"a\nb\ny\n", b"x\na\nb\ny\n", id="two places"),
        pytest.param(b"a\n", b"a\nx\n", b"a\nx\n", b"a\nx\n", id="the same block once"),
        pytest.param(b"a\n", b"a\nx\ny\n", b"a\ny\nz\n", b"a\nx\ny\ny\nz\n", id="overlapping blocks whole"),
        pytest.param(b"", b"x\n", b"y\n", b"x\ny\n", id="into an empty file"),
        pytest.param(b"a", b"a\nx", b"a\ny", b"a\nx\ny", id="open on both sides stays open"),
        pytest.param(b"a", b"a\nx", b"a", b"a\nx", id="ours alone"),
        pytest.param(b"a", b"a\nx\n", b"a\ny", b"a\nx\ny\n", id="closed by one side is closed"),
        pytest.param(
            b"a\r\n", b"a\r\nx", b"a\r\ny\r\n", b"a\r\nx\r\ny\r\n", id="closed as the file's lines end"
        ),
        pytest.param(b"a", b"a\r\nx\r\n", b"a\ny\n", None, id="closed in two ways"),
        pytest.param(b"a\n", b"b\n", b"a\ny\n", None, id="ours changes a line"),
        pytest.param(b"a\n", b"a\nx\n", b"", None, id="theirs deletes a line"),
        pytest.param(
            b"{\n}\n",
            b"{\n}\n{\nx\n}\n",
            b"{\n}\n{\ny\n}\n",
            b"{\n}\n{\nx\n}\n{\ny\n}\n",
            id="blocks that end like the base stay whole",
        ),
    ],
)
def test_r_m1_a_union_keeps_the_insertions_of_both(
    base: bytes, ours: bytes, theirs: bytes, expected: bytes | None
) -> None:
    assert union(base, ours, theirs) == expected


@settings(deadline=None, max_examples=400)
@given(sides=both_grown())
def test_r_m1_a_union_loses_no_line_of_any_side(sides: tuple[bytes, bytes, bytes]) -> None:
    base, ours, theirs = sides
    merged = union(base, ours, theirs)
    assert merged is not None
    assert all(is_insertion(side, merged) for side in sides)


@settings(deadline=None, max_examples=400)
@given(base=texts, ours=texts, theirs=texts)
def test_a_union_exists_only_for_two_insertions(base: bytes, ours: bytes, theirs: bytes) -> None:
    merged = union(base, ours, theirs)
    both = is_insertion(base, ours) and is_insertion(base, theirs)
    assert (merged is not None) == both
    if merged is not None:
        assert all(is_insertion(side, merged) for side in (base, ours, theirs))


@settings(deadline=None, max_examples=200)
@given(sides=both_grown())
def test_merging_the_same_work_twice_changes_nothing(sides: tuple[bytes, bytes, bytes]) -> None:
    base, ours, _ = sides
    assert union(base, ours, ours) == ours
    assert union(base, ours, base) == ours
    assert union(base, base, ours) == ours
