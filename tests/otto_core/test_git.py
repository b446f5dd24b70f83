"""The edge to git: what its in-memory merge may say, and how its refs and worktrees are read."""

import errno
import gc
import os
import re
import resource
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pygit2
import pytest

from merge.objects import Oid
from merge.strategies import MergeTreeAnswer, Unavailable
from otto_core import kernel
from otto_core.capture import Completed, capture
from otto_core.errors import GitUnfinished, RepositoryUnusable
from otto_core.git import program
from otto_core.git.private import MergeRepository
from otto_core.git.program import git_env, git_from, git_version
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome, ReasonKind
from otto_core.resume import Limits, resume
from tests.builders import git, make_repo, write_commit, write_tree
from tests.otto_core.held import newest
from tests.otto_core.limits import a_short_program_times_out_at
from tests.otto_core.runs import feature, fingerprint, reason_of, run_plan
from tests.waiting import until


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"a.txt": "1\n2\n3\n", "b.txt": "b\n"})


def side(repo: Path, **files: str) -> Oid:
    named: dict[str | bytes, str | bytes | None] = {n.replace("_", "."): text for n, text in files.items()}
    return Oid(hex=write_commit(repo, write_tree(repo, "HEAD", named), "HEAD", message="side"))


def merging(repo: Path) -> MergeRepository:
    repository = GitRepository.discover(repo)
    return MergeRepository(repository.store / "merge.git", repository)


def test_a_clean_merge_gives_its_tree(repo: Path) -> None:
    ours, theirs = side(repo, a_txt="0\n1\n2\n3\n"), side(repo, a_txt="1\n2\n3\n4\n")
    answer = merging(repo).merge_tree(ours, theirs)
    assert isinstance(answer, MergeTreeAnswer)
    assert answer.clean
    assert git(repo, "show", f"{answer.tree}:a.txt") == "0\n1\n2\n3\n4"


def test_a_conflict_names_its_paths(repo: Path) -> None:
    ours, theirs = side(repo, a_txt="x\n", b_txt="x\n"), side(repo, a_txt="y\n", b_txt="y\n")
    answer = merging(repo).merge_tree(ours, theirs)
    assert isinstance(answer, MergeTreeAnswer)
    assert not answer.clean
    assert answer.paths == (b"a.txt", b"b.txt")


def test_an_unknown_commit_is_an_error_and_never_a_clean_merge(repo: Path) -> None:
    with pytest.raises(RepositoryUnusable, match="gave no tree"):
        merging(repo).merge_tree(side(repo, a_txt="x\n"), Oid(hex="1" * 40))


def test_r_m9_attributes_of_the_checkout_and_of_the_users_config_do_not_reach_a_merge(repo: Path) -> None:
    (repo / ".gitattributes").write_text("* merge=union\n")
    (repo / ".git/info/attributes").write_text("* merge=union\n")
    answer = merging(repo).merge_tree(side(repo, a_txt="x\n"), side(repo, a_txt="y\n"))
    assert isinstance(answer, MergeTreeAnswer)
    assert not answer.clean


def test_merging_writes_only_objects_and_ottos_own_directory(repo: Path) -> None:
    ours, theirs = side(repo, a_txt="0\n1\n2\n3\n"), side(repo, a_txt="1\n2\n3\n4\n")
    own = (".git/objects", ".git/otto")
    before = fingerprint(repo, less=own)
    merging(repo).merge_tree(ours, theirs)
    assert fingerprint(repo, less=own) == before


CRASHING_GIT = """#!/bin/sh
for word in "$@"; do if [ "$word" = merge-tree ]; then kill -ABRT $$; fi; done
exec {git} "$@"
"""


