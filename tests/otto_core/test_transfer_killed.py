"""A landing killed at every step: the next ends as if nothing had been, and what a person did since stays."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from merge.swap import swap
from otto_core import transfer
from otto_core.journal import Journal
from otto_core.refnames import run_ref
from tests.builders import RunBuilder, git, make_repo, task
from tests.otto_core.deliveries import FILES, LANDS, RUN, Looks, kill, looks, otto
from tests.otto_core.failpoints import Kill, Moment, Otto

STEPS = [
    ("_append", 1, "before"),
    ("take_index", 1, "before"),
    ("copy_index", 2, "before"),
    ("inspect", 2, "before"),
    ("write_files", 1, "before"),
    ("_append", 2, "before"),
    ("_append", 2, "after"),
    ("swap", 1, "before"),
    ("install_index", 1, "before"),
    ("release_index", 1, "before"),
    ("_append", 3, "before"),
    ("_append", 3, "after"),
]
"""What a landing does, in order (looking comes twice: before any work, and under the index's lock)."""


@pytest.fixture
def repo(landing_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(landing_template, tmp_path / "repo", symlinks=True))


@pytest.mark.parametrize(("step", "number", "when"), STEPS, ids=[f"{w} {s} {n}" for s, n, w in STEPS])
def test_i8_a_landing_killed_at_any_step_ends_as_an_undisturbed_one(
    repo: Path, undisturbed: Looks, step: str, number: int, when: str
) -> None:
    kill(repo, step, number, when)
    cut_off = (step, number, when) not in {("_append", 1, "before"), ("_append", 3, "after")}
    assert ("was cut off; `otto land" in otto(repo, "status").stderr) is cut_off
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    assert looks(repo) == undisturbed
    assert not Journal.open(repo / ".git/otto/otto.db").undelivered()
    git(repo, "fsck", "--strict", "--no-dangling")
    assert "has the result already" in otto(repo, "land").stdout
    assert looks(repo) == undisturbed


def test_a_landing_killed_before_its_move_was_noted_as_seen_is_there_already(
    repo: Path, undisturbed: Looks
) -> None:
    otto(repo, "status")  # where a person sees main before it moves
    kill(repo, "_append", 3, "after")
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("main has the result already; it is at ")
    assert looks(repo) == undisturbed


@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_i8_a_landing_killed_while_it_pins_its_merge_is_followed_by_one_that_lands(
    repo: Path, undisturbed: Looks, tmp_path: Path, moment: Moment
) -> None:
    lock = repo / ".git" / f"{run_ref(RUN, 'delivery')}.lock"
    with Otto(tmp_path) as killed:
        assert killed.run(repo, "land", kill=Kill("ref.delivery", moment)).code == -signal.SIGKILL
        assert lock.exists() is (moment == "within")
        done = killed.run(repo, "land")
    assert done.code == 0, done.printed
    assert looks(repo) == undisturbed
    assert not lock.exists()


def test_i8_a_landing_killed_while_it_moves_the_branch_says_how_far_it_came(
    repo: Path, undisturbed: Looks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock file of a branch of the user's may be anybody's: it is named and left."""
    lock = repo / ".git/refs/heads/main.lock"
    with Otto(tmp_path) as killed:
        assert killed.run(repo, "land", kill=Kill("ref.branch", "within")).code == -signal.SIGKILL
    monkeypatch.setattr(transfer, "swap", partial(swap, wait=0.1))
    done = otto(repo, "land")
    assert done.exit_code == 4
    assert (
        f"the files in {repo} have moved already, and main has not: refs/heads/main is still" in done.stderr
    )
    assert f"{lock}" in done.stderr
    assert f"then `otto land {RUN}` finishes it" in done.stderr
    lock.unlink()
    assert otto(repo, "land").exit_code == 0
    assert looks(repo) == undisturbed


FILTER = "if test -e boom && rm boom; then kill -9 $(cut -d' ' -f4 /proc/$PPID/stat) 0; fi; cat"
"""A filter of the user's that once kills all that is at work: Otto, which started its git, and that."""


def test_i8_a_landing_killed_while_git_writes_files_is_finished(tmp_path: Path) -> None:
    attributes: dict[str | bytes, str | bytes] = {**FILES, ".gitattributes": "a/*.big filter=boom\n"}
    repo = make_repo(tmp_path, attributes)
    git(repo, "config", "filter.boom.smudge", FILTER)
    git(repo, "config", "filter.boom.clean", "cat")
    built = RunBuilder(repo, task("a", owns=["a/**"]))
    built.do("a", {**LANDS, "a/m.big": "large\n" * 9})
    (repo / "boom").touch()
    kill(repo, "write_files", 1, "after")
    assert (repo / "a/changed.txt").read_text() == "new\n" * 2000
    assert not (repo / "a/tree").is_file()
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    assert git(repo, "status", "--porcelain") == ""
    assert (repo / "a/m.big").read_text() == "large\n" * 9
    assert git(repo, "rev-parse", "main") == built.run.tip


def test_i8_a_file_of_which_only_the_beginning_was_written_is_written_anew(
    repo: Path, undisturbed: Looks
) -> None:
    kill(repo, "write_files", 1, "after")
    os.truncate(repo / "a/changed.txt", 4096)
    (repo / "a/added/deep.txt").unlink()
    assert otto(repo, "land").exit_code == 0
    assert looks(repo) == undisturbed


@pytest.mark.parametrize("step", ["swap", "install_index"])
def test_i8_what_a_person_wrote_into_a_cut_off_landing_is_named_and_kept(
    repo: Path, undisturbed: Looks, step: str
) -> None:
    kill(repo, step, 1, "before")
    (repo / "a/changed.txt").write_text("mine\n")
    done = otto(repo, "land")
    assert done.exit_code == 4
    assert "neither as before nor as after it: a/changed.txt" in done.stderr
    assert (repo / "a/changed.txt").read_text() == "mine\n"
    assert not (repo / ".git/index.lock").exists()
    (repo / "a/changed.txt").write_text("new\n" * 2000)
    assert otto(repo, "land").exit_code == 0
    assert looks(repo) == undisturbed


def create_empty(repo: Path) -> None:
    (repo / "a/added").mkdir()
    (repo / "a/added/deep.txt").touch()


@pytest.mark.parametrize(("step", "number"), [("take_index", 1), ("write_files", 1), ("_append", 2)])
@pytest.mark.parametrize(
    ("edit", "named"),
    [
        pytest.param(lambda at: (at / "a/changed.txt").write_text("mine\n"), "a/changed.txt", id="edited"),
        pytest.param(lambda at: (at / "a/changed.txt").write_text(""), "a/changed.txt", id="emptied"),
        pytest.param(
            lambda at: (at / "a/changed.txt").write_text("new\n"), "a/changed.txt", id="a beginning"
        ),
        pytest.param(lambda at: (at / "a/changed.txt").unlink(), "a/changed.txt", id="deleted"),
        pytest.param(create_empty, "a/added/deep.txt", id="an empty new file"),
    ],
)
def test_i8_a_landing_cut_off_before_it_wrote_anything_leaves_a_later_edit_alone(
    repo: Path, step: str, number: int, edit: Callable[[Path], object], named: str
) -> None:
    kill(repo, step, number, "before")
    edit(repo)
    mine = looks(repo)
    done = otto(repo, "land")
    assert done.exit_code == 4, done.stdout
    assert "would overwrite" in done.stderr
    assert named in done.stderr
    assert replace(looks(repo), leftovers=mine.leftovers) == mine
    assert not (repo / ".git/index.lock").exists()
    assert Journal.open(repo / ".git/otto/otto.db").undelivered() == []


TOUCHED = ["a/added/deep.txt", "a/caf\\xe9.txt", "a/changed.txt", "a/removed.txt", "a/swapped"]


def switch(repo: Path) -> None:
    git(repo, "switch", "--quiet", "--create", "other")


def commit_edits(repo: Path) -> None:
    git(repo, "commit", "--quiet", "--all", "--message", "mine")


def stash(repo: Path) -> None:
    switch(repo)
    git(repo, "stash", "--quiet", "--include-untracked")


@pytest.mark.parametrize(
    ("step", "meanwhile", "told"),
    [
        pytest.param(
            "swap",
            switch,
            f"did not move it, but files of it may remain in {{repo}}: {', '.join(TOUCHED)}, and 4 more",
            id="switched away",
        ),
        pytest.param(
            "install_index",
            switch,
            f"is finished, but files of it may remain in {{repo}}: {', '.join(TOUCHED)}, and 4 more",
            id="switched away after the swap",
        ),
        pytest.param("swap", stash, "did not move it, and nothing that it wrote remains", id="stashed"),
        pytest.param(
            "swap",
            commit_edits,
            "did not move it, but files of it may remain in {repo}: a/added/deep.txt, a/caf\\xe9.txt",
            id="branch moved on",
        ),
    ],
)
def test_i8_files_of_a_cut_off_landing_that_may_remain_are_named(
    repo: Path, step: str, meanwhile: Callable[[Path], None], told: str
) -> None:
    kill(repo, step, 1, "before")
    (repo / ".git/index.lock").unlink()
    meanwhile(repo)
    done = otto(repo, "land", "--into", "main")
    assert told.format(repo=repo) in done.stderr
    assert "had changed nothing" not in done.stderr


def test_i8_the_lock_of_an_index_that_is_not_ottos_is_never_removed(repo: Path) -> None:
    kill(repo, "swap", 1, "before")
    lock = repo / ".git/index.lock"
    lock.unlink()
    lock.write_text("someone else's")
    done = otto(repo, "land")
    assert done.exit_code == 4
    assert "index.lock exists" in done.stderr
    assert lock.read_text() == "someone else's"
    lock.unlink()
    assert otto(repo, "land").exit_code == 0


def test_i8_a_branch_that_a_person_moved_after_a_crash_is_not_moved_back(repo: Path) -> None:
    kill(repo, "write_files", 1, "before")
    (repo / ".git/index.lock").unlink()
    git(repo, "commit", "--quiet", "--message", "mine", "staged.txt")
    mine = git(repo, "rev-parse", "main")
    done = otto(repo, "land", "--expect-target", mine)
    assert done.exit_code == 0, done.stderr
    assert "had changed nothing" in done.stderr
    assert git(repo, "merge-base", mine, "main") == mine
