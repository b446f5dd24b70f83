"""A landing on a branch that is checked out: what it moves, what it leaves alone, what it refuses."""

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from otto_core.refnames import run_ref
from otto_core.runlock import hold, hold_delivery
from tests.builders import git
from tests.otto_core.deliveries import RUN, looks, otto


@pytest.fixture
def repo(landing_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(landing_template, tmp_path / "repo", symlinks=True))


def test_i8_a_sparse_checkout_stays_sparse(repo: Path) -> None:
    git(repo, "stash", "--quiet", "--include-untracked")
    git(repo, "sparse-checkout", "set", "--no-cone", "/README.md", "/a/added/")
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    assert sorted(str(p.relative_to(repo)) for p in repo.rglob("*.txt")) == ["a/added/deep.txt"]
    assert git(repo, "status", "--porcelain") == ""


def test_i8_hooks_do_not_run_and_line_ends_are_as_at_checkout(repo: Path) -> None:
    for hook in ("post-checkout", "post-merge", "post-index-change", "reference-transaction"):
        place = repo / ".git/hooks" / hook
        place.write_text(f"#!/bin/sh\ntouch {repo}/hook-ran\n")
        place.chmod(0o755)
    git(repo, "config", "core.autocrlf", "true")
    assert otto(repo, "land").exit_code == 0
    assert not (repo / "hook-ran").exists()
    assert (repo / "a/added/deep.txt").read_bytes() == b"new\r\n"


def test_i8_a_linked_worktree_moves_with_its_branch(repo: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(repo, "stash", "--quiet", "--include-untracked")
    git(repo, "switch", "--quiet", "--create", "elsewhere")
    git(repo, "worktree", "add", "--quiet", str(linked), "main")
    before = looks(repo)
    done = otto(repo, "land", "--into", "main")
    assert done.exit_code == 0, done.stderr
    assert (linked / "a/added/deep.txt").read_text() == "new\n"
    assert git(linked, "status", "--porcelain") == ""
    after = looks(repo)
    assert (after.files, after.status, after.index) == (before.files, before.status, before.index)


def stage(repo: Path) -> None:
    (repo / "a/changed.txt").write_text("mine\n")
    git(repo, "add", "a/changed.txt")


def assume_unchanged(repo: Path) -> None:
    git(repo, "update-index", "--assume-unchanged", "a/changed.txt")
    (repo / "a/changed.txt").write_text("mine\n")


def make_ignored(repo: Path) -> None:
    (repo / ".git/info/exclude").write_text("deep.txt\n")
    (repo / "a/added").mkdir()
    (repo / "a/added/deep.txt").write_text("mine\n")


def put_into_directory(repo: Path) -> None:
    (repo / "a/tree/mine.txt").write_text("mine\n")


def put_file_for_directory(repo: Path) -> None:
    (repo / "a/added").write_text("mine\n")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        pytest.param(
            lambda repo: (repo / "a/changed.txt").write_text("mine\n"), "a/changed.txt", id="edited"
        ),
        pytest.param(stage, "a/changed.txt", id="staged"),
        pytest.param(assume_unchanged, "a/changed.txt", id="hidden edit"),
        pytest.param(lambda repo: (repo / "a/removed.txt").unlink(), "a/removed.txt", id="deleted"),
        pytest.param(lambda repo: (repo / "a/changed.txt").chmod(0o755), "a/changed.txt", id="mode"),
        pytest.param(make_ignored, "a/added/deep.txt", id="ignored file in the way"),
        pytest.param(put_into_directory, "a/tree", id="untracked file in a directory that becomes a file"),
        pytest.param(put_file_for_directory, "a/added/deep.txt", id="untracked file for a directory"),
    ],
)
def test_i8_a_path_that_is_not_clean_where_it_would_change_is_named_and_nothing_moves(
    repo: Path, spoil: Callable[[Path], object], named: str
) -> None:
    spoil(repo)
    before = looks(repo)
    done = otto(repo, "land")
    assert (done.exit_code, named in done.stderr, "hint:" in done.stderr) == (4, True, True), done.stderr
    assert looks(repo) == before


def start_merge(repo: Path) -> None:
    (repo / ".git/MERGE_HEAD").write_text(git(repo, "rev-parse", "main") + "\n")


def start_rebase(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach")
    (repo / ".git/rebase-merge").mkdir()
    (repo / ".git/rebase-merge/head-name").write_text("refs/heads/main\n")


def leave_a_conflict(repo: Path) -> None:
    (repo / "mine.txt").write_text("base\n")
    git(repo, "add", "mine.txt")
    blob = git(repo, "rev-parse", ":mine.txt")
    rows = "".join(f"100644 {blob} {stage}\tmine.txt\n" for stage in (1, 2, 3))
    git(repo, "update-index", "--force-remove", "mine.txt")
    git(repo, "update-index", "--index-info", stdin=rows.encode())


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        pytest.param(leave_a_conflict, "the resolution of a conflict is under way", id="conflict"),
        pytest.param(start_merge, "a merge is under way", id="merge"),
        pytest.param(start_rebase, "main is being rebased", id="rebase"),
        pytest.param(lambda repo: (repo / ".git/index.lock").touch(), "index.lock exists", id="index locked"),
    ],
)
def test_i8_an_operation_of_the_users_that_is_under_way_is_told(
    repo: Path, begin: Callable[[Path], object], told: str
) -> None:
    begin(repo)
    before = looks(repo)
    done = otto(repo, "land", "--into", "main")
    assert done.exit_code == 4
    assert told in done.stderr
    assert looks(repo) == before


def test_two_landings_at_once_are_told_apart(repo: Path) -> None:
    with hold_delivery(repo / ".git/otto"):
        done = otto(repo, "land")
        assert "cut off" not in otto(repo, "status").stderr
    assert done.exit_code == 6
    assert f"landed by {os.getpid()}@" in done.stderr


@pytest.mark.parametrize("driven", [False, True])
def test_r_x10_a_tip_that_somebody_moved_does_not_land_whoever_drives_its_run(
    repo: Path, driven: bool
) -> None:
    ref, before = run_ref(RUN, "tip"), git(repo, "rev-parse", "main")
    other = git(repo, "commit-tree", "-p", git(repo, "rev-parse", ref), "-m", "another", f"{ref}^{{tree}}")
    git(repo, "update-ref", ref, other)
    with hold(repo / ".git/otto", RUN) if driven else nullcontext():
        done = otto(repo, "land")
    assert done.exit_code == 10, done.output
    assert f"moved {ref} to {other}" in done.stderr
    assert git(repo, "rev-parse", "main") == before
