"""What is done to a worktree that is nearly right, and that nothing is written through a link."""

import os
from pathlib import Path

import pytest

from merge.objects import FILE, SYMLINK, Oid
from merge.trees import Entry
from otto_core.conversion import VERBATIM
from otto_core.git.repository import blob_id
from otto_core.refill import MOST_FILES, Refill, Written, carry_out, plan
from otto_core.scan import scan
from otto_core.slots import Filling

CONTENT = {b"a": b"one\n", b"deep/b": b"two\n", b"deep/er/c": b"three\n"}
BLOBS = {blob_id(content): content for content in (*CONTENT.values(), b"new\n", b"a")}
ENTRIES = {path: Entry(FILE, blob_id(content)) for path, content in CONTENT.items()}
TREE = Oid(hex="4b825dc642cb6eb9a060e54bf8d69288fbee4904")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "worktree"
    (root / "deep/er").mkdir(parents=True)
    for path, content in CONTENT.items():
        (root / os.fsdecode(path)).write_bytes(content)
    return root


def filled(place: Path) -> Filling:
    found = scan(os.fsencode(place))
    return Filling(TREE, ENTRIES, found.files, {}, found.directories, VERBATIM)


def look_and_plan(place: Path, before: Filling, entries: dict[bytes, Entry] = ENTRIES) -> Refill | None:
    return plan(before, scan(os.fsencode(place)), entries)


def do(place: Path, refill: Refill | None, entries: dict[bytes, Entry] = ENTRIES) -> Written:
    assert refill is not None
    return carry_out(refill, os.fsencode(place), entries, BLOBS.__getitem__, blob_id)


def test_where_nothing_differs_there_is_nothing_to_do(place: Path) -> None:
    assert look_and_plan(place, filled(place)) == Refill((), (), ())


def test_only_what_differs_is_removed_or_written(place: Path) -> None:
    before = filled(place)
    (place / "litter/below").mkdir(parents=True)
    (place / "litter/file").touch()
    (place / "deep/b").write_text("2\n")
    entries = {path: entry for path, entry in ENTRIES.items() if path != b"deep/er/c"} | {
        b"x/y": Entry(FILE, blob_id(b"new\n"))
    }
    refill = look_and_plan(place, before, entries)
    assert refill is not None
    assert (set(refill.remove), refill.write) == ({b"litter", b"deep/er"}, (b"deep/b", b"x/y"))
    written = do(place, refill, entries)
    now = scan(os.fsencode(place))
    assert now.files == {b"a": before.stamps[b"a"]} | written.files
    assert now.directories == {b"deep": before.directories[b"deep"]} | written.directories


def test_a_file_too_young_to_be_proven_by_its_stamp_is_compared_by_content(place: Path) -> None:
    (place / "a").write_text("uno\n")  # as if within the tick of the note
    found = scan(os.fsencode(place))
    before = Filling(TREE, ENTRIES, {}, found.files, found.directories, VERBATIM)
    refill = look_and_plan(place, before)
    assert refill is not None
    assert refill.write == ()
    assert do(place, refill).files.keys() == {b"a"}
    assert (place / "a").read_bytes() == CONTENT[b"a"]


def test_a_second_name_of_a_file_is_cut_off(place: Path, tmp_path: Path) -> None:
    before = filled(place)
    os.link(place / "a", tmp_path / "outside")
    do(place, look_and_plan(place, before))
    assert (place / "a").stat().st_ino != (tmp_path / "outside").stat().st_ino


def test_r_x5_a_link_that_appears_after_the_look_is_not_followed(place: Path, tmp_path: Path) -> None:
    before = filled(place)
    (place / "deep/b").unlink()
    refill = look_and_plan(place, before)
    (place / "deep").rename(place / "aside")
    (tmp_path / "outside").mkdir()
    (place / "deep").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        do(place, refill)
    assert not list((tmp_path / "outside").iterdir())


def test_a_file_becomes_a_link_and_a_directory_a_file(place: Path) -> None:
    before = filled(place)
    entries = {b"a": Entry(SYMLINK, blob_id(b"a")), b"deep": Entry(FILE, blob_id(b"new\n"))}
    do(place, look_and_plan(place, before, entries), entries)
    assert (place / "a").readlink() == Path("a")
    assert (place / "deep").read_text() == "new\n"


def test_changed_permissions_of_a_directory_or_very_many_files_are_left_to_git(place: Path) -> None:
    before = filled(place)
    many = ENTRIES | {b"%d" % n: ENTRIES[b"a"] for n in range(MOST_FILES + 1)}
    assert look_and_plan(place, before, many) is None
    (place / "deep").chmod(0o500)
    assert look_and_plan(place, before) is None
