"""A disk that fills up ends a build loudly. With room again, what had landed is there, and it goes on."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import which
from types import ModuleType

import pygit2
import pytest

from merge.objects import GitError, Oid, Signature, write_blob, write_commit, write_tree
from otto_core import attempts, checks, execution, keeping, setup
from otto_core.aside import find_aside
from otto_core.errors import ExitCode, GitUnfinished, RepositoryUnusable
from otto_core.git.adoption import History, adopt_commits
from otto_core.git.private import prepare_private
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.refnames import task_ref
from otto_core.refusals import is_of_the_machine, refusals
from otto_core.resume import Limits, resume
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.full_disk import little_room
from tests.otto_core.held import newest
from tests.otto_core.runs import feature, reason_of, run_plan, writes

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
    argv = [*([] if how == "limit" else cage), *module, how, where, str(disk), str(other), *map(str, sizes)]
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
        assert set(one.get("meanwhile", ())) <= {ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.REPOSITORY}, one
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


@pytest.mark.skipif(bool(_WHY_NO_TMPFS), reason=_WHY_NO_TMPFS)
@pytest.mark.parametrize("where", ["both", "repo", "worktrees"])
@pytest.mark.parametrize("step", [98_304, pytest.param(8192, id="every other page", marks=pytest.mark.slow)])
def test_b6_i7_what_an_attempt_wrote_that_filled_the_disk_is_not_lost_and_not_its_fault(
    tmp_path: Path, step: int, where: str
) -> None:
    codes = build_on("attempt", where, tmp_path, [*range(0, 400_000, step), 4_000_000])
    assert where == "worktrees" or codes[0] == ExitCode.REPOSITORY
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
    with little_room("limit", tmp_path, 4096), pytest.raises((GitError, OSError)):
        adopt_commits(*asked)
    git(repo, "fsck", "--strict")
    assert adopt_commits(*asked) == History(head, ("large", "small"))
    git(repo, "fsck", "--strict")


@pytest.mark.parametrize("write", [write_blob, write_tree], ids=["blob", "tree"])
def test_an_object_that_could_not_be_written_is_told_as_that(
    tmp_path: Path, write: Callable[[pygit2.Repository, bytes], pygit2.Oid]
) -> None:
    """By itself, libgit2 names whatever had failed last before."""
    repo = pygit2.Repository(str(make_repo(tmp_path)))
    with pytest.raises(KeyError):
        repo.config["core.none-such"]
    content = b"100644 x\0" + os.urandom(1_500_000)
    with (
        little_room("limit", tmp_path, 1_000_000),
        pytest.raises(GitError, match="1,500,009 bytes could not"),
    ):
        write(repo, content)
    assert repo.odb.read(write(repo, content))[1] == content


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), True),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), True),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (GitUnfinished("git could not run: no matter why", mend=""), True),
        (OSError("failed to write out file: No space left on device"), True),
        (GitError("config value 'core.autocrlf' was not found"), True),
        (RepositoryUnusable("error: unable to write file: No space left on device", hint=""), True),
        (RepositoryUnusable("fatal: Unable to write new index file", hint=""), True),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (NotADirectoryError("slot-0 was replaced by another directory"), False),
        (RepositoryUnusable("fatal: failed to encode 'one.txt' from UTF-16 to UTF-8", hint=""), False),
        (RepositoryUnusable("converting failed: error: x: No space left on device\nfatal: x", hint=""), True),
        (RepositoryUnusable("converting failed: fatal: Unable to write new index file", hint=""), True),
        (RepositoryUnusable("fatal: no encoding for 'No space left on device'", hint=""), False),
        (RepositoryUnusable("fatal: no encoding for 'x: No space left on device'", hint=""), False),
        (RepositoryUnusable("fatal: no 'fatal: Unable to write new index file'", hint=""), False),
        (RepositoryUnusable("fatal: cannot read x/Unable to write new index file", hint=""), False),
        (KeyError("failed to open 'x': No space left on device"), True),
        (RecursionError(), False),
    ],
    ids=str,
)
def test_what_the_machine_refuses_is_told_from_what_an_attempt_left(error: Exception, machine: bool) -> None:
    assert is_of_the_machine(error) is machine


def test_a_file_that_is_named_like_what_a_machine_says_makes_no_run_stop(tmp_path: Path) -> None:
    """Git names the file that it cannot convert."""
    repo = make_repo(tmp_path, {".gitattributes": "*.txt text working-tree-encoding=UTF-16\n"})
    names = feature("one", "printf a > 'No space left on device.txt'", owns=["*.txt"], max_attempts=1)
    run = run_plan(repo, names)
    assert run.outcome is Outcome.FAILED
    assert "'No space left on device.txt'" in reason_of(run, "one").message


def is_gone_on_with(repo: Path) -> Run:
    """Resume a run that the machine stopped in its only attempt, and demand that the attempt cost nothing."""
    run = newest(repo)
    assert run.outcome is Outcome.INTERRUPTED
    after = resume(GitRepository.discover(repo), run.id, Limits())
    assert after.outcome is Outcome.LANDED
    assert after.tasks["one"].counted == 1
    return after


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        GitError("config value 'core.autocrlf' was not found"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("module", "function"),
    [
        (keeping, "capture"),
        (keeping, "commit_tree"),
        (attempts, "occupy"),
        (setup, "occupy"),
        (setup, "note_down"),
        (checks, "occupy"),
    ],
    ids=lambda of: of if isinstance(of, str) else of.__name__.rpartition(".")[2],
)
def test_b6_what_the_machine_refuses_otto_costs_no_attempt_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, function: str, error: Exception
) -> None:
    repo = make_repo(tmp_path, {".gitignore": "made\n"})
    (repo / "otto.yaml").write_text("worktrees: {setup: [touch made]}\n")

    def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(module, function, refuse)
        with pytest.raises(RepositoryUnusable, match=re.escape(str(error))):
            run_plan(repo, writes("one"), verify={"each": ["true"]})
    is_gone_on_with(repo)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM], ids=errno.errorcode.get)
def test_b6_a_command_for_which_the_machine_has_no_process_costs_the_attempt_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    repo = make_repo(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(execution, "spawn", refuse)
        with pytest.raises(RepositoryUnusable, match=os.strerror(number)) as told:
            run_plan(repo, feature("one", "echo > one.txt", max_attempts=1))
    assert "ulimit -u" in told.value.hint
    is_gone_on_with(repo)


def test_b6_i7_a_snapshot_that_finds_no_room_costs_nothing_and_is_salvaged(
    tmp_path: Path,
) -> None:
    """Its only file is larger than any that Otto may write. libgit2 tells that in words of something else."""
    repo = make_repo(tmp_path)
    grows = "ulimit -S -f unlimited; [ $OTTO_ATTEMPT = 2 ] || head -c 1500000 /dev/urandom > one.txt"
    task = feature("one", f"{grows}; echo $OTTO_ATTEMPT >> one.txt", max_attempts=1, retry_from="attempt")
    with (
        little_room("limit", tmp_path, 1_000_000),
        pytest.raises(RepositoryUnusable, match="could not be written"),
    ):
        run_plan(repo, task)
    after = is_gone_on_with(repo)
    salvaged = git(repo, "rev-parse", f"{task_ref(after.id, 'one', 'salvage-1')}:one.txt")
    assert int(git(repo, "cat-file", "-s", salvaged)) == 1_500_002
    assert int(git(repo, "cat-file", "-s", f"{after.tip}:one.txt")) == 1_500_004


def test_b6_i7_a_ref_that_cannot_be_written_costs_the_attempt_nothing(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    place = f"{repo}/.git/refs/otto/runs/$OTTO_RUN/tasks/one/attempt-1"
    takes = f"[ $OTTO_ATTEMPT = 2 ] || {{ mkdir -p {place}; echo $(git rev-parse HEAD) > {place}/x; }}"
    with pytest.raises(RepositoryUnusable, match="attempt-1"):
        run_plan(repo, feature("one", f"{takes}; echo $OTTO_ATTEMPT > one.txt", max_attempts=1))
    after = is_gone_on_with(repo)
    assert git(repo, "show", f"{task_ref(after.id, 'one', 'salvage-1')}:one.txt") == "1"


def test_i7_what_cannot_be_salvaged_for_the_disk_is_set_aside_and_the_run_goes_on(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    grows = "ulimit -S -f unlimited; [ $OTTO_ATTEMPT = 2 ] || head -c 1500000 /dev/urandom > one.txt"
    with little_room("limit", tmp_path, 1_000_000):
        with pytest.raises(RepositoryUnusable):
            run_plan(repo, feature("one", f"{grows}; echo >> one.txt", max_attempts=1))
        after = is_gone_on_with(repo)
    aside = find_aside([Path(after.settings.worktrees)], after.id, "one", 1)
    assert aside is not None
    assert (aside / "one.txt").stat().st_size == 1_500_001
    end = after.tasks["one"].attempts[0].end
    assert end is not None
    assert f"its worktree is kept at {aside}" in (end.telemetry.missing or "")
