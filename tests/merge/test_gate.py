from pathlib import Path

import pytest

from merge.gate import Admitted, Refused, Scope, admit
from merge.patterns import PathSet
from tests.merge.repos import EXECUTABLE, GITLINK, SYMLINK, Box, Content

COMMIT, OTHER_COMMIT = b"1" * 40, b"2" * 40
BASE: dict[str, Content] = {
    "src/a.py": "one\n",
    "src/sub/b.py": "two\n",
    "routes.py": "first\nlast\n",
    "other.py": "mine\n",
    "vendor": (GITLINK, COMMIT),
    "link": (SYMLINK, b"other.py"),
}
SCOPE = Scope(owns=PathSet.parse(["src"]), extends=PathSet.parse(["routes.py", "new.log", "link"]))
EVERYTHING = Scope(owns=PathSet.parse(["**"]), extends=PathSet.parse([]))

Edits = dict[str, Content | None]  # None deletes


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "repo.git")


def judge(box: Box, edits: Edits, scope: Scope = SCOPE) -> Admitted | Refused:
    after = {path: content for path, content in {**BASE, **edits}.items() if content is not None}
    return admit(box.repo, box.tree(BASE), box.tree(after), scope)


def rules(outcome: Admitted | Refused) -> list[tuple[str, str]]:
    assert isinstance(outcome, Refused)
    return [(violation.path.decode(), violation.rule) for violation in outcome.violations]


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"src/a.py": "changed\n"}, id="change"),
        pytest.param({"src/a.py": None}, id="delete"),
        pytest.param({"src/new/deep/c.py": "c\n"}, id="add"),
        pytest.param({"src/a.py": (EXECUTABLE, b"one\n")}, id="mode"),
        pytest.param({"src/a.py": (SYMLINK, b"sub/b.py")}, id="inner symlink"),
        pytest.param({"src/a.py": None, "src/sub/a.py": "one\n"}, id="rename"),
        pytest.param({"src/sub/b.py": None, "src/sub": "file\n"}, id="directory to file"),
        pytest.param({"routes.py": "first\nnew\nlast\n"}, id="registry insertion"),
    ],
)
def test_i4_a_change_within_the_scope_is_admitted(box: Box, edits: Edits) -> None:
    outcome = judge(box, edits)
    assert isinstance(outcome, Admitted)
    assert {change.path.decode() for change in outcome.changes} == set(edits)


@pytest.mark.parametrize(
    ("edits", "foreign"),
    [
        pytest.param({"other.py": "theirs\n"}, ["other.py"], id="change"),
        pytest.param({"other.py": None}, ["other.py"], id="delete"),
        pytest.param({"new.py": "new\n"}, ["new.py"], id="add"),
        pytest.param({"other.py": (EXECUTABLE, b"mine\n")}, ["other.py"], id="mode"),
        pytest.param({"other.py": (SYMLINK, b"src/a.py")}, ["other.py"], id="type"),
        pytest.param({"vendor": (GITLINK, OTHER_COMMIT)}, ["vendor"], id="gitlink"),
        pytest.param({"vendor": None}, ["vendor"], id="gitlink deleted"),
        pytest.param({"other.py": None, "src/other.py": "mine\n"}, ["other.py"], id="renamed into the scope"),
        pytest.param({"src/a.py": None, "a.py": "one\n"}, ["a.py"], id="renamed out of the scope"),
        pytest.param(
            {"src/a.py": None, "src/sub/b.py": None, "src2/x": "x\n"}, ["src2/x"], id="sibling name"
        ),
        pytest.param(
            {"other.py": "theirs\n", "new.py": "", "src/a.py": ""}, ["new.py", "other.py"], id="all told"
        ),
    ],
)
def test_i4_a_change_outside_the_scope_is_refused(box: Box, edits: Edits, foreign: list[str]) -> None:
    outcome = judge(box, edits)
    assert rules(outcome) == [(path, "write_gate") for path in foreign]
    assert isinstance(outcome, Refused)
    assert outcome.kind == "write_gate"


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({"routes.py": "first\nLAST\n"}, id="a line changed"),
        pytest.param({"routes.py": "last\n"}, id="a line deleted"),
        pytest.param({"routes.py": "last\nfirst\n"}, id="lines reordered"),
        pytest.param({"routes.py": None}, id="deleted"),
        pytest.param({"routes.py": (EXECUTABLE, b"first\nnew\nlast\n")}, id="mode with an insertion"),
        pytest.param({"routes.py": (SYMLINK, b"first\nlast\nnew\n")}, id="type with an insertion"),
        pytest.param({"link": (SYMLINK, b"other.py\nx")}, id="a symlink lengthened"),
        pytest.param({"new.log": "first\n"}, id="created"),
    ],
)
def test_i6_a_registry_takes_line_insertions_only(box: Box, edits: Edits) -> None:
    assert rules(judge(box, edits)) == [(path, "write_gate") for path in edits]