def wrap_git(place: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a script in the place of git, with `{git}` for the real one."""
    real = next(p for d in os.get_exec_path() if (p := Path(d) / "git").exists())
    (place / "bin").mkdir()
    (place / "bin/git").write_text(script.format(git=real))
    (place / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_a_merge_on_which_git_itself_crashes_is_a_conflict(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = side(repo, a_txt="0\n1\n2\n3\n"), side(repo, a_txt="1\n2\n3\n4\n")
    wrap_git(tmp_path, CRASHING_GIT, monkeypatch)
    assert merging(repo).merge_tree(ours, theirs) == MergeTreeAnswer(clean=False, tree=None, paths=())


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_a_merge_whose_git_is_killed_is_no_conflict(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ours, theirs = side(repo, a_txt="0\n1\n2\n3\n"), side(repo, a_txt="1\n2\n3\n4\n")
    wrap_git(tmp_path, CRASHING_GIT.replace("ABRT", name), monkeypatch)
    with pytest.raises(GitUnfinished, match="git merge-tree was ended by signal"):
        merging(repo).merge_tree(ours, theirs)


@pytest.mark.parametrize(("name", "what"), [("KILL", "memory is short"), ("XFSZ", "`ulimit -f`")])
def test_what_ended_a_git_says_what_helps(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    wrap_git(tmp_path, CRASHING_GIT.replace("ABRT", name), monkeypatch)
    commit = GitRepository.discover(repo).resolve("HEAD")
    with pytest.raises(GitUnfinished) as told:
        merging(repo).merge_tree(commit, commit)
    assert what in told.value.hint


def test_b6_a_git_that_is_killed_while_an_attempt_is_captured_costs_the_attempt_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "*.txt text\n"})
    with monkeypatch.context() as patch:
        wrap_git(tmp_path, CRASHING_GIT.replace("ABRT", "KILL").replace("merge-tree", "update-index"), patch)
        with pytest.raises(RepositoryUnusable, match="was ended by signal 9") as told:
            run_plan(repo, feature("one", "echo x > one.txt", max_attempts=1))
    run = newest(repo)
    assert told.value.hint.endswith(f"then otto resume {run.id}")
    assert run.outcome is Outcome.INTERRUPTED
    after = resume(GitRepository.discover(repo), run.id, Limits())
    assert after.outcome is Outcome.LANDED
    assert [attempt.end is None for attempt in after.tasks["one"].attempts] == [False, False]


def test_i9_a_filter_that_hangs_on_what_an_attempt_wrote_is_ended_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, pids = make_repo(tmp_path, {".gitattributes": "*.txt filter=slow\n"}), tmp_path / "pids"
    git(repo, "config", "filter.slow.clean", f"echo $$ >> {pids}; touch {tmp_path}/hangs; exec sleep 600")
    a_short_program_times_out_at(monkeypatch, tmp_path / "hangs")
    run = run_plan(repo, feature("one", "echo x > one.txt", max_attempts=1))
    assert run.outcome is Outcome.FAILED
    assert "did not end within" in reason_of(run, "one").message
    hung = [int(pid) for pid in pids.read_text().split()]
    assert hung
    until(lambda: not any(map(kernel.is_running, hung)))


@pytest.mark.parametrize("name", ["x: No space left on device\nb.txt", "x: No space left on device"])
def test_i9_a_file_that_is_named_like_a_refusal_of_the_machine_is_none(tmp_path: Path, name: str) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "x* working-tree-encoding=UTF-16\n"})
    run = run_plan(repo, feature("one", f"printf a > {shlex.quote(name)}", owns=["*"], max_attempts=1))
    assert reason_of(run, "one").kind is ReasonKind.UNSAFE_CONTENT


KILLED_ONCE = """#!/bin/sh
for word in "$@"; do case $word in
    --git-dir=*) lock="${{word#*=}}/index.lock";;
    read-tree) if mkdir {place}/once 2> {place}/told; then touch "$lock"; kill -KILL $$; fi;;
esac; done
exec {git} "$@"
"""


def test_a_worktree_whose_git_is_killed_as_it_fills_it_is_filled_anew(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock file of its index stays, and nobody else's it can be."""
    wrap_git(tmp_path, KILLED_ONCE.replace("{place}", str(tmp_path)), monkeypatch)
    run = run_plan(repo, feature("one", "echo x > one.txt"))
    assert (tmp_path / "once").exists()
    assert run.outcome is Outcome.LANDED
    assert len(run.tasks["one"].attempts) == 1


