"""Reading text: what it says, on which line, and what is refused before it can do harm."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.source import Source, load

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=20,
)


def read(text: str | bytes) -> Source:
    source = load(text, "plan.yaml")
    assert isinstance(source, Source), source
    return source


def test_every_key_and_item_knows_its_line() -> None:
    source = read("a: 1\nb:\n  - x\n  - c: [y,\n      z]\n")
    lines = {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("b", 1, "c", 0): 4,
        ("b", 1, "c", 1): 5,
    }
    assert {path: source.line(path) for path in lines} == lines
    assert source.data == {"a": 1, "b": ["x", {"c": ["y", "z"]}]}


def test_a_place_that_is_not_in_the_file_has_the_line_of_what_would_be_around_it() -> None:
    source = read("a: 1\nb:\n  - x\n")
    assert source.line(("b", 0, "id", "deeper")) == 3
    assert source.line(("c",)) == 1


def test_json_over_several_lines_has_lines_too() -> None:
    source = read('{\n\t"a": 1,\n\t"b": [\n\t\t"x",\r\n\t\t{"c": null}\n\t]\n}\n')
    assert source.data == {"a": 1, "b": ["x", {"c": None}]}
    assert [source.line(path) for path in [("a",), ("b",), ("b", 0), ("b", 1, "c")]] == [2, 3, 4, 5]


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(st.text(), JSON, min_size=1, max_size=4), st.booleans(), st.sampled_from([None, 1, "\t"])
)
def test_what_is_written_as_json_is_read_back_or_refused_for_its_text(
    data: dict[str, object], ascii_only: bool, indent: int | str | None
) -> None:
    read_back = load(json.dumps(data, ensure_ascii=ascii_only, indent=indent), "plan.json")
    if isinstance(read_back, Source):
        assert read_back.data == data
    else:
        assert {fault.message for fault in read_back} == {"a NUL character is not text"}
        assert "\\u0000" in json.dumps(data)


def test_a_flow_mapping_without_quotes_is_yaml() -> None:
    assert read("{a: 1, b: [x]}").data == {"a": 1, "b": ["x"]}


def test_a_mark_of_byte_order_does_not_count() -> None:
    assert read(b"\xef\xbb\xbfa: 1").data == {"a": 1}
    assert read('\ufeff{"a": "\\ud83d\\ude42"}').data == {"a": "🙂"}


def test_an_alias_stands_for_its_value() -> None:
    assert read("a: &x [1]\nb: *x\n").data == {"a": [1], "b": [1]}


def test_words_that_yaml_takes_for_something_else_keep_their_spelling() -> None:
    source = read("on: yes\nat: 2024-01-01\nno: 'yes'\n")
    assert list(source.data) == ["on", "at", "no"]
    assert source.spelling == {("on",): "yes", ("at",): "2024-01-01"}


BOMB = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = [
    ("yaml-syntax", "a: 1\nb: ]", "not valid YAML", 2),
    ("yaml-tab", "a:\n\t- b", "not valid YAML", 2),
    ("yaml-control-character", "a: é\nb: \x01", "control characters are not allowed", 2),
    ("yaml-two-documents", "a: 1\n---\nb: 2", "not valid YAML", 2),
    ("yaml-unknown-alias", "a: 1\nb: *c", "undefined alias", 2),
    ("json-syntax", '{"a": 1,\n "b" 2}', "not valid JSON: Expecting ':'", 2),
    ("json-no-comma", '{"a": [1\n 2]}', "not valid JSON: Expecting ','", 2),
    ("json-key-without-quotes", '{"a": 1,\n b: 2}', "Expecting a key in double quotes", 2),
    ("json-no-value", '{"a":\n}', "not valid JSON: Expecting value", 2),
    ("json-unfinished", '{"a": [1,\n', "not valid JSON", 2),
    ("json-more", '{"a": 1}\n{}', "not valid JSON: Extra data", 1),
    ("json-long-number", '{"a": ' + "9" * 5000 + "}", "not readable", None),
    ("not-utf-8", b"a: 1\nb: \xff", "the file is not UTF-8", 2),
    ("half-a-character", "a: 1\nb: \ud800", "the file is not UTF-8", 2),
    ("half-a-character-in-json", '{"a": 1,\n"b": "\\ud83d"}', "half of a surrogate pair is not text", 2),
    ("nul", 'a: 1\nb: "\\0"', "a NUL character is not text", 2),
    ("key-twice", "a: 1\nb: 2\na: 3", "the key 'a' stands here twice, the first time on line 1", 3),
    ("key-twice-in-json", '{"a": 1,\n"a": 2}', "the key 'a' stands here twice", 2),
    ("key-twice-as-number-and-text", "1: a\n'1': b", "the key '1' stands here twice", 2),
    ("key-a-list", "a: 1\n? [b]\n: 2", "a key is a list or a mapping", 2),
    ("empty", "", "not a mapping of keys to values", 1),
    ("only-a-comment", "# nothing\n", "not a mapping of keys to values", 1),
    ("root-a-list", "- a", "not a mapping of keys to values", 1),
    ("root-a-text", "build it", "not a mapping of keys to values", 1),
    ("no-such-date", "a: 1\nb: 2020-13-45", "'2020-13-45' cannot be read", 2),
    ("long-number", "a: 1\nb: " + "9" * 5000, "cannot be read", 2),
    ("tag-of-a-value", "a: 1\nb: !!binary eA==", "has no meaning here", 2),
    ("tag-of-a-list", "a: 1\nb: !mine [x]", "the tag '!mine' has no meaning here", 2),
    ("tag-of-python", "a: !!python/object/apply:os.getcwd []", "has no meaning here", 1),
    ("aliases-of-aliases", BOMB, "expands to more than 100,000 values", None),
    (
        "many-aliases",
        "a: &a {x: 1}\nb: [" + "*a," * 200_000 + "]",
        "expands to more than 100,000 values",
        None,
    ),
    ("many-values", "a:\n" + "- {x: 1}\n" * 100_000, "expands to more than 100,000 values", None),
    ("alias-of-itself", "a: 1\nb: &b [*b]", "more than 50 deep", 2),
    ("alias-of-itself-twice", "a: 1\nb: &b {c: *b, d: *b}", "more than 50 deep", 2),
    ("deep-lists", "a: 1\nb: " + "[" * 100_000, "more than 50 deep", 2),
    ("deep-mappings", "\n".join(" " * depth + "a:" for depth in range(60)), "more than 50 deep", 51),
    ("deep-json", '{"a":\n' + "[" * 100_000, "more than 50 deep", 2),
    ("deep-json-mappings", '{"a":' * 100_000, "more than 50 deep", 1),
    ("large", "a: " + "x" * 8_000_000, "the file has 8,000,003 bytes; the limit is 8,000,000", None),
]


@pytest.mark.parametrize(
    ("text", "message", "line"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_cannot_be_read_is_refused_with_its_line(
    text: str | bytes, message: str, line: int | None
) -> None:
    refused = load(text, "plan.yaml")
    assert not isinstance(refused, Source)
    (fault,) = refused
    assert message in fault.message
    assert (fault.file, fault.line) == ("plan.yaml", line)


def test_a_file_of_too_many_values_is_not_read_to_its_end() -> None:
    refused = load("a:\n" + "- {x: 1}\n" * 100_000 + "]", "plan.yaml")
    assert not isinstance(refused, Source)
    assert "expands to more than 100,000 values" in refused[0].message


def test_faults_of_several_keys_are_told_at_once() -> None:
    refused = load('a: 1\na: 2\nb: !x 1\nc: "\\0"\n', "plan.yaml")
    assert not isinstance(refused, Source)
    assert [fault.line for fault in refused] == [2, 3, 4]


def test_values_up_to_the_limit_are_read() -> None:
    deep = read("a: " + "[" * 48 + "]" * 48)
    assert deep.line(("a", *[0] * 47)) == 1
    assert len(read("a: [" + "x," * 99_000 + "]").lines) == 99_002
