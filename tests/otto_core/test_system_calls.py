"""A small run cut off in the middle of its system calls: every one that makes something last.

In the repository, the run is killed at its first `rename`, at its second, and so on until one is left alone;
likewise for each call that gives a file a name or takes it away, makes or removes a directory, writes or
syncs. And every sync fails once, as that of a dying disk does. In the worktrees and beside them, with other
settings and as another user, a sample does where a call occurs often: `sweeps.MOST` or fewer, evenly from the
first to the last. Not cut off here are the commands of tasks, and what git itself starts.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import isolate
from tests.otto_core.failpoints import Kill, Otto
from tests.otto_core.sandboxes import NAMESPACE
from tests.otto_core.sweeps import (
    MOST,
    NAMES,
    PLACES,
    REMOVALS,
    SYNCS,
    WRITES,
    Files,
    GitSweep,
    Sweep,
    Way,
    Where,
    before_git,
    killed,
    loud_or_right,
    why_not,
)

STARTS = (Kill("process.start", "after", 3), Kill("ref.tip", "within", 3))
"""Two ways to die before a recovery: with an attempt under way, and in a landing."""

LINKED: Final[Files] = {"otto.yaml": "worktrees: {isolation: linked}\n"}
CONVERTING: Final[Files] = {".gitattributes": "*.txt text\n"}
"""Files by which git, not Otto itself, fills every worktree and captures what was written."""

NOBODY = 65534

WHY_NOT = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture(scope="module")
def otto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otto]:
    with Otto(tmp_path_factory.mktemp("otto")) as process:
        yield process


def require_all_well(sweep: Sweep) -> None:
    assert sweep.wrong == []
    assert sweep.swept > 0
    assert sweep.went_on <= sweep.swept // 10, "how many calls there are depends on the time a little"


@pytest.mark.parametrize(
    "calls", [NAMES, REMOVALS, PLACES, SYNCS, WRITES], ids=["names", "removals", "places", "syncs", "writes"]
)
def test_i9_a_build_killed_at_any_system_call_that_lasts_ends_as_an_undisturbed_one(
    otto: Otto, tmp_path: Path, calls: Sequence[str]
) -> None:
    sweep = Sweep(otto, tmp_path, calls)
    sweep.demand(killed)
    require_all_well(sweep)


@pytest.mark.parametrize(
    "calls", [NAMES, REMOVALS, PLACES, WRITES], ids=["names", "removals", "places", "writes"]
)
def test_i7_i9_a_build_killed_while_it_changes_a_worktree_ends_as_an_undisturbed_one(
    otto: Otto, tmp_path: Path, calls: Sequence[str]
) -> None:
    sweep = Sweep(otto, tmp_path, calls, where="pool", most=MOST)
    sweep.demand(killed)
    require_all_well(sweep)


@pytest.mark.parametrize("start", STARTS, ids=str)
def test_i9_a_recovery_killed_at_any_system_call_that_lasts_is_gone_on_with(
    otto: Otto, tmp_path: Path, start: Kill
) -> None:
    sweep = Sweep(otto, tmp_path, (*NAMES, *SYNCS), start=start)
    sweep.demand(killed)
    require_all_well(sweep)


@pytest.mark.parametrize("start", STARTS, ids=str)
def test_i7_i9_a_recovery_killed_while_it_changes_a_worktree_is_gone_on_with(
    otto: Otto, tmp_path: Path, start: Kill
) -> None:
    calls = (*NAMES, *REMOVALS, *PLACES)
    sweep = Sweep(otto, tmp_path, calls, start=start, where="pool", most=MOST // 6)
    sweep.demand(killed)
    require_all_well(sweep)


def test_a_disk_that_fails_to_sync_once_is_told_or_does_no_harm(otto: Otto, tmp_path: Path) -> None:
    sweep = Sweep(otto, tmp_path, SYNCS, "error=EIO")
    sweep.demand(loud_or_right)
    assert sweep.wrong == []
    assert sweep.swept > 0


# --- git children


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Otto, Path]]:
    """Give an `otto` and the `git` that stands before its own."""
    program, environment = before_git(tmp_path_factory.mktemp("bin"))
    with Otto(tmp_path_factory.mktemp("otto"), environment) as process:
        yield process, program


@pytest.mark.parametrize("way", ["with Otto", "outlives Otto"])
def test_i9_a_build_killed_while_a_git_of_its_own_writes_ends_as_an_undisturbed_one(
    before: tuple[Otto, Path], tmp_path: Path, way: Way
) -> None:
    otto, program = before
    sweep = GitSweep(otto, tmp_path, program, way=way, files=CONVERTING)
    sweep.demand(killed)
    require_all_well(sweep)


def test_a_git_killed_alone_at_any_of_its_calls_is_told_or_does_no_harm(
    before: tuple[Otto, Path], tmp_path: Path
) -> None:
    otto, program = before
    sweep = GitSweep(otto, tmp_path, program, way="alone", files=CONVERTING)
    sweep.demand(loud_or_right)
    assert sweep.wrong == []
    assert sweep.swept > 0


# --- other settings, another user


def test_i8_i9_a_build_in_linked_worktrees_killed_at_its_system_calls_ends_as_an_undisturbed_one(
    otto: Otto, tmp_path: Path
) -> None:
    sweep = Sweep(otto, tmp_path, (*NAMES, *REMOVALS), where="both", most=MOST // 3, files=LINKED)
    sweep.demand(killed)
    require_all_well(sweep)


@NAMESPACE
def test_i9_i13_a_build_in_a_namespace_killed_at_its_system_calls_ends_as_an_undisturbed_one(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Otto(tmp_path_factory.mktemp("otto"), {"OTTO_SANDBOX": "bwrap"}) as otto:
        sweep = Sweep(otto, tmp_path, (*NAMES, *REMOVALS), where="both", most=MOST // 3)
        sweep.demand(killed)
    require_all_well(sweep)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Otto, Path]]:
    """Give an `otto` that runs as another user, with a home of that one's, and where it may write."""
    with tempfile.TemporaryDirectory(prefix="otto-") as name:
        place = Path(name)
        (place / "home").mkdir()
        (place / "otto").mkdir()
        isolate(monkeypatch, place / "home")
        monkeypatch.setenv("SUDO_UID", str(NOBODY))  # so git lets root look at that one's repositories
        with Otto(place / "otto", user=NOBODY) as otto:
            otto.give(place)
            yield otto, place


@pytest.mark.skipif(os.getuid() != 0, reason="this is not root, so every test here is as another user")
@pytest.mark.parametrize(
    ("calls", "where"), [(NAMES, "both"), ((*REMOVALS, *PLACES), "both")], ids=["names", "removals, places"]
)
def test_i9_a_build_of_a_user_other_than_root_that_is_killed_ends_as_an_undisturbed_one(
    nobody: tuple[Otto, Path], calls: Sequence[str], where: Where
) -> None:
    otto, place = nobody
    sweep = Sweep(otto, place, calls, where=where, most=MOST // 4)
    sweep.demand(killed)
    require_all_well(sweep)
