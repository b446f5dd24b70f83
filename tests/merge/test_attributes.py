import subprocess
from pathlib import Path

import pytest
from pygit2 import Repository

from merge.attributes import flatten
from tests.merge.repos import SYMLINK, Box, Content

CASES: dict[str, dict[str, str]] = {
    "by extension, everywhere below": {
        ".gitattributes": "*.c text\n",
        "sub/.gitattributes": "*.c -text\n*.d eol=lf\n",
    },
    "anchored": {
        ".gitattributes": "/top bin\nroot/x eol=lf\n",
        "sub/.gitattributes": "/top subtop\nx/y deep\n",
    },
    "deeper files win": {
        ".gitattributes": "*.c a=1\n",
        "sub/.gitattributes": "*.c a=2\n",
        "sub/x/.gitattributes": "y.c a=3\n",
    },
    "unset, unspecified and values": {
        ".gitattributes": "*.c a b c=1\n",
        "sub/.gitattributes": "*.c -a !b c=2\n",
    },
    "macros from the root only": {
        ".gitattributes": "[attr]mac foo -bar\n*.c mac\n",
        "sub/.gitattributes": "[attr]no zap\n*.d mac no\n",
    },
    "macro of git's own": {"sub/.gitattributes": "*.c binary\n"},
    "quoted patterns": {
        ".gitattributes": '"sp ace.c" k\n"tab\\tbed.c" t\n"\\303\\251.c" e\n',
        "sub/.gitattributes": '"sp ace.c" -k\n',
    },
    "directories with blanks and wildcards": {
        "b lank/.gitattributes": "*.c x\n/top y\n",
        "g*b/.gitattributes": "*.c z\n",
        "[a]/.gitattributes": "*.c w\n",
        "q?/.gitattributes": "*.c v\n",
    },
    "comments, blank lines and CRLF": {".gitattributes": "# *.c no\r\n\r\n  *.c yes\r\n\t*.d tab\n"},
    "byte order mark": {".gitattributes": "\ufeff*.c yes\n"},
    "escaped marks": {".gitattributes": "\\!x.c mark\n\\#x.c hash\n"},
    "negative patterns are ignored": {".gitattributes": "!*.c no\n*.d yes\n"},
    "stars of all kinds": {
        ".gitattributes": "**/x/*.c a\nsub/** b\n**.d c\nx/**/y.c d\n",
        "sub/.gitattributes": "**/y.c e\nx/** f\n",
    },
    "patterns of directories": {".gitattributes": "sub/ dir\nx/ dir\n*.c yes\n"},
    "classes and escapes": {
        ".gitattributes": "[ab].c x\n\\*.c star\n?op y\n",
        "sub/.gitattributes": "[!t]*.c z\n",
    },
    "pattern without attributes": {".gitattributes": "*.c\n*.d yes\n"},
    "very long lines are ignored": {".gitattributes": f"*.c {'a' * 2100}\n*.d yes\n"},
    "merge drivers": {".gitattributes": "*.c merge=union\n", "sub/.gitattributes": "*.c -merge\n"},
}
UNSET_MACRO = {".gitattributes": "[attr]mac foo\n*.c mac\n", "sub/.gitattributes": "*.c -mac\n"}
PATHS = [
    *(
        "a.c",
        "a.d",
        "top",
        "root/x",
        "x/y.c",
        "x/q/y.c",
        "sp ace.c",
        "tab\tbed.c",
        "\u00e9.c",
        "!x.c",
        "#x.c",
        "*.c",
    ),
    *(
        "sub/a.c",
        "sub/a.d",
        "sub/top",
        "sub/x/top",
        "sub/x/y",
        "sub/x/y.c",
        "sub/x/x/y",
        "sub/x/a.c",
        "sub/sp ace.c",
    ),
    *("b lank/a.c", "b lank/top", "b lank/u/a.c", "b_lank/a.c", "g*b/a.c", "glob/a.c", "[a]/a.c", "a/a.c"),
    *("[ab].c", "q?/a.c", "qq/a.c"),
]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "repo.git")


def given_attributes(git_dir: Path, work_tree: Path | None) -> list[tuple[str, ...]]:
    where = ["--git-dir", str(git_dir), *(["--work-tree", str(work_tree)] if work_tree else [])]
    done = subprocess.run(
        ["git", *where, "check-attr", "--stdin", "-z", "-a"],
        input="\0".join(PATHS).encode(),
        capture_output=True,
        check=True,
        cwd=work_tree,
    )
    fields = done.stdout.decode().split("\0")[:-1]
    return sorted(zip(fields[::3], fields[1::3], fields[2::3], strict=True))


@pytest.mark.parametrize("files", [*CASES.values(), UNSET_MACRO], ids=[*CASES, "a macro unset below"])
def test_r_m9_one_file_gives_each_path_what_the_checkout_gives(
    box: Box, tmp_path: Path, files: dict[str, str]
) -> None:
    checkout = tmp_path / "checkout"
    for path, text in files.items():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_bytes(text.encode())
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    expected = given_attributes(checkout / ".git", checkout)
    info = box.path / "info" / "attributes"
    info.write_bytes(flatten(box.repo, box.tree(files)))
    assert given_attributes(box.path, None) == expected
    assert expected


@pytest.mark.parametrize("files", CASES.values(), ids=CASES.keys())
def test_r_m9_libgit2_reads_the_file_as_git_does(box: Box, files: dict[str, str]) -> None:
    info = box.path / "info" / "attributes"
    info.write_bytes(flatten(box.repo, box.tree(files)))
    given = {(path, name): state for path, name, state in given_attributes(box.path, None)}
    repo = Repository(str(box.path))
    for path in PATHS:
        for name in {name for _, name in given}:
            expected = given.get((path, name))
            read = repo.get_attr(path, name)
            assert read == {"set": True, "unset": False}.get(str(expected), expected), (path, name)


def test_a_symlink_is_no_attributes_file(box: Box) -> None:
    files: dict[str, Content] = {".gitattributes": (SYMLINK, b"*.c x")}
    assert flatten(box.repo, box.tree(files)) == b""


def test_what_did_not_change_is_not_opened_again(box: Box) -> None:
    kept = {"kept/deep/.gitattributes": "*.c x\n", "kept/deep/a": "1"}
    flatten(box.repo, box.tree({**kept, "other": "1"}))
    after = box.tree({**kept, "other": "2"})
    below = box.tree({"deep/.gitattributes": "*.c x\n", "deep/a": "1"})
    (box.path / "objects" / str(below)[:2] / str(below)[2:]).unlink()  # to read it again would raise
    assert flatten(Repository(str(box.path)), after) == b"/kept/deep/**/*.c x\n"
