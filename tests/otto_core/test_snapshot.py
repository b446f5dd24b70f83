"""What is captured of a worktree: a table of what an attempt may have done to it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from merge.patterns import PathSet
from merge.trees import Change
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.slots import Slot
from otto_core.snapshot import Captured, capture, require_filters
from otto_core.worktrees import reset
from tests.builders import git, make_repo

FILES = {
    ".gitignore": "*.log\nbuild/\n",
    "a.txt": "one\n",
    "dir/b.txt": "two\n",
    "dir/tracked.log": "tracked although ignored\n",
    "run.sh": "#!/bin/sh\n",
}
CAP = 1_000_000


@pytest.fixture
def user(tmp_path: Path) -> Path:
    repo = make_repo(tmp_path, {k: v for k, v in FILES.items() if k != "dir/tracked.log"})
    (repo / "dir/tracked.log").write_text(FILES["dir/tracked.log"])
    git(repo, "add", "--force", "dir/tracked.log")
    git(repo, "commit", "--quiet", "--message", "a tracked log")
    return repo


def borrowed(tmp_path: Path, user: Path) -> tuple[Slot, GitRepository]:
    slot = Slot.below(tmp_path / "pool", "slot-0")
    repository = GitRepository.discover(user)
    reset(slot, repository, repository.resolve("HEAD"))
    return slot, repository


def after(
    tmp_path: Path, user: Path, act: Callable[[Path], object], owns: tuple[str, ...] = ("*",)
) -> Captured:
    """Let `act` loose on a fresh slot and capture what it did."""
    slot, repository = borrowed(tmp_path, user)
    act(slot.path)
    return capture(slot, repository, PathSet.parse(owns), CAP)


def deeds(captured: Captured) -> list[str]:
    """Write changes as `+path`, `-path`, `~path`."""

    def sign(change: Change) -> str:
        if change.old is None:
            return "+"
        return "-" if change.new is None else "~"

    return [sign(change) + os.fsdecode(change.path) for change in captured.changes]


def _move(place: Path) -> None:
    (place / "dir/b.txt").rename(place / "moved.txt")


def _file_to_directory(place: Path) -> None:
    (place / "a.txt").unlink()
    (place / "a.txt").mkdir()
    (place / "a.txt/inside").write_text("x")


def _directory_to_file(place: Path) -> None:
    subprocess.run(["rm", "-r", str(place / "dir")], check=True)
    (place / "dir").write_text("x")


def _link_instead_of_file(place: Path) -> None:
    (place / "a.txt").unlink()
    (place / "a.txt").symlink_to("dir/b.txt")


def _same_size_same_times(place: Path) -> None:
    status = (place / "a.txt").stat()
    (place / "a.txt").write_text("eno\n")
    os.utime(place / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))


def _rewritten_alike(place: Path) -> None:
    content = (place / "a.txt").read_text()
    (place / "a.txt").unlink()
    (place / "a.txt").write_text(content)


def _unreadable_directory(place: Path) -> None:
    (place / "new").mkdir()
    (place / "new/file").write_text("x")
    (place / "new").chmod(0o000)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda _: None, []),
        (lambda p: (p / "a.txt").write_text("changed\n"), ["~a.txt"]),
        (lambda p: (p / "a.txt").unlink(), ["-a.txt"]),
        (lambda p: (p / "new.txt").write_text(""), ["+new.txt"]),
        (lambda p: (p / "run.sh").chmod(0o755), ["~run.sh"]),
        (lambda p: (p / "run.sh").chmod(0o640), []),
        (_move, ["-dir/b.txt", "+moved.txt"]),
        (_file_to_directory, ["-a.txt", "+a.txt/inside"]),
        (_directory_to_file, ["+dir", "-dir/b.txt", "-dir/tracked.log"]),
        (_link_instead_of_file, ["~a.txt"]),
        (_same_size_same_times, ["~a.txt"]),
        (_rewritten_alike, []),
        (lambda p: (p / "dir/tracked.log").write_text("changed\n"), ["~dir/tracked.log"]),
        (lambda p: (p / "empty").mkdir(), []),
        (_unreadable_directory, ["+new/file"]),
        (lambda p: subprocess.run(["git", "-C", str(p), "rm", "-q", "--cached", "a.txt"], check=True), []),
    ],
    ids=[
        "nothing",
        "edit",
        "delete",
        "create empty",
        "executable",
        "other permissions",
        "move",
        "file to directory",
        "directory to file",
        "link instead of file",
        "same size, forged times",
        "rewritten alike",
        "tracked though ignored",
        "empty directory",
        "directory without permissions",
        "removed from the agent's index only",
    ],
)
def test_the_tree_is_what_the_files_are(
    tmp_path: Path, user: Path, act: Callable[[Path], object], expected: list[str]
) -> None:
    captured = after(tmp_path, user, act)
    assert deeds(captured) == expected
    assert not captured.odd


def _write_ignored(place: Path) -> None:
    (place / "x.log").write_text("x")
    (place / "build").mkdir()
    (place / "build/out").write_text("x")


def test_ignored_files_are_left_out_and_named_where_the_task_owns_them(tmp_path: Path, user: Path) -> None:
    captured = after(tmp_path, user, _write_ignored, owns=("x.log",))
    assert deeds(captured) == []
    assert captured.ignored == (b"x.log",)


def _unignore(place: Path) -> None:
    (place / ".gitignore").write_text("")
    _write_ignored(place)


def test_a_gitignore_counts_as_the_attempt_left_it_only_where_the_task_owns_it(
    tmp_path: Path, user: Path
) -> None:
    own = after(tmp_path / "own", user, _unignore)
    assert deeds(own) == ["~.gitignore", "+build/out", "+x.log"]
    foreign = after(tmp_path / "foreign", user, _unignore, owns=("x.log",))
    assert deeds(foreign) == ["~.gitignore"]


def _repository_in_ignored(place: Path) -> None:
    (place / "build").mkdir()
    subprocess.run(["git", "init", "-q", str(place / "build/nested")], check=True)
    os.mkfifo(place / "pipe.log")


def test_oddities_that_are_ignored_do_no_harm(tmp_path: Path, user: Path) -> None:
    assert not after(tmp_path, user, _repository_in_ignored).odd


def _repository_over_tracked(place: Path) -> None:
    subprocess.run(["git", "init", "-q", str(place / "dir")], check=True)
    (place / "dir/b.txt").write_text("changed\n")


def test_a_nested_repository_is_told_and_its_files_are_kept_all_the_same(tmp_path: Path, user: Path) -> None:
    captured = after(tmp_path, user, _repository_over_tracked)
    assert [(odd.path, odd.what) for odd in captured.odd] == [(b"dir", "a nested Git repository")]
    assert deeds(captured) == ["~dir/b.txt"], "I7"


def test_i14_a_file_over_the_cap_is_told_with_the_limits_name_and_value(tmp_path: Path, user: Path) -> None:
    captured = after(tmp_path, user, lambda p: (p / "big").write_bytes(b"x" * (CAP + 1)))
    assert [odd.path for odd in captured.odd] == [b"big"]
    assert "`max_file_mb` = 1" in captured.odd[0].what


def with_submodule(tmp_path: Path, user: Path) -> Path:
    library = make_repo(tmp_path, name="library")
    git(user, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "sub")
    git(user, "commit", "--quiet", "--message", "a submodule")
    return user


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda _: None, []),
        (lambda p: (p / "sub").rmdir(), ["-sub"]),
        (lambda p: (p / "sub/file").write_text("x"), ["-sub", "+sub/file"]),
    ],
    ids=["untouched", "removed", "filled"],
)
def test_a_submodule_stays_unless_it_is_touched(
    tmp_path: Path, user: Path, act: Callable[[Path], object], expected: list[str]
) -> None:
    assert deeds(after(tmp_path, with_submodule(tmp_path, user), act)) == expected


def test_core_filemode_false_keeps_the_modes_of_the_base(tmp_path: Path, user: Path) -> None:
    git(user, "config", "core.fileMode", "false")
    captured = after(tmp_path, user, lambda p: (p / "run.sh").chmod(0o755))
    assert deeds(captured) == []


def test_a_filter_of_the_users_converts_both_ways(tmp_path: Path, user: Path) -> None:
    (user / ".gitattributes").write_text("*.up filter=case\n")
    git(user, "config", "filter.case.smudge", "tr a-z A-Z")
    git(user, "config", "filter.case.clean", "tr A-Z a-z")
    (user / "x.up").write_text("text\n")
    git(user, "add", "--all")
    git(user, "commit", "--quiet", "--message", "a filter")
    slot, repository = borrowed(tmp_path, user)
    assert (slot.path / "x.up").read_text() == "TEXT\n"
    (slot.path / "y.up").write_text("MORE\n")
    captured = capture(slot, repository, PathSet.parse(["*"]), CAP)
    assert deeds(captured) == ["+y.up"]
    assert git(user, "cat-file", "blob", f"{captured.tree}:y.up") == "more"


def test_crlf_content_that_the_base_holds_under_text_auto_stays_as_it_is(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {"old.txt": "one\r\ntwo\r\n"})
    (repo / ".gitattributes").write_text("* text=auto\n")
    git(repo, "add", ".gitattributes")
    git(repo, "commit", "--quiet", "--message", "attributes")
    captured = after(tmp_path, repo, lambda p: (p / "old.txt").write_bytes(b"one\r\nthree\r\n"))
    assert git(repo, "cat-file", "-s", f"{captured.tree}:old.txt") == "12"


@pytest.mark.parametrize(
    ("attributes", "config", "refused"),
    [
        ("*.bin filter=lfs", {}, True),
        ("*.bin filter=lfs", {"filter.lfs.process": "no-such-lfs filter-process"}, True),
        ("*.ipynb filter=strip", {}, False),
        ("*.ipynb filter=strip", {"filter.strip.clean": "no-such-program"}, True),
        ("*.ipynb filter=strip", {"filter.strip.clean": "cat"}, False),
        ("*.txt text", {}, False),
    ],
    ids=["lfs not set up", "lfs missing", "not configured", "program missing", "present", "no filter"],
)
def test_a_base_whose_filter_cannot_run_is_refused_before_any_work(
    tmp_path: Path, attributes: str, config: dict[str, str], refused: bool
) -> None:
    repo = make_repo(tmp_path, {".gitattributes": f"{attributes}\n"})
    for key, value in config.items():
        git(repo, "config", key, value)
    repository = GitRepository.discover(repo)
    if refused:
        with pytest.raises(RepositoryUnusable, match="filter"):
            require_filters(repository, repository.resolve("HEAD"))
    else:
        require_filters(repository, repository.resolve("HEAD"))
