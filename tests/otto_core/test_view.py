"""What a view is told of a repository: by the git program and by libgit2 the same."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from merge.trailers import Trailers, message
from otto_core.errors import GitUnfinished, RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.git.view import ProgramView, RepositoryView
from otto_core.presence import landed_in_git
from otto_core.refnames import run_ref
from otto_core.state import Run
from tests.builders import RunBuilder, git, make_repo, task, write_commit
from tests.otto_core.test_git import wrap_git

Discover = Callable[[Path], RepositoryView]
BOTH = pytest.mark.parametrize(
    "discover", [ProgramView.discover, GitRepository.discover], ids=["git", "libgit2"]
)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"a.txt": "1\n"})


def bare(repo: Path, beside: Path) -> Path:
    git(repo, "clone", "--quiet", "--bare", "--no-local", str(repo), str(beside))
    return beside


def linked(repo: Path, beside: Path) -> Path:
    git(repo, "worktree", "add", "--quiet", "-b", "other", str(beside))
    return beside


def below(repo: Path, _beside: Path) -> Path:
    (repo / "deep/er").mkdir(parents=True)
    return repo / "deep/er"


def packed(repo: Path, _beside: Path) -> Path:
    git(repo, "tag", "-m", "annotated", "v1")
    git(repo, "pack-refs", "--all")
    return repo


def detached(repo: Path, _beside: Path) -> Path:
    git(repo, "checkout", "--quiet", "--detach")
    return repo


def unborn(repo: Path, _beside: Path) -> Path:
    git(repo, "checkout", "--quiet", "--orphan", "nothing")
    return repo


def odd_names(repo: Path, _beside: Path) -> Path:
    git(repo, "checkout", "--quiet", "-b", "caf\udce9/x")
    return repo.rename(repo.with_name("a\nb \udce9"))


SHAPES = [bare, linked, below, packed, detached, unborn, odd_names]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_places_branch_and_refs_are_the_same_by_git_and_by_libgit2(
    repo: Path, tmp_path: Path, shape: Callable[[Path, Path], Path]
) -> None:
    git(repo, "update-ref", run_ref("r-1", "tip"), "HEAD")
    start = shape(repo, tmp_path / "beside")
    light, full = ProgramView.discover(start), GitRepository.discover(start)
    assert (light.git_dir, light.store) == (full.git_dir, full.store)
    assert light.branch_in_use() == full.branch_in_use()
    names = ["refs/heads/main", "refs/heads/other", "refs/heads/mai", "refs/tags/v1", run_ref("r-1", "tip")]
    names += filter(None, [full.branch_in_use()])
    told = [None if (at := full.ref(name)) is None else str(at) for name in names]
    assert [light.ref(name) for name in names] == told
    assert told[0] is not None or shape is unborn


@BOTH
def test_outside_of_a_repository_a_view_says_so(tmp_path: Path, discover: Discover) -> None:
    with pytest.raises(RepositoryUnusable, match="is not in a Git repository"):
        discover(tmp_path)


@BOTH
def test_a_repository_that_cannot_be_read_is_refused(repo: Path, discover: Discover) -> None:
    (repo / ".git/config").write_text("[core\n")
    with pytest.raises(RepositoryUnusable, match="cannot be read"):
        discover(repo)


def test_without_a_git_program_a_view_says_so(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(RepositoryUnusable) as refused:
        ProgramView.discover(repo)
    assert "install git" in refused.value.hint


@pytest.fixture
def run(repo: Path) -> Run:
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "base")
    run = RunBuilder(repo, task("one"), task("two")).run
    for name in ("one", "two"):
        said = message(name.title(), "", Trailers(run=run.id, task=name, attempt=1, plan="0" * 64))
        run = structs.replace(run, tip=write_commit(repo, f"{run.tip}^{{tree}}", run.tip, message=said))
    git(repo, "update-ref", run_ref(run.id, "tip"), run.tip)
    return run


@BOTH
@pytest.mark.parametrize(
    ("tip", "landed"),
    [
        pytest.param("{tip}", {"one", "two"}, id="both landed"),
        pytest.param("{tip}^1", {"one"}, id="one landing back"),
        pytest.param("{base}", set(), id="at the base"),
        pytest.param("{base}^1", set(), id="before the base"),
        pytest.param("aside", set(), id="on another history"),
        pytest.param("above", {"one", "two"}, id="below a person's commit"),
        pytest.param("merged", set(), id="the base on a side only"),
        pytest.param(None, set(), id="gone"),
    ],
)
def test_r_s1_done_is_what_stands_between_base_and_tip_wherever_the_tip_is_moved(
    repo: Path, run: Run, discover: Discover, tip: str | None, landed: set[str]
) -> None:
    tree = git(repo, "rev-parse", "HEAD^{tree}")
    aside = git(repo, "commit-tree", tree, "-m", "aside")
    made = {
        "aside": aside,
        "above": git(repo, "commit-tree", tree, "-p", run.tip, "-m", "Caf\xe9\n\nOtto-Task: three"),
        "merged": git(repo, "commit-tree", tree, "-p", aside, "-p", run.tip, "-m", "merged"),
    }
    named = tip and made.get(tip, tip.format(tip=run.tip, base=run.start.base))
    git(repo, "update-ref", *([run_ref(run.id, "tip"), named] if named else ["-d", run_ref(run.id, "tip")]))
    assert landed_in_git(discover(repo), run) == landed


@BOTH
def test_r_s1_a_replaced_commit_does_not_pass_for_a_landing(repo: Path, run: Run, discover: Discover) -> None:
    said = git(repo, "log", "-1", "--format=%B", run.tip).replace("Otto-Task: two", "Otto-Task: three")
    fake = git(repo, "commit-tree", f"{run.tip}^{{tree}}", "-p", f"{run.tip}^1", stdin=said.encode())
    git(repo, "replace", run.tip, fake)
    assert landed_in_git(discover(repo), run) == {"one", "two"}


@BOTH
def test_r_s1_a_landing_whose_commit_is_lost_is_not_done(repo: Path, run: Run, discover: Discover) -> None:
    lost = git(repo, "rev-parse", f"{run.tip}^1")
    (repo / ".git/objects" / lost[:2] / lost[2:]).unlink()
    assert landed_in_git(discover(repo), run) == set()


ENDING_GIT = """#!/bin/sh
case " $* " in *" VERB "*) ENDS;; esac
exec {git} "$@"
"""


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("kill -9 $$", "^the git that looked for the repository was ended by signal 9$"),
        ("kill -11 $$", "^the repository cannot be read: git ended with -11 and said nothing$"),
        ("exit 3", "^the repository cannot be read: git ended with 3 and said nothing$"),
        ("echo words >&2; exit 3", "^the repository cannot be read: words$"),
    ],
)
def test_a_git_that_finds_no_repository_is_told_with_how_it_ended(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, words: str
) -> None:
    wrap_git(tmp_path, ENDING_GIT.replace("VERB", "rev-parse").replace("ENDS", ending), monkeypatch)
    with pytest.raises(RepositoryUnusable, match=words):
        ProgramView.discover(repo)


@pytest.mark.parametrize(("verb", "what"), [("for-each-ref", "refs"), ("rev-list", "commits")])
def test_what_a_git_that_was_killed_did_not_say_is_not_taken_for_absent(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, what: str
) -> None:
    view, head = ProgramView.discover(repo), git(repo, "rev-parse", "HEAD")
    wrap_git(tmp_path, ENDING_GIT.replace("VERB", verb).replace("ENDS", "kill -9 $$"), monkeypatch)
    with pytest.raises(GitUnfinished, match=f"the git that read {what} was ended by signal 9"):
        view.messages_since("0" * 40, head) if verb == "rev-list" else view.ref("refs/heads/main")
