import re
import subprocess
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from merge.patterns import MAX_BYTES, MAX_STATES, PathSet, Pattern, PatternError

# What the reference documents: a pattern, paths that it names, paths that it does not.
DOCUMENTED: dict[str, tuple[str, list[bytes], list[bytes]]] = {
    "a file at the root": ("README.md", [b"README.md"], [b"docs/README.md", b"README_md", b"README.mdx"]),
    "a leading slash means nothing": ("/src/a.py", [b"src/a.py"], [b"a.py", b"x/src/a.py"]),
    "a file or a directory": (
        "src/auth",
        [b"src/auth", b"src/auth/a", b"src/auth/a/b"],
        [b"src", b"src/auths"],
    ),
    "only a directory": ("src/auth/", [b"src/auth/a", b"src/auth/a/b"], [b"src/auth", b"src/authx/a"]),
    "star takes what is below": ("src/*", [b"src/a", b"src/a/b/c"], [b"src", b"a"]),
    "star stays in a segment": ("src/*.py", [b"src/a.py", b"src/.py", b"src/a.py/b"], [b"src/a/b.py"]),
    "star at the root": ("*.md", [b"a.md", b"a.md/b"], [b"docs/a.md"]),
    "star and directory": ("*/a/", [b"x/a/b"], [b"x/a", b"a/b", b"x/y/a/b"]),
    "all below": ("src/**", [b"src/a", b"src/a/b"], [b"src", b"srcx/a"]),
    "all below directories below": ("src/**/", [b"src/a/b", b"src/a/b/c"], [b"src/a", b"src"]),
    "everything": ("**", [b"a", b"a/b/c"], []),
    "everything in a directory": ("**/", [b"a/b", b"a/b/c"], [b"a"]),
    "anywhere": ("**/foo", [b"foo", b"a/foo", b"a/b/foo/c"], [b"afoo", b"a/foob"]),
    "any depth": (
        "tests/**/test_auth_*.py",
        [b"tests/test_auth_.py", b"tests/a/b/test_auth_x.py"],
        [b"tests/a.py"],
    ),
    "zero directories": ("a/**/b", [b"a/b", b"a/x/b", b"a/x/y/b"], [b"ab", b"a/xb", b"x/a/b"]),
    "double star twice": ("a/**/**/b", [b"a/b", b"a/x/b"], [b"a/xb"]),
    "double star twice at the end": ("a/**/**", [b"a/b", b"a/b/c"], [b"a"]),
    "three stars are two": ("a/***/b", [b"a/b", b"a/x/y/b"], [b"a/xb"]),
    "double star beside a letter": ("a**/b", [b"a/b", b"ax/b"], [b"a/x/b", b"b"]),
    "double star before a letter": ("a/**b", [b"a/b", b"a/xb"], [b"a/x/c"]),
    "question mark": ("a?c", [b"abc", b"a\xffc"], [b"ac", b"a/c", b"abbc"]),
    "a character of two bytes": ("caf??", ["caf\u00e9".encode()], [b"cafe"]),
    "class": ("[a-c]x", [b"ax", b"cx"], [b"dx", b"x", b"/x"]),
    "negated class": ("[!a-c]x", [b"dx", b"\xffx"], [b"ax", b"x"]),
    "negated class, caret": ("[^a]x", [b"bx"], [b"ax"]),
    "class never takes a slash": ("a[!b]c", [b"axc"], [b"a/c"]),
    "range over the slash": ("a[+-9]c", [b"a.c", b"a0c"], [b"a/c"]),
    "closing bracket first": ("[]a]", [b"]", b"a"], [b"b"]),
    "closing bracket first, negated": ("[!]a]", [b"b"], [b"]", b"a"]),
    "dash at the end": ("[a-]", [b"a", b"-"], [b"b"]),
    "dash behind a range": ("[a-c-e]", [b"b", b"-", b"e"], [b"d"]),
    "range up to an escaped bracket": ("[[-\\]]", [b"[", b"\\", b"]"], [b"a"]),
    "escape in a class": ("[\\a\\-z]", [b"a", b"-", b"z"], [b"b", b"\\"]),
    "reversed range beside others": ("[z-ax]", [b"x"], [b"z", b"a", b"m"]),
    "named class": ("[[:alpha:]_][[:digit:]]", [b"a1", b"_0"], [b"11", b"a"]),
    "named class, negated": ("[![:upper:]]", [b"a", b"1"], [b"A"]),
    "not quite a named class": ("[[:alpha]", [b"[", b":", b"h"], [b"b"]),
    "escapes": (r"\*\?\[a\\", [b"*?[a\\"], [b"x?[a\\"]),
    "escaped double star": (r"\*\*", [b"**"], [b"a"]),
    "escaped exclamation mark": (r"\!a", [b"!a"], [b"a"]),
    "exclamation mark behind a slash": ("/!a", [b"!a"], [b"a"]),
    "number sign": ("#a", [b"#a"], [b"a"]),
    "spaces at the end are dropped": ("a  ", [b"a"], [b"a  ", b"a "]),
    "an escaped space stays": (r"a\  ", [b"a "], [b"a", b"a  "]),
    "a space behind an escaped backslash": ("a\\\\ ", [b"a\\"], [b"a\\ "]),
    "spaces inside stay": (" a b", [b" a b"], [b"a b"]),
    "a tab at the end stays": ("a\t", [b"a\t"], [b"a"]),
    "hidden files are no exception": ("*", [b".a", b"..."], []),
    "UTF-8": ("caf\u00e9/*", ["caf\u00e9/a".encode()], [b"caf\xe9/a"]),
    "not UTF-8": ("caf\udce9", [b"caf\xe9"], ["caf\u00e9".encode()]),
    "dots in names": ("..a/.b", [b"..a/.b"], [b"a/.b"]),
}


