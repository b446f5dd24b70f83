"""Trees too deep for a program's stack, for the files it may have open, or for the length of a path."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otto_core import places
from otto_core.disk import taken_bytes
from otto_core.examination import examine
from otto_core.git.repository import GitRepository
from otto_core.places import remove
from otto_core.scan import files_below
from tests.builders import make_repo
from tests.otto_core.cleans import DRY, cleaned, kept, pool
from tests.otto_core.runs import feature, run_and_merge

DEEP = 1_100
"""More than Python lets a function call itself."""

LONGER_THAN_A_PATH = 2_100


@pytest.fixture(autouse=True)
def swept(tmp_path: Path, hermetic: Path) -> Iterator[None]:
    """Remove what the tests' own clean-up cannot."""
    yield
    subprocess.run(["rm", "-rf", str(tmp_path / "deep"), str(hermetic / ".cache")], check=True)


@contextmanager
def few_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 70, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def dig(place: Path, depth: int, mode: int = 0o700) -> None:
    """Make directories in each other, each with a file and a link beside the next."""
    place.mkdir()
    at = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=at))
        os.symlink("/", "link", dir_fd=at)
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.fchmod(at, mode)
        os.close(at)
        at = below
    os.close(at)


@pytest.mark.parametrize(
    ("depth", "mode"),
    [(0, 0), (48, 0), (49, 0), (50, 0), (51, 0), (DEEP, 0o500), (LONGER_THAN_A_PATH, 0o700)],
)
def test_a_tree_is_removed_however_deep_it_is(tmp_path: Path, depth: int, mode: int) -> None:
    (tmp_path / "outside").write_text("stays")
    dig(tmp_path / "deep", depth, mode)
    with few_open_files():
        remove(tmp_path / "deep")
    assert [place.name for place in tmp_path.iterdir()] == ["outside"]


def test_a_name_in_a_tree_that_is_removed_is_no_obstacle(tmp_path: Path) -> None:
    dig(tmp_path / "deep", 200)
    (tmp_path / "deep/deep-0").mkdir()
    (tmp_path / "deep/deep-1").symlink_to(tmp_path)
    remove(tmp_path / "deep")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_removed_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("stays")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    remove(tmp_path / "link")
    remove(tmp_path / "nothing")
    assert list(tmp_path.rglob("*")) == [tmp_path / "real", tmp_path / "real/file"]


@pytest.mark.parametrize("before", ["nothing", "a file", "a link"])
def test_i7_a_directory_that_another_makes_meanwhile_stays_with_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Two attempts that end at once set their worktrees aside below one directory, which either makes."""
    place, look = tmp_path / "kept", places._is_directory
    looked: list[Path] = []
    if before == "a file":
        place.touch()
    elif before == "a link":
        place.symlink_to(tmp_path)

    def look_and_be_overtaken(path: Path) -> bool:
        found = look(path)
        if not looked:
            place.unlink(missing_ok=True)
            (place / "one.1").mkdir(parents=True)
        looked.append(path)
        return found

    monkeypatch.setattr(places, "_is_directory", look_and_be_overtaken)
    places.ensure_directory(place)
    assert (place / "one.1").is_dir()


def test_the_files_of_a_tree_are_listed_however_deep_it_is(tmp_path: Path) -> None:
    dig(tmp_path / "deep", DEEP)
    found = list(files_below(os.fsencode(tmp_path / "deep")))
    assert len(found) == 2 * DEEP
    assert taken_bytes(tmp_path / "deep") < 2 * DEEP * 4_096


DIGS = f"""import os, sys
for _ in range({DEEP}):
    os.mkdir(sys.argv[1]); os.chdir(sys.argv[1])
open("f", "w").close()
"""


def test_deep_worktrees_that_were_set_aside_hinder_neither_otto_clean_nor_otto_doctor(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {"README.md": "x\n", ".gitignore": "i/\n"})
    (tmp_path / "dig.py").write_text(DIGS)
    digs = f"{sys.executable} {tmp_path}/dig.py"
    run = run_and_merge(
        repo,
        feature("held", f"echo x > held.txt; {digs} i"),
        feature("mine", f"{digs} d", owns=["d/**"], max_attempts=1),
        keep_worktrees=True,
    )
    [disk] = [found for found in examine(GitRepository.discover(repo)) if found.check == "disk"]
    assert disk.level == "ok"
    place = pool(run) / "kept" / run.id / "mine.1"
    assert kept(cleaned(repo, DRY)) == {}
    assert kept(cleaned(repo)) == {str(place): "no commit holds all that is in it"}
    assert [one.name for one in place.parent.iterdir()] == ["mine.1"]
