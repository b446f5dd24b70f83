"""What `otto clean` removes of a pool and what it must not: slots, kept worktrees, what is planted there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from otto_core.git.repository import GitRepository
from otto_core.linked import entries
from otto_core.model import Outcome
from otto_core.refnames import run_ref, task_ref
from otto_core.resume import Limits, resume
from otto_core.slots import borrow
from otto_core.sweep import Cleaned
from tests.builders import git
from tests.otto_core.cleans import DRY, NOW, cleaned, gone, kept, pool, refs
from tests.otto_core.held import Otto, newest
from tests.otto_core.runs import feature, run_and_merge, writes


def test_r_s3_an_unfinished_attempt_in_a_slot_is_kept_as_a_commit_before_its_slot_goes(
    repo: Path, otto: Otto
) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    assert kept(cleaned(repo, DRY)) == {run.id: "it is not over: interrupted"}
    assert gone(cleaned(repo, DRY)) == {"slot-0"}
    done = cleaned(repo)
    assert gone(done) == {"slot-0"}
    assert not (pool(run) / "slot-0").exists()
    assert git(repo, "show", f"{task_ref(run.id, 'one', 'salvage-1')}:one.txt") == "one"
    otto.let_go("one")
    assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.LANDED


def test_r_s3_a_note_that_cannot_be_read_keeps_the_slot(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    note = pool(run) / ".otto/slot-0.occupant"
    note.write_text("of a later version")
    assert kept(cleaned(repo)) == {str(pool(run) / "slot-0"): "the note of who worked there cannot be read"}
    assert (pool(run) / "slot-0/one.txt").exists()


@pytest.mark.parametrize("way", ["works there", "has a file open"])
def test_r_s3_a_slot_that_a_persons_process_is_in_stays_and_says_whose(repo: Path, way: str) -> None:
    run = run_and_merge(repo, writes("one"))
    slot = pool(run) / "slot-0"
    script = {
        "works there": f"cd {slot} && cat",
        "has a file open": f"cat - {slot}/README.md 9< {slot}/README.md",
    }
    with subprocess.Popen(["sh", "-c", script[way]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(b"x")
        shell.stdin.flush()
        assert shell.stdout.read(1) == b"x"
        why = kept(cleaned(repo))[str(slot)]
        shell.stdin.close()
    assert "process " in why
    assert {"works there": "by its working directory", "has a file open": "by an open file"}[way] in why
    assert (slot / "one.txt").exists()
    assert "slot-0" in gone(cleaned(repo))


def test_a_slot_that_another_run_has_borrowed_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    with borrow(pool(run), "slot") as slot:
        assert kept(cleaned(repo)) == {str(slot.path): "it is in use by another Otto"}
        assert kept(cleaned(repo, DRY)) == kept(cleaned(repo))
        assert slot.path.exists()


def test_a_link_planted_in_place_of_a_slot_goes_and_what_it_leads_to_stays(
    repo: Path, tmp_path: Path
) -> None:
    run = run_and_merge(repo, writes("one"))
    mine = tmp_path / "mine"
    (mine / "git").mkdir(parents=True)
    (mine / "git/index").write_text("precious")
    for place in (pool(run) / "slot-0", pool(run) / ".otto/slot-0", pool(run) / ".io/slot-0"):
        shutil.rmtree(place)
        place.symlink_to(mine)
    assert kept(cleaned(repo)) == {}
    assert not os.path.lexists(pool(run) / "slot-0")
    assert (mine / "git/index").read_text() == "precious"


@pytest.mark.parametrize("name", [".otto", ".io", "kept"])
def test_a_link_planted_in_place_of_ottos_own_place_of_a_pool_keeps_all_of_it(
    repo: Path, tmp_path: Path, name: str
) -> None:
    run = run_and_merge(repo, writes("one"))
    mine = tmp_path / "mine"
    (mine / "slot-0").mkdir(parents=True)
    (mine / "slot-0/precious").write_text("mine")
    place = pool(run) / name
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(mine)
    assert kept(cleaned(repo))[str(place)].startswith("it is no directory of Otto's")
    assert (mine / "slot-0/precious").exists()
    assert (pool(run) / "slot-0").exists()


def test_the_pool_of_a_repository_that_this_one_was_copied_from_is_not_touched(
    repo: Path, tmp_path: Path
) -> None:
    run = run_and_merge(repo, writes("one"))
    copy = Path(shutil.copytree(repo, tmp_path / "copy", symlinks=True))
    assert gone(cleaned(copy)) == {run.id}
    assert (pool(run) / "slot-0/one.txt").exists()
    assert run_ref(run.id, "tip") in refs(repo)


def test_the_pool_of_a_repository_that_was_moved_is_named_and_stays(repo: Path, tmp_path: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    moved = repo.rename(tmp_path / "moved")
    [stays] = cleaned(moved).kept
    assert stays.what == str(pool(run))
    assert str(repo / ".git") in stays.why
    assert (pool(run) / "slot-0/one.txt").exists()


def test_a_worktree_that_was_kept_goes_while_its_commit_holds_all_of_it(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), writes("two"), keep_worktrees=True)
    one, two = pool(run) / "kept" / run.id / "one.1", pool(run) / "kept" / run.id / "two.1"
    (two / "one.txt").write_text("changed by a person since")
    stays = kept(cleaned(repo))
    assert stays == {str(two): "no commit holds all that is in it"}
    assert (one.exists(), two.exists()) == (False, True)
    assert newest(repo).cleaned is not None
    shutil.rmtree(two)
    assert cleaned(repo) == Cleaned((), ())


def test_r_s3_a_worktree_that_no_tree_can_hold_stays(repo: Path) -> None:
    run = run_and_merge(repo, feature("one", "echo 1 > one.txt; mkfifo pipe", max_attempts=1))
    place = pool(run) / "kept" / run.id / "one.1"
    assert kept(cleaned(repo))[str(place)] == "no commit holds all that is in it"
    assert (place / "pipe").is_fifo()


def test_a_kept_worktree_of_a_run_that_was_killed_is_of_an_interrupted_one(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one", "mkfifo pipe"))
    otto.kill()
    place = pool(run) / "kept" / run.id / "one.1"
    for order in (NOW, DRY):  # the first sets it aside
        assert kept(cleaned(repo, order))[str(place)] == f"{run.id} is not over: interrupted"
    assert (place / "pipe").is_fifo()
    otto.let_go("one")


def test_r_s3_what_was_set_aside_beside_the_slots_goes_and_stays_as_what_lies_below_kept(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), writes("two"), keep_worktrees=True)
    one, two, odd = (pool(run) / f"kept.{name}" for name in (f"{run.id}.one.1", f"{run.id}.two.1", "odd"))
    for task, place in (("one", one), ("two", two)):
        (pool(run) / "kept" / run.id / f"{task}.1").rename(place)
    (two / "one.txt").write_text("changed by a person since")
    odd.write_text("of a person")
    assert kept(cleaned(repo)) == {
        str(two): "no commit holds all that is in it",
        str(odd): "nobody knows which attempt it is of",
    }
    assert [place.exists() for place in (one, two, odd)] == [False, True, True]


def test_the_entry_of_a_linked_worktree_goes_with_its_slot(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    git(repo, "add", "otto.yaml")
    git(repo, "commit", "--quiet", "--message", "configure")
    otto.build(otto.holds("one"))
    otto.kill()
    assert entries(GitRepository.discover(repo))
    cleaned(repo)
    assert entries(GitRepository.discover(repo)) == ()
    otto.let_go("one")