@pytest.mark.parametrize(("text", "named", "others"), DOCUMENTED.values(), ids=DOCUMENTED)
def test_a_documented_pattern_names_what_it_says(text: str, named: list[bytes], others: list[bytes]) -> None:
    patterns = PathSet.parse([text])
    assert [path for path in named if not patterns.matches(path)] == []
    assert [path for path in others if patterns.matches(path)] == []


@pytest.mark.parametrize("path", [b"", b"/a", b"a/", b"a//b", b".", b"a/..", b"../a", b"a/./b", b"a\0b"])
def test_what_is_no_path_belongs_to_no_set(path: bytes) -> None:
    assert not PathSet.parse(["**", "*", "a", "a/**"]).matches(path)


REFUSED = {
    "empty": ("", "is empty"),
    "blank": ("   ", "is empty"),
    "root": ("/", "is empty"),
    "negation": ("!a", "negates"),
    "dot": ("./a", "is no file's name"),
    "dots": ("a/../b", "is no file's name"),
    "escaped dot": (r"a/\.", "is no file's name"),
    "dot and slash": ("a/./", "is no file's name"),
    "two slashes": ("a//b", "empty segment"),
    "two slashes first": ("//a", "empty segment"),
    "two slashes last": ("a//", "empty segment"),
    "nul": ("a\0b", "NUL"),
    "not text": ("a\ud800", "UTF-8"),
    "open class": ("a[b", "not closed"),
    "class of a bracket": ("[]", "not closed"),
    "slash in a class": ("a[b/c]", "not closed"),
    "class that ends in a backslash": ("[a\\", "not closed"),
    "unknown named class": ("[[:word:]]", "unknown class"),
    "nameless class": ("[[::]]", "unknown class"),
    "reversed range": ("[z-a]", "accepts nothing"),
    "lone backslash": ("a\\", "lone backslash"),
    "backslash before a slash": (r"a\/b", "lone backslash"),
    "too long": ("a" * (MAX_BYTES + 1), f"the limit is {MAX_BYTES}"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_pattern_that_cannot_be_meant_is_refused_with_a_hint(text: str, message: str) -> None:
    with pytest.raises(PatternError, match=re.escape(message)) as caught:
        Pattern.parse(text)
    assert caught.value.message.isprintable()
    assert caught.value.hint


OVERLAPS: dict[str, tuple[list[str], list[str], bytes | None]] = {
    "siblings": (["src/auth/**"], ["src/billing/**"], None),
    "same file": (["a", "b"], ["b"], b"b"),
    "common beginning only": (["src/auth"], ["src/authority"], None),
    "file and its directory": (["src/auth/a.py"], ["src/auth"], b"src/auth/a.py"),
    "file and what is below it": (["src/auth"], ["src/auth/"], b"src/auth/a"),
    "suffixes, below one another": (["*.py"], ["*.md"], None),
    "suffix and prefix": (["a*"], ["*b"], b"ab"),
    "classes apart": (["[a-m]*"], ["[n-z]*"], None),
    "classes that share a letter": (["[a-m]"], ["[m-z]"], b"m"),
    "any depth": (["src/**/a"], ["src/b/**"], b"src/b/a"),
    "any depth, below one another": (["**/*.py"], ["**/*.md"], b".md/.py"),
    "dots are no names": (["?"], ["[--.]", "[.-.]*"], b"-"),
    "a dot and one more": (["??"], ["[.]?"], b".a"),
    "three dots": (["[.][.]*"], ["*[.]"], b"..."),
    "nothing": ([], ["**"], None),
    "a shortest of several": (["abc", "ab", "abcd"], ["a*"], b"ab"),
}


@pytest.mark.parametrize(("one", "other", "expected"), OVERLAPS.values(), ids=OVERLAPS)
def test_an_overlap_is_told_by_a_shortest_path(
    one: list[str], other: list[str], expected: bytes | None
) -> None:
    assert PathSet.parse(one).overlap(PathSet.parse(other)) == expected
    assert PathSet.parse(other).overlap(PathSet.parse(one)) == expected


INCLUSIONS: dict[str, tuple[list[str], list[str], bytes | None]] = {
    "itself": (["src/**"], ["src/**"], None),
    "child in parent": (["src/auth/*.py", "src/auth/x/"], ["src/auth"], None),
    "parent in child": (["src/auth"], ["src/auth/**"], b"src/auth"),
    "slash and double star are one": (["src/"], ["src/**"], None),
    "and the other way": (["src/**"], ["src/"], None),
    "a union covers": (["[a-c]"], ["a", "[bc]"], None),
    "a union that leaves a gap": (["[a-c]"], ["a", "c"], b"b"),
    "first or not first": (["**"], ["a*", "[!a]*"], None),
    "depths": (["**/a"], ["a", "*/a", "*/*/**/a"], None),
    "depths with a gap": (["**/a"], ["a", "*/*/**/a"], b"b/a"),
    "dots are no names": (["?"], ["[!.]"], None),
    "two dots are none either": (["??"], ["[!.]?", "?[!.]"], None),
    "in nothing": (["src/a*"], [], b"src/a"),
    "nothing in nothing": ([], [], None),
    "extends past the suffix": (["src/*.py"], ["src/*y"], None),
}


@pytest.mark.parametrize(("one", "other", "expected"), INCLUSIONS.values(), ids=INCLUSIONS)
def test_what_is_not_included_is_told_by_a_shortest_path(
    one: list[str], other: list[str], expected: bytes | None
) -> None:
    assert PathSet.parse(one).uncovered(PathSet.parse(other)) == expected


def test_a_set_is_a_value() -> None:
    one = PathSet.parse(["a", "b", "a"])
    assert [pattern.text for pattern in one.patterns] == ["a", "b"]
    assert one == PathSet.parse(["a", "b"])
    assert hash(one) == hash(PathSet.parse(["a", "b"]))
    assert one | PathSet.parse(["b", "c"]) == PathSet.parse(["a", "b", "c"])
    assert not PathSet()
    assert PathSet.parse(["a"])


def test_a_set_forgets_old_steps_and_still_answers() -> None:
    patterns = PathSet.parse(["src/*_[0-9].py"])
    names = [b"src/%d_%d.py" % (number, number % 11) for number in range(10_000)]
    assert [patterns.matches(name) for name in names] == [number % 11 < 10 for number in range(10_000)]
    assert patterns.matches(names[0])


def test_what_cannot_be_decided_within_bounds_is_refused_and_not_guessed() -> None:
    one, other = PathSet.parse(["*a" + "?" * 100]), PathSet.parse(["*b" + "?" * 100])
    for question in (one.overlap, one.uncovered):
        with pytest.raises(PatternError, match=f"too complex to decide within {MAX_STATES} states"):
            question(other)


def is_usable(text: str) -> bool:
    try:
        Pattern.parse(text)
    except PatternError:
        return False
    return True


TOKENS = ["a", "b", "ab", ".", "*", "?", "[ab]", "[!a]", "[^.]", "[!a-b]"]
SEGMENTS = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3).map("".join)
SMALL = st.builds(
    lambda segments, end: "/".join(segments) + end,
    st.lists(SEGMENTS | st.just("**"), min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
).filter(is_usable)
SETS = st.lists(SMALL, min_size=1, max_size=2)


def well_formed(path: bytes) -> bool:
    return not {b"", b".", b".."} & set(path.split(b"/"))


# `c` stands for every byte that the patterns of SMALL do not name: they cannot tell it from another.
LONGEST = 5
PATHS = [
    path
    for length in range(1, LONGEST + 1)
    for path in map(bytes, product(b"abc./", repeat=length))
    if well_formed(path)
]


def check_witness(found: bytes | None, expected: Iterable[bytes]) -> None:
    """Assert that `found` is as short as the shortest of `expected`, or longer than what was tried."""
    shortest = min(map(len, expected), default=None)
    if found is None or len(found) > LONGEST:
        assert shortest is None
    else:
        assert len(found) == shortest


@given(SETS, SETS)
@settings(deadline=None, max_examples=250)
def test_an_overlap_is_exact(one: list[str], other: list[str]) -> None:
    left, right = PathSet.parse(one), PathSet.parse(other)
    found = left.overlap(right)
    check_witness(found, (path for path in PATHS if left.matches(path) and right.matches(path)))
    assert found is None or (left.matches(found) and right.matches(found))


@given(SETS, st.lists(SMALL, max_size=3))
@settings(deadline=None, max_examples=250)
def test_an_inclusion_is_exact(one: list[str], other: list[str]) -> None:
    left, right = PathSet.parse(one), PathSet.parse(other)
    found = left.uncovered(right)
    check_witness(found, (path for path in PATHS if left.matches(path) and not right.matches(path)))
    assert found is None or (left.matches(found) and not right.matches(found))


@given(SETS, SETS, SETS)
@settings(deadline=None, max_examples=200)
def test_overlap_and_inclusion_agree(one: list[str], other: list[str], third: list[str]) -> None:
    left, right, more = PathSet.parse(one), PathSet.parse(other), PathSet.parse(third)
    assert left.uncovered(left | right) is None
    assert left.overlap(left | right) is not None or left.overlap(left) is None
    if left.uncovered(right) is None and left.overlap(more) is not None:
        assert right.overlap(more) is not None
    if left.uncovered(right) is None and right.uncovered(more) is None:
        assert left.uncovered(more) is None


WILD = [
    *TOKENS,
    "[]a]",
    "[a-]",
    "[[:alpha:]]",
    "[![:alpha:]-b]",
    "[\\ab]",
    "\\*",
    "\\\\",
    "**",
    "-",
    "]",
    "é",
    "\udcff",
    " ",
]
WILD_SEGMENTS = st.lists(st.sampled_from(WILD), min_size=1, max_size=4).map("".join)
WILD_PATTERNS = st.builds(
    lambda start, segments, end: start + "/".join(segments) + end,
    st.sampled_from(["", "/"]),
    st.lists(WILD_SEGMENTS | st.sampled_from(["**", "*", "***"]), min_size=1, max_size=4),
    st.sampled_from(["", "", "/", "/**", "  "]),
).filter(is_usable)
NAMES = st.text("ab.*]-\\é\udcff ", min_size=1, max_size=4).map(
    lambda name: name.encode("utf-8", "surrogateescape")
)
WILD_PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join).filter(well_formed)

# git compares the literal beginning of a pattern first and hands the rest to wildmatch, which takes a `**/`
# at the start of that rest for one that stands alone: to the program, `a**/b` also names `ab` and `ax/y/b`.
# gitignore(5) says that such stars are ordinary ones, pathspec reads them so, and so are they read here.
GLUED = re.compile(r"[^*?\[\\]*[^*?\[\\/]\*{2,}/")


def ignored_by_git(directory: Path, cases: list[tuple[str, bytes]]) -> list[bool]:
    """Return, for each pattern and path, whether git ignores the path by the pattern anchored at the root."""
    root = Path(tempfile.mkdtemp(dir=directory))
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    places: dict[str, bytes] = {}
    for text, _ in cases:
        if text not in places:
            places[text] = b"%d" % len(places)
            place = root / places[text].decode()
            place.mkdir()
            line = "/" + text.removeprefix("/") + "\n"
            (place / ".gitignore").write_bytes(line.encode("utf-8", "surrogateescape"))
    asked = b"".join(places[text] + b"/" + path + b"\0" for text, path in cases)
    command = ["git", "check-ignore", "--no-index", "--stdin", "--verbose", "--non-matching", "-z"]
    done = subprocess.run(command, cwd=root, input=asked, capture_output=True, check=False)
    assert done.stderr == b""
    fields = done.stdout.split(b"\0")[:-1]
    assert len(fields) == 4 * len(cases)
    return [bool(source) for source in fields[::4]]


@given(st.lists(WILD_PATTERNS, min_size=8, max_size=8), st.lists(WILD_PATHS, min_size=12, max_size=12))
@settings(deadline=None, max_examples=60)
def test_matching_is_what_git_does(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], paths: list[bytes]
) -> None:
    cases = [(text, path) for text in texts if not GLUED.match(text) for path in paths]
    here = [PathSet.parse([text]).matches(path) for text, path in cases]
    assert dict(zip(cases, here, strict=True)) == dict(
        zip(cases, ignored_by_git(tmp_path_factory.getbasetemp(), cases), strict=True)
    )