def test_a_git_that_cannot_be_asked_at_this_moment_is_not_taken_for_none(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(program, "capture", refused)
    with pytest.raises(GitUnfinished, match="temporarily unavailable"):
        merging(repo)


OLD_GIT = """#!/bin/sh
if [ "$1" = --version ]; then echo "git version 2.37.7"; else exec {git} "$@"; fi
"""


def test_with_a_git_older_than_2_38_ort_is_off_and_says_so(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap_git(tmp_path, OLD_GIT, monkeypatch)
    assert git_version() == (2, 37, 7)
    answer = merging(repo).merge_tree(side(repo, a_txt="x\n"), side(repo, a_txt="y\n"))
    assert isinstance(answer, Unavailable)
    assert "2.37.7 is older than 2.38" in answer.reason
    run = run_plan(repo, feature("one", "echo x > one.txt"))
    assert run.outcome is Outcome.LANDED, "the other strategies go on"


def test_a_revision_that_is_no_commit_is_refused_with_a_hint(repo: Path) -> None:
    blob = git(repo, "rev-parse", "HEAD:a.txt")
    for revision in ("nowhere", blob):
        with pytest.raises(RepositoryUnusable) as refused:
            GitRepository.discover(repo).resolve(revision)
        assert refused.value.hint


def test_without_git_its_installation_is_the_hint(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RepositoryUnusable, match="could not run") as told:
        git_from(repo, "status")
    assert told.value.hint == "install git 2.38 or newer; then do this again"


def test_a_directory_that_git_cannot_work_in_is_not_taken_for_a_git_that_did_not_run(tmp_path: Path) -> None:
    """A task can remove its own worktree: that is not to stop a run."""
    with pytest.raises(RepositoryUnusable, match=r"could not run in .*/gone: No such file") as told:
        git_from(tmp_path / "gone", "status")
    assert not isinstance(told.value, GitUnfinished)


REFUSED = [
    BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "git"),
]


@pytest.mark.parametrize("error", REFUSED, ids=str)
def test_b6_a_git_that_does_not_start_while_an_attempt_is_captured_costs_the_attempt_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "*.txt text\n"})

    def refuse(argv: Sequence[str | bytes], **more: Any) -> Completed:
        if "update-index" in argv:
            raise error
        return capture(argv, **more)

    with monkeypatch.context() as patch:
        patch.setattr("otto_core.git.program.capture", refuse)
        with pytest.raises(RepositoryUnusable, match=re.escape(f"git could not run: {error}")) as told:
            run_plan(repo, feature("one", "echo x > one.txt", max_attempts=1))
    run = newest(repo)
    assert told.value.hint.endswith(f"; then otto resume {run.id}")
    assert "disk is not full" not in told.value.hint
    assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.LANDED


def test_a_git_that_is_no_program_is_not_to_be_installed(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").write_text("no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RepositoryUnusable, match="Permission denied") as told:
        git_from(repo, "status")
    assert told.value.hint == "mend that; then do this again"


def test_too_many_open_files_are_told_as_such(repo: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        with pytest.raises(RepositoryUnusable, match="Too many open files") as told:
            git_from(repo, "status")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert told.value.hint.startswith("raise the limit of open files")


def test_every_checkout_of_a_branch_is_known(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    found = GitRepository.discover(repo).checked_out()
    assert found["refs/heads/main"].resolve() == repo.resolve()
    assert found["refs/heads/other"].resolve() == (tmp_path / "linked").resolve()
    assert GitRepository.discover(tmp_path / "linked").checked_out().keys() == found.keys()


def test_a_bare_repository_checks_nothing_out(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    assert GitRepository.discover(tmp_path / "bare.git").checked_out() == {}


def test_the_environment_of_ottos_own_git_has_none_of_the_users_git_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "evil")
    assert not {"GIT_DIR", "GIT_EXTERNAL_DIFF"} & git_env().keys()
    assert git_env()["LC_ALL"] == "C"


def test_what_was_read_of_a_repository_is_not_kept_in_memory(repo: Path) -> None:
    gc.collect()  # what earlier tests left in libgit2's cache would go at any moment
    repository, before = GitRepository.discover(repo), pygit2.settings.cached_memory[0]
    head = repository.resolve("HEAD")
    assert repository.tree_of(head) in repository.repo
    assert repository.parents_of(head) == []
    assert pygit2.settings.cached_memory[0] == before