def test_a_path_both_owned_and_extended_is_owned(box: Box) -> None:
    scope = Scope(owns=PathSet.parse(["routes.py"]), extends=PathSet.parse(["routes.py"]))
    assert isinstance(judge(box, {"routes.py": "rewritten\n"}, scope), Admitted)


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param({"up": (SYMLINK, b"../etc")}, [("up", "escaping_symlink")], id="relative symlink"),
        pytest.param(
            {"src/a.py": (SYMLINK, b"/etc/passwd")}, [("src/a.py", "escaping_symlink")], id="absolute symlink"
        ),
        pytest.param(
            {"src/nested": (GITLINK, COMMIT)}, [("src/nested", "nested_repository")], id="new gitlink"
        ),
        pytest.param(
            {"other.py": (GITLINK, COMMIT)}, [("other.py", "nested_repository")], id="file to gitlink"
        ),
        pytest.param({".git/config": "x"}, [(".git/config", "forbidden_name")], id=".git"),
        pytest.param(
            {"src/.GIT/hooks/x": "x"}, [("src/.GIT/hooks/x", "forbidden_name")], id=".git in capitals"
        ),
        pytest.param({"src/A.py": "x"}, [("src/A.py", "collision")], id="file beside file"),
        pytest.param({"Src/c.py": "x"}, [("Src", "collision")], id="directory beside directory"),
        pytest.param({"SRC": "x"}, [("SRC", "collision")], id="file beside directory"),
        pytest.param(
            {"n/e\u0301": "", "n/\xe9": ""}, [("n/e\u0301", "collision"), ("n/\xe9", "collision")], id="NFC"
        ),
        pytest.param({"n/m/x": "", "n/M/x": ""}, [("n/M", "collision"), ("n/m", "collision")], id="both new"),
        pytest.param(
            {".gitattributes": (SYMLINK, b"x")}, [(".gitattributes", "symlinked_git_file")], id="attributes"
        ),
        pytest.param(
            {"d/.GitModules": (SYMLINK, b"x")}, [("d/.GitModules", "symlinked_git_file")], id="modules"
        ),
    ],
)
def test_unsafe_content_is_refused_even_from_its_owner(
    box: Box, edits: Edits, expected: list[tuple[str, str]]
) -> None:
    outcome = judge(box, edits, EVERYTHING)
    assert rules(outcome) == expected
    assert isinstance(outcome, Refused)
    assert outcome.kind == "unsafe_content"


def test_unsafe_content_names_the_kind_when_both_rules_break(box: Box) -> None:
    outcome = judge(box, {"other.py": "theirs\n", "src/up": (SYMLINK, b"../../x")})
    assert isinstance(outcome, Refused)
    assert outcome.kind == "unsafe_content"
    assert rules(outcome) == [("other.py", "write_gate"), ("src/up", "escaping_symlink")]


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({"src/a.py": None, "src/A.py": "one\n"}, id="a rename that changes case only"),
        pytest.param({"vendor": (GITLINK, OTHER_COMMIT)}, id="a submodule moved on"),
        pytest.param({"link": None}, id="a symlink deleted"),
    ],
)
def test_what_only_looks_unsafe_is_admitted(box: Box, edits: Edits) -> None:
    assert isinstance(judge(box, edits, EVERYTHING), Admitted)


def test_a_collision_of_the_repository_itself_stays_out_of_the_way(box: Box) -> None:
    old = box.tree({"d/a": "1", "d/A": "2"})
    new = box.tree({"d/a": "3", "d/A": "2", "d/b": "4"})
    assert isinstance(admit(box.repo, old, new, EVERYTHING), Admitted)


def test_a_collision_with_what_landed_meanwhile_is_found_on_the_merged_tree(box: Box) -> None:
    tip = box.tree({**BASE, "src/Setup.py": "x"})
    merged = box.tree({**BASE, "src/Setup.py": "x", "src/setup.py": "y"})
    assert rules(admit(box.repo, tip, merged, SCOPE)) == [("src/setup.py", "collision")]


def test_a_refusal_says_what_the_task_did(box: Box) -> None:
    outcome = judge(box, {"other.py": None})
    assert isinstance(outcome, Refused)
    [violation] = outcome.violations
    assert violation.message == "deleted other.py"
