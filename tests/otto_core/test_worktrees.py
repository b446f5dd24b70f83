"""Slots: their reset, their isolation from the user's repository, their locks."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from merge.patterns import PathSet
from otto_core.git.repository import GitRepository
from otto_core.slots import Slot, borrow
from otto_core.snapshot import capture
from otto_core.worktrees import overlay, reset


def git(place: Path, *args: str) -> str:
    return subprocess.run(
        ["git", "-C", str(place), *args], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A repository with nested files, a link, an executable, and an ignore file."""
    place = tmp_path / "user"
    (place / "src/deep").mkdir(parents=True)
    (place / "src/deep/a.py").write_text("a = 1\n")
    (place / "run.sh").write_text("#!/bin/sh\n")
    (place / "run.sh").chmod(0o755)
    (place / "link").symlink_to("src/deep/a.py")
    (place / ".gitignore").write_text("*.log\n")
    git(tmp_path, "init", "-q", "user")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "start")
    return place


@pytest.fixture
def slot(tmp_path: Path, user: Path) -> Slot:
    made = Slot.below(tmp_path / "pool", "slot-0")
    repository = GitRepository.discover(user)
    reset(made, repository, repository.resolve("HEAD"))
    return made


def listing(place: Path) -> set[str]:
    return {
        str(path.relative_to(place))
        for path in place.rglob("*")
        if ".git" not in path.relative_to(place).parts and (path.is_file() or path.is_symlink())
    }


FILES = {"src/deep/a.py", "run.sh", "link", ".gitignore"}


def test_a_slot_holds_exactly_the_tree(slot: Slot) -> None:
    assert listing(slot.path) == FILES
    assert os.access(slot.path / "run.sh", os.X_OK)
    assert (slot.path / "link").readlink() == Path("src/deep/a.py")


def test_git_status_in_a_fresh_slot_is_clean_and_head_is_the_base(slot: Slot, user: Path) -> None:
    assert git(slot.path, "status", "--porcelain") == ""
    assert git(slot.path, "rev-parse", "HEAD") == git(user, "rev-parse", "HEAD")


def _litter(place: Path) -> None:
    (place / "src/deep/a.py").write_text("a = 2\n")
    (place / "run.sh").unlink()
    (place / "link").unlink()
    (place / "link").mkdir()
    (place / "link/inside").write_text("x")
    (place / "debug.log").write_text("ignored, and still not ours")
    subprocess.run(["git", "init", "-q", str(place / "nested")], check=True)
    os.mkfifo(place / "pipe")


def _spoil_git(place: Path) -> None:
    (place / ".git/index").write_bytes(b"not an index")
    (place / ".git/HEAD").unlink()


def _replace_git(place: Path) -> None:
    subprocess.run(["rm", "-rf", str(place / ".git")], check=True)
    (place / ".git").write_text("gitdir: /nonexistent\n")


def _forbid(place: Path) -> None:
    (place / "src/new").mkdir()
    (place / "src/new/file").write_text("x")
    (place / "src/new").chmod(0o500)


def _vanish(place: Path) -> None:
    subprocess.run(["rm", "-rf", str(place)], check=True)


def _take_permissions(place: Path) -> None:
    (place / "src/deep").chmod(0o500)


def _empty_directories(place: Path) -> None:
    (place / "empty/below").mkdir(parents=True)


def _repository_within(place: Path) -> None:
    subprocess.run(["git", "init", "-q", str(place / "src")], check=True)


def _link_for_directory(place: Path) -> None:
    (place / "src").rename(place / "elsewhere")
    (place / "src").symlink_to("elsewhere")


def _fifo_for_file(place: Path) -> None:
    (place / "run.sh").unlink()
    os.mkfifo(place / "run.sh")


