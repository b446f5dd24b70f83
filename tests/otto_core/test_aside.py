"""Worktrees that are set aside: where, and what happens where they cannot be."""

import os
from pathlib import Path

import pytest
from msgspec import structs

from otto_core.aside import find_aside, places_of, put_aside, run_of_aside
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.marker import marker_of
from otto_core.occupancy import Occupant, Work, occupant_of, occupy
from otto_core.places import identity
from otto_core.salvage import salvage
from otto_core.slots import Slot
from otto_core.worktrees import reset
from tests.builders import make_repo

LONG = "long" * 70
"""A task under whose name no directory can be made: it is over 255 bytes."""


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return GitRepository.discover(make_repo(tmp_path))


@pytest.fixture
def slot(repo: GitRepository, tmp_path: Path) -> Slot:
    """Give a slot in which there is what no tree can hold."""
    made = Slot.below(tmp_path / "pool", "slot-0")
    reset(made, repo, repo.resolve("HEAD"))
    (made.path / "precious").write_text("of an hour")
    os.mkfifo(made.path / "pipe")
    return made


def test_a_worktree_is_set_aside_by_run_task_and_attempt(slot: Slot) -> None:
    pool = slot.path.parent
    place = pool / "kept/r-1/group.one.2"
    assert put_aside(slot, "r-1", "group/one", 2) == place
    assert (place / "precious").exists()
    assert not slot.path.exists()
    assert find_aside([pool], "r-1", "group/one", 2) == place
    assert put_aside(slot, "r-1", "group/one", 2) is None, "it is gone from the slot"


@pytest.mark.parametrize("taken", ["a file", "a link to nowhere", "a link to a directory"])
def test_i7_where_its_place_is_taken_a_worktree_lies_beside_the_slots_and_no_reset_removes_it(
    slot: Slot, repo: GitRepository, tmp_path: Path, taken: str
) -> None:
    pool = slot.path.parent
    if taken == "a file":
        (pool / "kept").touch()
    else:
        (pool / "kept").symlink_to(tmp_path if "directory" in taken else tmp_path / "nowhere")
    place = pool / "kept.r-1.group.one.2"
    assert put_aside(slot, "r-1", "group/one", 2) == place
    for _ in range(2):
        reset(slot, repo, repo.resolve("HEAD"))
    assert (place / "precious").exists()
    assert find_aside([pool], "r-1", "group/one", 2) == place


def test_each_place_tells_which_run_it_is_of(tmp_path: Path) -> None:
    places = places_of(tmp_path, "r-1", "group/one", 2)
    assert [run_of_aside(tmp_path, place) for place in places] == ["r-1", "r-1"]


def test_i7_what_can_be_set_aside_nowhere_stays_with_its_note_until_it_can(
    slot: Slot, repo: GitRepository
) -> None:
    pool = slot.path.parent
    repo.store.mkdir()
    work = Work(
        run="r-1",
        task=LONG,
        attempt=1,
        base=str(repo.resolve("HEAD")),
        owns=("*",),
        max_file_bytes=1000,
        worktree=identity(slot.path),
    )
    left = Occupant(marker=marker_of(repo.store, "r-1", "one/1"), work=work)
    occupy(slot, left)
    for _ in range(2):
        with pytest.raises(RepositoryUnusable, match="cannot be kept: File name too long"):
            salvage(slot, repo)
    assert occupant_of(slot) == left
    assert (slot.path / "precious").exists()
    occupy(slot, Occupant(marker=left.marker, work=structs.replace(work, task="short")))
    salvage(slot, repo)
    assert (pool / "kept/r-1/short.1/precious").exists()
    assert occupant_of(slot) is None
