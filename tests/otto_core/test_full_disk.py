"""A disk that fills up ends a build loudly. With room again, what had landed is there, and it goes on."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import which

import pygit2
import pytest

from merge.objects import GitError, Oid, Signature, write_commit
from otto_core import attempts
from otto_core.errors import ExitCode, RepositoryUnusable
from otto_core.git.adoption import adopt_commits
from otto_core.git.private import prepare_private
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.refnames import task_ref
from otto_core.refusals import refusals
from otto_core.resume import Limits, resume
from tests.builders import git, make_repo
from tests.otto_core.full_disk import little_room
from tests.otto_core.held import newest
from tests.otto_core.runs import run_plan, writes

_BYTES = 64_000_000
"""Of the small file system: a repository, a few runs, and their worktrees."""


def _why_no_tmpfs() -> str:
    """Say why no file system of a size can be made here; empty where one can."""
    if which("bwrap") is None:
        return "bubblewrap is not installed"
    probe = ["bwrap", "--dev-bind", "/", "/", "--size", "4096", "--tmpfs", "/tmp", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return f"bubblewrap cannot make a file system here: {done.stderr.strip()}" if done.returncode else ""


_WHY_NO_TMPFS = _why_no_tmpfs()


def build_on(how: str, where: str, place: Path, sizes: Sequence[int]) -> list[int]:
    """Build once for each size and check what came of it; gives the exit codes."""
    disk, other = place / "disk", place / "other"
    disk.mkdir()
    other.mkdir()
    cage = ["bwrap", "--dev-bind", "/", "/", "--size", str(_BYTES), "--tmpfs", str(disk)]
    module = [sys.executable, "-m", "tests.otto_core.full_disk"]
    argv = [*(cage if how == "tmpfs" else []), *module, how, where, str(disk), str(other), *map(str, sizes)]
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, cwd=root, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["size"] for one in told] == list(sizes)
    for one in told:
        assert one["problems"] == [], one
        assert one["code"] in (ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.REPOSITORY), one["said"]
        if one["code"] == ExitCode.REPOSITORY:
            error, _, hint = one["said"].rpartition("hint: ")
            assert "error: " in error
            assert "disk" in hint, hint
        assert set(one["resumed"]) <= {ExitCode.OK, ExitCode.INCOMPLETE}, one
    return [one["code"] for one in told]


def test_a_build_in_which_no_file_may_grow_ends_loudly_and_goes_on_later(tmp_path: Path) -> None:
    codes = build_on("limit", "repo", tmp_path, [4096, 30_000, 60_000, 120_000, 180_000, 220_000, 900_000])
    assert codes[0] == ExitCode.REPOSITORY
    assert codes[-1] == ExitCode.OK


@pytest.mark.skipif(bool(_WHY_NO_TMPFS), reason=_WHY_NO_TMPFS)
@pytest.mark.parametrize("step", [86_016, pytest.param(4096, id="every page", marks=pytest.mark.slow)])
def test_a_build_on_a_full_disk_ends_loudly_and_goes_on_later(tmp_path: Path, step: int) -> None:
    """Journal, objects, refs and logs: each is the first that finds no room at some size."""
    codes = build_on("tmpfs", "repo", tmp_path, [0, *range(step, 600_000, step), 2_000_000])
    assert codes[0] == ExitCode.REPOSITORY
    assert codes[-1] == ExitCode.OK


@pytest.mark.skipif(bool(_WHY_NO_TMPFS), reason=_WHY_NO_TMPFS)
@pytest.mark.parametrize("step", [180_224, pytest.param(8192, id="every other page", marks=pytest.mark.slow)])
def test_a_build_whose_worktrees_find_no_room_ends_loudly_and_goes_on_later(
    tmp_path: Path, step: int
) -> None:
    codes = build_on("tmpfs", "worktrees", tmp_path, [0, *range(step, 800_000, step), 4_000_000])
    assert codes[0] == ExitCode.REPOSITORY
    assert codes[-1] == ExitCode.OK


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EROFS, os.strerror(errno.EROFS)),
        OSError("failed to write out file: No space left on device"),
        GitError("failed to write out file: No space left on device"),
    ],
    ids=["full", "read-only", "libgit2's OSError", "libgit2's own"],
)
def test_what_a_disk_refuses_is_told_with_the_way_on(error: Exception) -> None:
    with pytest.raises(RepositoryUnusable) as told, refusals("otto resume r-1"):
        raise error
    assert str(error) in told.value.message
    assert told.value.hint.endswith("then otto resume r-1")


@pytest.mark.parametrize(
    "error", [BrokenPipeError(errno.EPIPE, "gone"), FileNotFoundError(2, "x"), KeyError()]
)
def test_no_other_failure_is_taken_for_the_disk(error: Exception) -> None:
    with pytest.raises(type(error)), refusals("otto resume r-1"):
        raise error


def test_a_commit_that_could_not_be_written_is_not_reported_as_written(tmp_path: Path) -> None:
    """By itself, pygit2 gives an id although nothing could be written."""
    repo = pygit2.Repository(str(make_repo(tmp_path)))
    tip, somebody = repo.head.peel(pygit2.Commit), Signature("a", "b@c")

    def write(message: str) -> pygit2.Oid:
        return write_commit(
            repo,
            tree=tip.tree_id,
            parents=[tip.id],
            message=message,
            author=somebody,
            committer=somebody,
        )

    with little_room("limit", tmp_path, 0), pytest.raises(GitError, match="could not be written"):
        write("lost")
    assert git(tmp_path / "repo", "cat-file", "-t", str(write("there"))) == "commit"


def test_commits_of_an_attempt_of_which_a_disk_refuses_a_part_leave_no_broken_object_behind(
    tmp_path: Path,
) -> None:
    repo, agent = make_repo(tmp_path), tmp_path / "agent"
    git(repo, "clone", "--quiet", "--shared", str(repo), str(agent))
    for content, subject in ((os.urandom(50_000), "large"), (b"x", "small")):
        (agent / "made").write_bytes(content)
        git(agent, "add", "--all")
        git(agent, "commit", "--quiet", "--message", subject)
    repository, head = GitRepository.discover(repo), Oid(hex=git(agent, "rev-parse", "HEAD"))
    prepare_private(tmp_path / "own", repository)
    asked = repository, tmp_path / "own", agent / ".git/objects", head
    with little_room("limit", tmp_path, 4096):
        assert adopt_commits(*asked) is None
    git(repo, "fsck", "--strict")
    assert adopt_commits(*asked) == ("large", "small")
    git(repo, "fsck", "--strict")


def test_b6_a_disk_that_refuses_while_an_attempt_is_captured_costs_the_attempt_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "capture", full)
        with pytest.raises(RepositoryUnusable, match="No space left"):
            run_plan(repo, writes("one"))
    run = newest(repo)
    assert run.outcome is Outcome.INTERRUPTED
    after = resume(GitRepository.discover(repo), run.id, Limits())
    assert after.outcome is Outcome.LANDED
    assert after.tasks["one"].counted == 1
    kept = task_ref(run.id, "one", "salvage-1")
    assert git(repo, "show", f"{kept}:one.txt") == "one"
