import subprocess
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from merge.paths import escapes, fold, forbidden, show

IGNORED_BY_HFS = (
    "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
)

REFUSED = {
    "empty": (b"", "is empty"),
    "nul": (b"a\0b", "contains a NUL byte"),
    "absolute": (b"/etc/passwd", "is absolute"),
    "root": (b"/", "is absolute"),
    "double slash": (b"a//b", "has an empty segment"),
    "slash at the end": (b"a/", "has an empty segment"),
    "dot": (b"./a", "has a segment `.`"),
    "dot at the end": (b"a/.", "has a segment `.`"),
    "dots": (b"a/../b", "has a segment `..`"),
    "only dots": (b"..", "has a segment `..`"),
}
GIT_ALIKE = {
    "itself": b".git",
    "inside": b".git/config",
    "nested": b"a/b/.git",
    "upper case": b"a/.GIT/hooks",
    "dot at the end": b".git.",
    "space at the end": b".git ",
    "dots and spaces": b".Git. . /x",
    "short name": b"git~1",
    "short name, dressed": b"a/GIT~1 ./b",
    "stream": b".git::$INDEX_ALLOCATION",
    "stream behind dots": b".git. :x",
    "stream of the short name": b"git~1:x",
    "joiner inside": ".g\u200cit".encode(),
    "byte order mark before": "\ufeff.git".encode(),
    "joiner and case and dot": ".G\u200dIT\u206f.".encode(),
    "backslashes": b"a\\.git\\b",
    "backslash at the end": b".git\\hooks",
    "short name behind a backslash": b"a\\git~1",
    "cut short by a byte that is not UTF-8": b".git\xffx",
}
ORDINARY = {
    "github": b".github/workflows/ci.yml",
    "gitignore": b".gitignore",
    "gitmodules": b".gitmodules",
    "git without a dot": b"git",
    "another short name": b"git~2",
    "dot and a short name": b".git~1",
    "name behind a space": b".git x",
    "suffix": b".git.bak",
    "two dots and a letter": b"..a",
    "three dots": b"...",
    "colon": b"a:b",
    "backslash": b"a\\b",
    "not UTF-8": b"caf\xe9/\xff",
    "a joiner elsewhere": "a\u200cb".encode(),
    "a dotless i": ".g\u0131t".encode(),
}


