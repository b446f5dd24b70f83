"""Disk: what worktrees take, and places that are full, read-only or another file system."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from merge.objects import Oid
from otto_core import disk
from otto_core.disk import format_bytes, room_for, slots_of, taken_bytes
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome, ReasonKind
from otto_core.resume import Limits, resume
from tests.builders import git, make_repo
from tests.otto_core.held import newest
from tests.otto_core.runs import feature, reason_of, run_plan, writes


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"README.md": "Start.\n", "large": "x" * 10_000})


def tell_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 0, free))


def configure(repo: Path, root: Path) -> None:
    (repo / "otto.yaml").write_text(f"concurrency: 2\nworktrees: {{root: '{root}', ports: 0}}\n")
    git(repo, "add", "otto.yaml")
    git(repo, "commit", "-qm", "Configure")


def test_r_s5_what_worktrees_take_is_measured_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "pool/slot-0").mkdir(parents=True)
    (tmp_path / "pool/check-0").mkdir()
    (tmp_path / "pool/kept").mkdir()
    (tmp_path / "outside").write_bytes(b"x" * 1_000_000)
    (tmp_path / "pool/slot-0/file").write_bytes(os.urandom(100_000))
    (tmp_path / "pool/slot-0/again").hardlink_to(tmp_path / "pool/slot-0/file")
    (tmp_path / "pool/slot-0/link").symlink_to(tmp_path / "outside")
    assert 100_000 <= taken_bytes(tmp_path / "pool") < 500_000
    assert 100_000 <= taken_bytes(tmp_path / "pool/slot-0/file", tmp_path / "pool/slot-0/again") < 200_000
    assert taken_bytes(tmp_path / "pool/slot-0/link") < 100_000
    assert taken_bytes(tmp_path / "nowhere") == 0
    assert [slot.name for slot in slots_of(tmp_path / "pool")] == ["check-0", "slot-0"]


def test_r_s5_only_worktrees_that_are_not_there_need_room(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = GitRepository.discover(repo)
    base = Oid(hex=git(repo, "rev-parse", "HEAD"))
    tell_free(monkeypatch, 80_000)
    (tmp_path / "pool/slot-0").mkdir(parents=True)
    room = room_for(tmp_path / "pool", repository, base, attempts=4, checks=1)
    assert (room.missing, room.needed_bytes, room.short) == (4, 4 * (4_096 + 12_288), False)
    assert room_for(tmp_path / "pool", repository, base, attempts=6, checks=1).short
    assert room_for(tmp_path / "pool", repository, base, attempts=1, checks=0).missing == 0


def test_r_s5_a_run_warns_before_worktrees_exceed_the_disk(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_free(monkeypatch, 20_000)
    told: list[str] = []
    run_plan(repo, writes("one"), writes("two"), warn=told.append)
    assert len(told) == 1
    assert told[0].startswith("2 new worktrees take about 33 kB, and 20 kB are free at ")
    told.clear()
    monkeypatch.setattr(disk, "PLENTY", 0)
    run_plan(repo, writes("one"), warn=told.append)
    assert told == []


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 kB"), (640_400, "640 kB"), (1_250_000, "1.2 MB"), (77_900_000_000, "77.9 GB")]
)
def test_bytes_are_written_for_a_person(count: int, words: str) -> None:
    assert format_bytes(count) == words


def test_a_root_that_cannot_be_made_ends_the_command_with_what_to_do(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    configure(repo, tmp_path / "file/pool")
    with pytest.raises(RepositoryUnusable, match="cannot be used") as caught:
        run_plan(repo, writes("one"))
    assert "worktrees.root" in caught.value.hint


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 400 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_root_on_another_file_system_works(repo: Path, small: Path) -> None:
    configure(repo, small / "pool")
    assert run_plan(repo, writes("one")).outcome is Outcome.LANDED


def test_a_root_that_an_attempt_fills_fails_the_attempt_and_loses_none(repo: Path, small: Path) -> None:
    configure(repo, small / "pool")
    fills = "head -c 2000000 /dev/zero > mine.txt && echo written"
    run = run_plan(repo, feature("mine", fills, max_attempts=2))
    assert reason_of(run, "mine").kind is ReasonKind.AGENT_FAILED
    assert len(run.tasks["mine"].attempts) == 2
    assert all(attempt.end is not None for attempt in run.tasks["mine"].attempts)


def test_a_root_that_is_full_or_read_only_ends_the_command_before_any_attempt(
    repo: Path, small: Path
) -> None:
    configure(repo, small / "pool")
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(RepositoryUnusable, match="Read-only file system"):
        run_plan(repo, writes("one"))
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    (small / "filler").write_bytes(b"x" * 390_000)
    with pytest.raises(RepositoryUnusable, match=r"unable to write|[Nn]o space left"):
        run_plan(repo, writes("one"))


def test_a_disk_that_is_full_by_the_time_an_attempt_begins_stops_the_run_and_costs_the_attempt_nothing(
    repo: Path, small: Path, tmp_path: Path
) -> None:
    """The setup fills the disk to the last byte, so what Otto writes before the command cannot be written."""
    filled = tmp_path / "filled"
    fills = f"mkdir -p deps; test -e {filled} || head -c 1000000 /dev/zero > {small}/filler; touch {filled}"
    (repo / ".gitignore").write_text("deps/\n")
    configuration = f"worktrees: {{root: '{small}/pool', ports: 0, setup: ['{fills}']}}\n"
    (repo / "otto.yaml").write_text(configuration)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "Configure")
    with pytest.raises(RepositoryUnusable, match="No space left"):
        run_plan(repo, writes("one") | {"max_attempts": 1})
    run = newest(repo)
    assert run.outcome is Outcome.INTERRUPTED
    (small / "filler").unlink()
    assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.LANDED