def _same_size_same_times(place: Path) -> None:
    path = place / "src/deep/a.py"
    times = path.stat()
    path.write_text("a = 3\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _nothing(_place: Path) -> None:
    pass


SPOILED = [
    _litter,
    _spoil_git,
    _replace_git,
    _forbid,
    _vanish,
    _take_permissions,
    _empty_directories,
    _repository_within,
    _link_for_directory,
    _fifo_for_file,
    _same_size_same_times,
    _nothing,
]


@pytest.mark.parametrize("known", [True, False], ids=["known", "from another run"])
@pytest.mark.parametrize("moved", [False, True], ids=["same tree", "another tree"])
@pytest.mark.parametrize("spoil", SPOILED)
def test_reset_brings_any_slot_back_to_the_tree(
    spoil: Callable[[Path], None], slot: Slot, user: Path, moved: bool, known: bool
) -> None:
    wanted = FILES | ({"src/deep/b.py", "new/c.py"} if moved else set())
    if moved:
        (user / "src/deep/b.py").write_text("b = 1\n")
        (user / "new").mkdir()
        (user / "new/c.py").write_text("c = 1\n")
        git(user, "add", "-A")
        git(user, "commit", "-qm", "more")
    spoil(slot.path)
    repository = GitRepository.discover(user)
    if not known:
        slot.filling = None
    reset(slot, repository, repository.resolve("HEAD"))
    assert listing(slot.path) == wanted
    assert not [
        place
        for place in slot.path.rglob("*")
        if place.is_dir() and not any(place.iterdir()) and ".git" not in place.relative_to(slot.path).parts
    ]
    assert (slot.path / "src/deep/a.py").read_text() == "a = 1\n"
    assert os.access(slot.path / "run.sh", os.X_OK)
    assert (slot.path / "src/deep").stat().st_mode & 0o700 == 0o700
    assert git(slot.path, "status", "--porcelain", "--ignored") == ""
    assert git(slot.path, "fsck", "--strict") == ""


CRLF = "*.txt text eol=crlf\n"
TURNED = "*.txt filter=turn\n"
CONVERTING = {
    "the attributes go": (CRLF, None, b"one\ntwo\n"),
    "the attributes come": (None, CRLF, b"one\r\ntwo\r\n"),
    "the attributes change": (CRLF, "*.txt text eol=lf\n", b"one\ntwo\n"),
    "a filter goes": (TURNED, "*.md text\n", b"one\ntwo\n"),
    "a filter comes": (None, TURNED, b"bar\ngjb\n"),
}


@pytest.mark.parametrize("known", [True, False], ids=["known", "from another run"])
@pytest.mark.parametrize("name", CONVERTING)
def test_a_tree_that_converts_in_another_way_has_its_files_written_anew(
    name: str, tmp_path: Path, user: Path, known: bool
) -> None:
    before, after, wanted = CONVERTING[name]
    for side in ("clean", "smudge"):
        git(user, "config", f"filter.turn.{side}", "tr a-z n-za-m")
    commits = [commit_with(user, attributes) for attributes in (before, after)]
    repository = GitRepository.discover(user)
    slot = Slot.below(tmp_path / "pool", "slot-0")
    reset(slot, repository, repository.resolve(commits[0]))
    if not known:
        slot = Slot.below(tmp_path / "pool", "slot-0")
        repository = GitRepository.discover(user)
    reset(slot, repository, repository.resolve(commits[1]))
    assert (slot.path / "a.txt").read_bytes() == wanted
    (slot.path / "a.txt").write_bytes(wanted + wanted[len(wanted) // 2 :])
    [change] = capture(slot, repository, PathSet.parse(["**"]), 10**6).changes
    assert change.new is not None
    assert repository.blob(change.new.oid) == b"one\ntwo\ntwo\n"


@pytest.mark.parametrize("known", [True, False], ids=["known", "from another run"])
def test_attributes_that_an_attempt_left_convert_nothing_at_the_next_reset(
    tmp_path: Path, user: Path, known: bool
) -> None:
    first = commit_with(user, "*.md text\n")
    slot, repository = Slot.below(tmp_path / "pool", "slot-0"), GitRepository.discover(user)
    reset(slot, repository, repository.resolve(first))
    (slot.path / "src/.gitattributes").write_text("* text eol=crlf\n")
    (user / "src/deep/a.py").write_text("a = 2\n")
    git(user, "commit", "-qam", "more")
    if not known:
        slot.filling = None
    reset(slot, repository, repository.resolve("HEAD"))
    assert listing(slot.path) == FILES | {"a.txt", ".gitattributes"}
    assert (slot.path / "src/deep/a.py").read_bytes() == b"a = 2\n"


def test_a_tree_laid_over_a_slot_is_converted_by_the_base(slot: Slot, user: Path) -> None:
    over = commit_with(user, CRLF)
    repository = GitRepository.discover(user)
    assert overlay(slot, repository, repository.tree_of(repository.resolve(over)))
    assert (slot.path / "a.txt").read_bytes() == b"one\ntwo\n"
    changes = capture(slot, repository, PathSet.parse(["**"]), 10**6).changes
    assert {change.path: repository.blob(change.new.oid) for change in changes if change.new} == {
        b".gitattributes": CRLF.encode(),
        b"a.txt": b"one\ntwo\n",
    }


def commit_with(user: Path, attributes: str | None) -> str:
    """Commit a file as it is, whatever the attributes say that lie beside it."""
    (user / "a.txt").write_bytes(b"one\ntwo\n")
    blob = git(user, "hash-object", "-w", "--no-filters", "a.txt")
    git(user, "update-index", "--add", "--cacheinfo", f"100644,{blob},a.txt")
    git(user, "rm", "-q", "--cached", "--ignore-unmatch", ".gitattributes")
    if attributes is not None:
        (user / ".gitattributes").write_text(attributes)
        git(user, "add", ".gitattributes")
    git(user, "commit", "-qm", "Convert in this way")
    return git(user, "rev-parse", "HEAD")


def test_a_configuration_that_converts_in_another_way_has_its_files_written_anew(
    slot: Slot, user: Path
) -> None:
    for value, wanted in (("true", b"a = 1\r\n"), ("false", b"a = 1\n")):
        git(user, "config", "core.autocrlf", value)
        repository = GitRepository.discover(user)
        slot = Slot.below(slot.path.parent, "slot-0")
        reset(slot, repository, repository.resolve("HEAD"))
        assert (slot.path / "src/deep/a.py").read_bytes() == wanted


WITHOUT_OVERRIDE = "-dac_override,-dac_read_search"


def as_a_plain_user(*args: str) -> None:
    """Run a module of the tests under the file permissions that hold for everyone but root."""
    command = [sys.executable, "-m", "tests.otto_core.shut_slot", *args]
    if os.geteuid() == 0:
        shed = ["setpriv", f"--bounding-set={WITHOUT_OVERRIDE}", f"--inh-caps={WITHOUT_OVERRIDE}"]
        if which("setpriv") is None or subprocess.run([*shed, "true"], check=False).returncode != 0:
            pytest.skip("root's override of permissions cannot be dropped here: setpriv does not work")
        command = [*shed, *command]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["555", "000", "600"])
@pytest.mark.parametrize("way", ["reset", "reset from another run", "set aside"])
def test_a_slot_whose_own_directory_an_attempt_shut_is_used_again(
    way: str, mode: str, tmp_path: Path, user: Path
) -> None:
    as_a_plain_user(str(tmp_path / "pool"), str(user), mode, way)
    slot = Slot.below(tmp_path / "pool", "slot-0")
    assert listing(slot.path) == FILES
    assert slot.path.stat().st_mode & 0o777 == 0o700


def test_r_x5_config_hooks_stash_and_refs_made_in_a_slot_do_not_reach_the_user(
    slot: Slot, user: Path
) -> None:
    before = snapshot_of(user)
    git(slot.path, "config", "core.pager", "evil")
    (slot.path / ".git/hooks").mkdir(exist_ok=True)
    (slot.path / ".git/hooks/post-commit").write_text("#!/bin/sh\n")
    (slot.path / "src/deep/a.py").write_text("stashed\n")
    git(slot.path, "stash")
    git(slot.path, "branch", "mine")
    git(slot.path, "commit", "-q", "--allow-empty", "-m", "agent")
    git(slot.path, "gc", "-q", "--prune=now")
    assert snapshot_of(user) == before


def snapshot_of(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
    }


def test_two_borrowers_never_share_a_slot_and_a_returned_one_is_used_again(tmp_path: Path) -> None:
    with borrow(tmp_path / "pool", "slot") as first, borrow(tmp_path / "pool", "slot") as second:
        assert first.path != second.path
    with borrow(tmp_path / "pool", "slot") as again:
        assert again.path == first.path


def test_a_shallow_clone_gives_working_slots(tmp_path: Path, user: Path) -> None:
    git(user, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{user}", "shallow")
    repository = GitRepository.discover(tmp_path / "shallow")
    slot = Slot.below(tmp_path / "pool", "slot-0")
    reset(slot, repository, repository.resolve("HEAD"))
    assert listing(slot.path) == FILES
    assert git(slot.path, "log", "--format=%s") == "second"