@pytest.mark.parametrize(("path", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_path_is_refused_in_plain_words(path: bytes, reason: str) -> None:
    assert forbidden(path) == reason


@pytest.mark.parametrize("path", GIT_ALIKE.values(), ids=GIT_ALIKE)
def test_a_name_that_some_file_system_takes_for_git_is_refused(path: bytes) -> None:
    assert forbidden(path) == "has a segment that some file systems take for `.git`"


@pytest.mark.parametrize("path", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_name_is_allowed(path: bytes) -> None:
    assert forbidden(path) is None


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """`.git` in any case, with code points that HFS+ ignores anywhere, with dots and spaces at the end."""
    name = draw(st.sampled_from([".git", "git~1"]))
    noise = st.text(IGNORED_BY_HFS, max_size=2)
    letters = [draw(noise) + (letter.upper() if draw(st.booleans()) else letter) for letter in name]
    return ("".join(letters) + draw(noise) + draw(st.text(". ", max_size=3))).encode()


@given(
    spellings(),
    st.sampled_from([b"", b"a/", b"a/b.c/", b"a\\"]),
    st.sampled_from([b"", b"/x", b"\\x", b":x"]),
)
@settings(deadline=None, max_examples=300)
def test_every_spelling_of_git_is_refused_wherever_it_stands(
    name: bytes, before: bytes, after: bytes
) -> None:
    assert forbidden(before + name + after) is not None


NAMES = st.text("gitGIT.~1 :\\\u200c\u206fa", min_size=1, max_size=9).map(str.encode)
ENDS = st.sampled_from([b"", b"", b".", b" x", b":x", b"\\x", b"\xff", b"/x", b"~1"])


@given(st.lists(st.builds(bytes.__add__, NAMES | spellings(), ENDS), min_size=15, max_size=15))
@settings(deadline=None, max_examples=15)
def test_what_git_refuses_is_refused(tmp_path_factory: pytest.TempPathFactory, names: list[bytes]) -> None:
    repository = tmp_path_factory.mktemp("repository")
    git(repository, "init", "-q")
    refused = [path for path in names if not accepted_by_git(repository, path)]
    assert [path for path in refused if forbidden(path) is None] == []


@pytest.mark.parametrize("path", ORDINARY.values(), ids=ORDINARY)
def test_what_is_allowed_is_allowed_by_git(tmp_path: Path, path: bytes) -> None:
    git(tmp_path, "init", "-q")
    assert accepted_by_git(tmp_path, path)


def accepted_by_git(repository: Path, path: bytes) -> bool:
    entry = b"100644,%s,%s" % (b"1" * 40, path)
    protect = ["-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]
    command: list[str | bytes] = ["git", *protect, "update-index", "--add", "--replace", "--cacheinfo", entry]
    return subprocess.run(command, cwd=repository, capture_output=True, check=False).returncode == 0


def git(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=directory, check=True)


LINKS = {
    "sibling": (b"a/l", b"b", False),
    "root, by name": (b"l", b".", False),
    "root, climbing": (b"a/b/l", b"../..", False),
    "cousin": (b"a/b/l", b"../../c/d", False),
    "slashes and dots mean nothing": (b"a/l", b".//../././b/", False),
    "three dots are a name": (b"l", b"...", False),
    "git, but not quite": (b"l", b".github/x", False),
    "absolute": (b"a/l", b"/etc/passwd", True),
    "parent of the root": (b"l", b"..", True),
    "one step too far": (b"a/b/l", b"../../../x", True),
    "out and back in": (b"a/l", b"../../repository/a", True),
    "dots behind a name": (b"a/l", b"b/../../../x", True),
    "dots behind a name that may be a link": (b"p/q/l", b"d/../..", True),
    "repository": (b"l", b".git", True),
    "inside the repository": (b"a/l", b"../.GIT/hooks", True),
    "short name of the repository": (b"l", b"git~1\\config", True),
    "empty": (b"l", b"", True),
    "nul": (b"l", b"a\0b", True),
}


@pytest.mark.parametrize(("link", "target", "expected"), LINKS.values(), ids=LINKS)
def test_a_link_that_may_lead_out_of_the_tree_escapes(link: bytes, target: bytes, *, expected: bool) -> None:
    assert escapes(link, target) is expected


TARGETS = st.lists(st.sampled_from([b"..", b".", b"d", b"e", b"k", b"l"]), min_size=1, max_size=5).map(
    b"/".join
)
PLACES = st.sampled_from([b"k", b"l", b"d/k", b"d/l", b"d/e/k", b"d/e/l"])


@given(st.dictionaries(PLACES, TARGETS, min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_no_chain_of_links_that_do_not_escape_leaves_the_tree(
    tmp_path_factory: pytest.TempPathFactory, links: dict[bytes, bytes]
) -> None:
    root = tmp_path_factory.mktemp("tree").resolve()
    (root / "d/e").mkdir(parents=True)
    kept = {link: target for link, target in links.items() if not escapes(link, target)}
    assume(kept)
    for link, target in kept.items():
        (root / link.decode()).symlink_to(target.decode())
    for link in kept:
        place = root / link.decode()
        try:
            resolved = place.resolve()
        except RuntimeError:  # a loop leads nowhere
            continue
        assert resolved.is_relative_to(root)


COLLIDING = {
    "case": (b"README", b"readme"),
    "normal form": ("caf\u00e9".encode(), "cafe\u0301".encode()),
    "both": ("CAF\u00c9".encode(), "cafe\u0301".encode()),
    "sharp s": ("stra\u00dfe".encode(), b"STRASSE"),
    "angstrom sign": ("\u212b".encode(), "\u00e5".encode()),
    "mark that folds to a letter": ("\u1fb3\u0301".encode(), "\u1fb4".encode()),
    "order of marks": ("a\u0323\u0301".encode(), "a\u0301\u0323".encode()),
    "case of what is not UTF-8's neighbour": (b"A\xff", b"a\xff"),
}
APART = {
    "letters": (b"a", b"b"),
    "accent": ("caf\u00e9".encode(), b"cafe"),
    "bytes that are not UTF-8": (b"\xe9", b"\xc9"),
    "latin-1 and UTF-8": (b"caf\xe9", "caf\u00e9".encode()),
    "compatibility": ("\ufb01".encode(), "\u2460".encode()),
}


@pytest.mark.parametrize(("one", "other"), COLLIDING.values(), ids=COLLIDING)
def test_names_that_collide_on_some_file_system_fold_to_one_key(one: bytes, other: bytes) -> None:
    assert one != other
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), APART.values(), ids=APART)
def test_names_that_collide_nowhere_have_keys_of_their_own(one: bytes, other: bytes) -> None:
    assert fold(one) != fold(other)


FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS, st.sampled_from(FORMS))
@settings(deadline=None, max_examples=300)
def test_the_key_does_not_depend_on_normal_form_or_folded_case(
    text: str, form: Literal["NFC", "NFD"]
) -> None:
    key = fold(text.encode())
    assert fold(unicodedata.normalize(form, text).encode()) == key
    assert fold(unicodedata.normalize("NFD", text).casefold().encode()) == key


@given(st.binary())
@settings(deadline=None, max_examples=300)
def test_any_bytes_have_a_key(name: bytes) -> None:
    assert isinstance(fold(name), str)


SHOWN = {
    "plain": (b"src/a b.py", "src/a b.py"),
    "UTF-8": ("caf\u00e9/\u65e5\u672c".encode(), "caf\u00e9/\u65e5\u672c"),
    "not UTF-8": (b"caf\xe9", r"caf\xe9"),
    "escape sequence": (b"\x1b[31mred", r"\x1b[31mred"),
    "line break": (b"a\nb\r\t", r"a\x0ab\x0d\x09"),
    "C1 control": ("a\u009bb".encode(), r"a\xc2\x9bb"),
    "right-to-left override": ("a\u202egpj".encode(), r"a\xe2\x80\xaegpj"),
    "no-break space": ("a\u00a0b".encode(), r"a\xc2\xa0b"),
    "backslash": (b"a\\xe9", r"a\\xe9"),
    "empty": (b"", ""),
}


@pytest.mark.parametrize(("path", "expected"), SHOWN.values(), ids=SHOWN)
def test_a_path_is_shown_safely(path: bytes, expected: str) -> None:
    assert show(path) == expected


@given(st.binary() | TEXTS.map(str.encode))
@settings(deadline=None, max_examples=300)
def test_what_is_shown_is_printable_and_can_be_read_back(path: bytes) -> None:
    shown = show(path)
    assert shown.isprintable()
    assert read_back(shown) == path


def read_back(shown: str) -> bytes:
    path, at = b"", 0
    while at < len(shown):
        if shown.startswith("\\x", at):
            path, at = path + bytes.fromhex(shown[at + 2 : at + 4]), at + 4
        elif shown[at] == "\\":
            assert shown[at + 1] == "\\"
            path, at = path + b"\\", at + 2
        else:
            path, at = path + shown[at].encode(), at + 1
    return path
