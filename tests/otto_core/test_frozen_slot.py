"""A task that runs as root can make its worktree immutable: it stops no attempt or run, and is not lost."""

import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otto_core.aside import find_aside
from otto_core.examination import examine
from otto_core.findings import Finding
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome, TaskStatus
from otto_core.places import is_frozen, thaw
from otto_core.resume import Limits, resume
from tests.builders import git
from tests.otto_core.cleans import cleaned, kept, pool
from tests.otto_core.held import Otto
from tests.otto_core.runs import feature, run_and_merge, run_plan, writes

SETS_FLAGS = """\
import fcntl, os, struct, sys
flags = struct.pack("l", int(sys.argv[2]))
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x40006602 | len(flags) << 16, flags)
"""
"""FS_IOC_SETFLAGS, as chattr(1) uses it."""
IMMUTABLE, APPEND_ONLY, NO_DUMP = 0x10, 0x20, 0x40


def set_flags(place: Path, flags: int) -> bool:
    command = [sys.executable, "-c", SETS_FLAGS, str(place), str(flags)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def flags_of(place: Path) -> int:
    """Read them by FS_IOC_GETFLAGS, as lsattr(1) does."""
    directory = os.open(place, os.O_RDONLY)
    try:
        answer = fcntl.ioctl(directory, 0x80006601 | struct.calcsize("l") << 16, bytes(struct.calcsize("l")))
    finally:
        os.close(directory)
    return int(struct.unpack("l", answer)[0])


@pytest.fixture
def freezes(tmp_path: Path, hermetic: Path) -> Iterator[str]:
    """Give a command that makes the directory that it works in immutable."""
    probe = hermetic / "probe"
    probe.mkdir()
    if not set_flags(probe, IMMUTABLE):
        pytest.skip("only root may make a directory immutable, where the file system and the machine let it")
    set_flags(probe, 0)
    script = tmp_path / "sets_flags.py"
    script.write_text(SETS_FLAGS)
    yield f"{sys.executable} {script} . {IMMUTABLE}"
    for place in (hermetic / ".cache/otto/worktrees").glob("*/*-*"):
        set_flags(place, 0)


def found(repo: Path) -> list[Finding]:
    return [one for one in examine(GitRepository.discover(repo)) if one.check == "slots"]


@pytest.mark.usefixtures("freezes")
@pytest.mark.parametrize("flags", [IMMUTABLE, APPEND_ONLY])
def test_what_may_not_be_changed_is_seen(tmp_path: Path, flags: int) -> None:
    place = tmp_path / "place"
    place.mkdir()
    assert not is_frozen(place)
    set_flags(place, flags)
    assert is_frozen(place)
    set_flags(place, 0)
    assert not is_frozen(place)


def test_nothing_that_is_no_directory_is_frozen(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    assert not any(is_frozen(tmp_path / name) for name in ("link", "file", "nothing"))


def test_the_next_attempt_and_the_next_task_work_elsewhere(repo: Path, freezes: str) -> None:
    first = feature("one", f"echo 1 > one.txt; test $OTTO_ATTEMPT = 2 || {{ {freezes}; exit 1; }}")
    second = feature("two", f"echo 2 > two.txt; {freezes}", depends_on=["one"])
    run = run_plan(repo, first, second, {**writes("three"), "depends_on": ["two"]})
    assert run.outcome is Outcome.LANDED
    assert [place.name for place in sorted(pool(run).glob("slot-*")) if is_frozen(place)] == [
        "slot-0",
        "slot-1",
    ]
    assert run_plan(repo, writes("four")).outcome is Outcome.LANDED


def test_a_killed_attempt_there_is_kept_and_the_run_goes_on(repo: Path, tmp_path: Path, freezes: str) -> None:
    with Otto.at(repo, tmp_path / "signals") as otto:
        run = otto.build(otto.holds("one", freezes))
        otto.kill()
        otto.let_go("one")
        run = resume(GitRepository.discover(repo), run.id, Limits())
    assert run.outcome is Outcome.LANDED
    salvaged = f"refs/otto/runs/{run.id}/tasks/one/salvage-1"
    assert git(repo, "show", f"{salvaged}:one.txt") == "one"


@pytest.mark.parametrize("flags", [IMMUTABLE, APPEND_ONLY, IMMUTABLE | APPEND_ONLY])
@pytest.mark.usefixtures("freezes")
def test_what_may_not_be_changed_can_be_thawed(tmp_path: Path, flags: int) -> None:
    place = tmp_path / "place"
    place.mkdir()
    set_flags(place, flags | NO_DUMP)
    assert thaw(place)
    assert not is_frozen(place)
    assert flags_of(place) & (IMMUTABLE | APPEND_ONLY | NO_DUMP) == NO_DUMP


def test_nothing_that_is_no_directory_is_thawed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    assert not any(thaw(tmp_path / name) for name in ("link", "file", "nothing"))


def test_i7_what_no_tree_can_hold_there_is_set_aside_and_the_run_goes_on(repo: Path, freezes: str) -> None:
    task = feature("one", f"echo 1 > one.txt; mkfifo pipe; {freezes}")
    run = run_plan(repo, task, writes("two"))
    assert run.tasks["two"].status is TaskStatus.LANDED
    aside = find_aside([pool(run)], run.id, "one", 1)
    assert aside is not None
    assert {"one.txt", "pipe"} <= {place.name for place in aside.iterdir()}
    assert not is_frozen(aside)


def test_the_doctor_says_which_slot_it_is_and_what_makes_it_usable_again(repo: Path, freezes: str) -> None:
    run = run_and_merge(repo, feature("one", f"echo 1 > one.txt; {freezes}"))
    slot = pool(run) / "slot-0"
    [told] = found(repo)
    assert (told.level, told.hint) == ("note", f"chattr -ia {slot}")
    assert told.message.startswith(f"{slot} was made immutable")
    assert kept(cleaned(repo))[str(slot)] == "it cannot be removed: Operation not permitted"
    set_flags(slot, 0)
    assert found(repo)[0].level == "ok"
    assert str(slot) not in kept(cleaned(repo))
