"""The index file that Otto makes of what it knows, as git reads it."""

import os
import subprocess
from pathlib import Path

from merge.objects import EXECUTABLE, FILE, SYMLINK
from merge.trees import Entry
from otto_core.git.repository import blob_id
from otto_core.index import encode
from otto_core.scan import scan


def git(place: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(place), *args], check=True, capture_output=True, text=True).stdout


def made(place: Path, *, known: bool) -> None:
    """Write some files and an index of them."""
    git(place.parent, "init", "-q", str(place))
    (place / "deep").mkdir()
    entries = {}
    for path, content in ((b"a", b"one\n"), (b"run.sh", b"#!/bin/sh\n"), (b"deep/" + b"n" * 200, b"")):
        (place / os.fsdecode(path)).write_bytes(content)
        entries[path] = Entry(EXECUTABLE if path == b"run.sh" else FILE, blob_id(content))
    (place / "run.sh").chmod(0o755)
    (place / "link").symlink_to("a")
    entries[b"link"] = Entry(SYMLINK, blob_id(b"a"))
    git(place, "add", "-A")  # for the objects alone: the index that it writes is replaced
    stamps = scan(os.fsencode(place)).files if known else {}
    (place / ".git/index").write_bytes(encode(entries, stamps))


def test_git_reads_what_was_encoded_and_finds_the_files_untouched(tmp_path: Path) -> None:
    place = tmp_path / "repo"
    made(place, known=True)
    assert git(place, "ls-files", "-s").split("\n")[:2] == [
        "100644 5626abf0f72e58d7a153368ba57db4c673c0e171 0\ta",
        f"100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 0\tdeep/{'n' * 200}",
    ]
    assert git(place, "diff-files") == ""


def test_git_compares_the_content_of_files_without_a_stamp(tmp_path: Path) -> None:
    place = tmp_path / "repo"
    made(place, known=False)
    assert "M\ta\n" in git(place, "diff-files")
    git(place, "update-index", "-q", "--refresh")
    assert git(place, "diff-files") == ""