@given(st.lists(SMALL, min_size=8, max_size=8))
@settings(deadline=None, max_examples=20)
def test_matching_is_what_git_does_for_every_short_path(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    paths = [path for path in PATHS if len(path) < LONGEST]
    cases = [(text, path) for text in texts if not GLUED.match(text) for path in paths]
    here = [PathSet.parse([text]).matches(path) for text, path in cases]
    there = ignored_by_git(tmp_path_factory.getbasetemp(), cases)
    assert [case for case, mine, gits in zip(cases, here, there, strict=True) if mine != gits] == []


CLASSES = [
    "alnum",
    "alpha",
    "blank",
    "cntrl",
    "digit",
    "graph",
    "lower",
    "print",
    "punct",
    "space",
    "upper",
    "xdigit",
]


@pytest.mark.parametrize("name", CLASSES)
def test_a_named_class_holds_the_bytes_that_git_takes_for_it(tmp_path: Path, name: str) -> None:
    text = f"x[[:{name}:]]"
    paths = [b"x" + bytes((byte,)) for byte in range(1, 256) if byte != ord("/")]
    patterns = PathSet.parse([text])
    theirs = ignored_by_git(tmp_path, [(text, path) for path in paths])
    assert [patterns.matches(path) for path in paths] == theirs
    assert any(theirs)


DISAGREEMENTS = {
    "directories below": ("a/**/", b"a/b"),
    "three stars": ("a/***/b", b"a/x/y/b"),
    "a negated class and a slash": ("a[!b]*", b"a/c"),
}


@pytest.mark.parametrize(("text", "path"), DISAGREEMENTS.values(), ids=DISAGREEMENTS)
def test_where_git_and_pathspec_disagree_git_is_right(tmp_path: Path, text: str, path: bytes) -> None:
    theirs = ignored_by_git(tmp_path, [(text, path)])
    assert [PathSet.parse([text]).matches(path)] == theirs
    assert [GitIgnoreSpec.from_lines(["/" + text]).match_file(path.decode())] != theirs


def agreed(text: str) -> bool:
    """Whether none of DISAGREEMENTS is about this pattern."""
    return not text.endswith("**/") and not any(part in text for part in ("***", "[!", "[^"))


def test_where_git_and_its_manual_disagree_about_glued_stars_the_manual_is_right(tmp_path: Path) -> None:
    cases = [("a**/b", b"ax/b"), ("a**/b", b"ab"), ("a**/b", b"ax/y/b")]
    pathspec = GitIgnoreSpec.from_lines(["/a**/b"])
    assert [PathSet.parse([text]).matches(path) for text, path in cases] == [True, False, False]
    assert [pathspec.match_file(path.decode()) for _, path in cases] == [True, False, False]
    assert ignored_by_git(tmp_path, cases) == [True, True, True]


@given(SMALL.filter(agreed), st.lists(st.sampled_from(PATHS), min_size=50, max_size=50))
@settings(deadline=None, max_examples=200)
def test_matching_is_what_pathspec_does(text: str, paths: list[bytes]) -> None:
    patterns, spec = PathSet.parse([text]), GitIgnoreSpec.from_lines(["/" + text])
    assert [patterns.matches(path) for path in paths] == [spec.match_file(path.decode()) for path in paths]
