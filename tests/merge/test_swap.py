import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pygit2 import Oid, Repository
from pygit2.enums import SortMode

from merge.swap import Lost, SwapBusy, Swapped, SwapRefused, swap
from tests.builders import git, make_repo
from tests.merge.repos import Box

REF = "refs/otto/runs/r-1/tip"
ABSENT = Oid(hex="1" * 40)

# Each process adds its number of commits to one chain by swaps; a lost swap is tried again on the new tip.
CLIMB = """
import sys
import threading
from pygit2 import Oid, Repository, Signature
from merge.swap import Lost, swap
path, ref, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
repo = Repository(path)
me = Signature("a", "a@b", 1, 0)
while steps:
    tip = repo.references[ref].target
    made = repo.create_commit(None, me, me, f"{sys.argv[4]} {steps}", repo[tip].tree_id, [tip])
    steps -= not isinstance(swap(repo, ref, tip, made, wait=60.0), Lost)
"""


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "repo.git")


def value(box: Box, ref: str = REF) -> Oid | str | None:
    found = Repository(str(box.path)).references.get(ref)
    return found.target if found else None


def test_i3_a_swap_sets_the_ref_only_from_the_expected_value(box: Box) -> None:
    one, two, three = (box.commit({"a": text}) for text in "123")
    assert swap(box.repo, REF, None, one) == Swapped()
    assert swap(box.repo, REF, one, two) == Swapped()
    assert swap(box.repo, REF, one, three) == Lost(two)
    assert value(box) == two


def test_a_ref_is_created_only_where_none_is(box: Box) -> None:
    one, two = box.commit({"a": "1"}), box.commit({"a": "2"})
    assert swap(box.repo, REF, one, two) == Lost(None)
    assert value(box) is None
    assert swap(box.repo, REF, None, one) == Swapped()
    assert swap(box.repo, REF, None, two) == Lost(one)


def test_a_packed_ref_is_compared_too(box: Box) -> None:
    one, two = box.commit({"a": "1"}), box.commit({"a": "2"})
    swap(box.repo, REF, None, one)
    box.git("pack-refs", "--all")
    assert swap(box.repo, REF, None, two) == Lost(one)
    assert swap(box.repo, REF, one, two) == Swapped()
    assert value(box) == two


def test_a_value_that_does_not_exist_is_an_error(box: Box) -> None:
    with pytest.raises(ValueError, match="not in the repository"):
        swap(box.repo, REF, None, ABSENT)
    assert value(box) is None


def test_a_symbolic_ref_is_refused(box: Box) -> None:
    one = box.commit({"a": "1"})
    box.git("symbolic-ref", REF, "refs/heads/main")
    with pytest.raises(SwapRefused, match="symbolic"):
        swap(box.repo, REF, None, one)


def test_a_ref_in_the_way_is_an_error_at_once(box: Box) -> None:
    one = box.commit({"a": "1"})
    swap(box.repo, REF, None, one)
    with pytest.raises(SwapRefused, match="cannot be written"):
        swap(box.repo, f"{REF}/below", None, one)


def test_a_lock_that_stays_is_named(box: Box) -> None:
    one, two = box.commit({"a": "1"}), box.commit({"a": "2"})
    swap(box.repo, REF, None, one)
    lock = box.path / f"{REF}.lock"
    lock.touch()
    with pytest.raises(SwapBusy, match=r"tip\.lock"):
        swap(box.repo, REF, one, two, wait=0.0)
    assert value(box) == one
    lock.unlink()
    assert swap(box.repo, REF, one, two) == Swapped()


def test_a_held_lock_is_waited_for(box: Box) -> None:
    one, two = box.commit({"a": "1"}), box.commit({"a": "2"})
    swap(box.repo, REF, None, one)
    with ThreadPoolExecutor(1) as pool:
        with Repository(str(box.path)).transaction() as holder:
            holder.lock_ref(REF)
            waiting = pool.submit(swap, Repository(str(box.path)), REF, one, two, wait=60.0)
        assert waiting.result() == Swapped()


def test_a_failure_in_between_leaves_no_lock(box: Box) -> None:
    one = box.commit({"a": "1"})
    box.git("symbolic-ref", REF, "refs/heads/main")
    with pytest.raises(SwapRefused, match="symbolic"):
        swap(box.repo, REF, None, one)
    assert not (box.path / f"{REF}.lock").exists()


def test_r_x1_racing_swaps_of_processes_lose_none(box: Box) -> None:
    swap(box.repo, REF, None, box.commit({}))
    racers = [
        subprocess.Popen([sys.executable, "-c", CLIMB, str(box.path), REF, "50", str(number)], cwd=Path.cwd())
        for number in range(4)
    ]
    assert [racer.wait() for racer in racers] == [0] * 4
    tip = value(box)
    assert isinstance(tip, Oid)
    messages = [commit.message for commit in Repository(str(box.path)).walk(tip, SortMode.TOPOLOGICAL)]
    assert len(messages) == len(set(messages)) == 201


def test_r_x1_a_race_to_create_has_one_winner(box: Box) -> None:
    candidates = [box.commit({"a": str(number)}) for number in range(8)]

    def create(number: int, ref: str) -> Swapped | Lost:
        return swap(Repository(str(box.path)), ref, None, candidates[number], wait=60.0)

    with ThreadPoolExecutor(8) as pool:
        for turn in range(25):
            ref = f"refs/otto/race/{turn}"
            outcomes = list(pool.map(create, range(8), [ref] * 8))
            [winner] = [number for number, outcome in enumerate(outcomes) if outcome == Swapped()]
            assert value(box, ref) == candidates[winner]
            assert {outcome for outcome in outcomes if outcome != Swapped()} == {Lost(candidates[winner])}


def test_a_swap_can_say_in_the_log_of_the_ref_what_it_was_for(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "second")
    first, second = (Oid(hex=git(repo, "rev-parse", name)) for name in ("main~1", "main"))
    assert swap(Repository(str(repo)), "refs/heads/main", second, first, message="otto land r-1") == Swapped()
    assert git(repo, "reflog", "-1", "--format=%gs", "main") == "otto land r-1"


def test_r_s9_the_lock_of_the_packed_refs_is_in_nobodys_way(box: Box) -> None:
    """Git holds it while it packs; one that a killed git left is nobody's to remove but a person's."""
    one, two = box.commit({"a": "1"}), box.commit({"a": "2"})
    swap(box.repo, REF, None, one)
    git(box.path, "pack-refs", "--all")
    (box.path / "packed-refs.lock").touch()
    assert swap(box.repo, REF, one, two, wait=0.0) == Swapped()
    assert value(box) == two


def test_r_s9_refs_that_git_packs_all_the_time_can_be_written(box: Box) -> None:
    """Git removes the directories of refs that it has packed, also one that was just made for a new ref."""
    commits = [box.commit({"a": str(number)}) for number in range(2)]
    done = threading.Event()

    def pack() -> None:
        while not done.is_set():
            git(box.path, "pack-refs", "--all")

    with ThreadPoolExecutor(1) as pool:
        packing = pool.submit(pack)
        try:
            for turn in range(1000):
                ref = f"refs/otto/packed/{turn}/deep/tip"
                assert swap(box.repo, ref, None, commits[0], wait=60.0) == Swapped()
                assert swap(box.repo, ref, commits[0], commits[1], wait=60.0) == Swapped()
        finally:
            done.set()
        packing.result()
    assert {value(box, f"refs/otto/packed/{turn}/deep/tip") for turn in range(1000)} == {commits[1]}
