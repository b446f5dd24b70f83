"""A build from any checkout: dirty, detached, locked, shallow, bare, linked; none is written to."""

import threading
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.model import Outcome
from otto_core.refnames import run_ref
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.runs import content, feature, fingerprint, run_plan, writes


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"README.md": "Start.\n", "src/app.py": "print('hello')\n"})


def test_i8_the_users_repository_is_untouched_but_for_ottos_own_refs_branch_and_objects(repo: Path) -> None:
    (repo / "src/app.py").write_text("print('dirty')\n")
    (repo / "untracked").write_text("mine\n")
    (repo / "staged").write_text("staged\n")
    git(repo, "add", "staged")
    git(repo, "stash", "--keep-index", "--include-untracked", "--quiet")
    (repo / "src/app.py").write_text("print('dirty')\n")
    (repo / ".git/hooks/post-commit").write_text("#!/bin/sh\nexit 1\n")
    (repo / ".git/hooks/post-commit").chmod(0o755)
    own = (".git/otto", ".git/objects", ".git/refs/otto", ".git/refs/heads/otto", ".git/logs/refs/heads/otto")
    before = fingerprint(repo, less=own)
    run = run_plan(repo, writes("one"), feature("bad", "exit 3", max_attempts=1), writes("two"))
    assert run.outcome is Outcome.PARTIAL
    assert fingerprint(repo, less=own) == before


def test_r_s9_a_lock_on_the_users_index_and_busy_agents_get_in_nobodys_way(repo: Path) -> None:
    (repo / ".git/index.lock").write_text("held by an editor")
    busy = "for n in 1 2 3 4 5; do echo $n > {0}.txt; git add -A; git commit -qm $n; git status -s; done"
    run = run_plan(repo, *(feature(name, busy.format(name)) for name in ("one", "two", "three", "four")))
    assert run.outcome is Outcome.LANDED
    assert (repo / ".git/index.lock").read_text() == "held by an editor"


def test_the_result_branch_is_left_alone_while_it_is_checked_out(repo: Path) -> None:
    switched = threading.Event()

    def switch(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.BranchPublished) and not switched.is_set():
            switched.set()
            git(repo, "checkout", "--quiet", event.branch)

    run = run_plan(repo, writes("one"), writes("two") | {"depends_on": ["one"]}, observe=switch)
    assert run.withheld is not None
    assert "checked out" in run.withheld.why
    assert git(repo, "rev-parse", "otto/test") == run.tasks["one"].commit
    assert git(repo, "rev-parse", run_ref(run.id, "tip")) == run.tasks["two"].commit
    assert git(repo, "status", "--porcelain") == ""


def _detached(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach")


def _dirty(repo: Path) -> None:
    (repo / "README.md").write_text("changed\n")


@pytest.mark.parametrize("prepare", [_detached, _dirty])
def test_a_checkout_in_any_state_works(repo: Path, prepare: object) -> None:
    assert callable(prepare)
    prepare(repo)
    run = run_plan(repo, writes("one"))
    assert run.outcome is Outcome.LANDED
    assert content(repo, run, "README.md") == "Start."


@pytest.mark.parametrize("options", [["--depth=1"], ["--bare"], ["--depth=1", "--bare"]], ids=" ".join)
def test_a_shallow_or_bare_clone_works(tmp_path: Path, repo: Path, options: list[str]) -> None:
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "second")
    git(tmp_path, "clone", "--quiet", *options, f"file://{repo}", "clone")
    clone = tmp_path / "clone"
    run = run_plan(clone, writes("one"), writes("two"), verify={"each": ["test -f README.md"]})
    assert run.outcome is Outcome.LANDED
    git(clone, "fsck", "--strict")


def test_a_linked_worktree_of_the_users_works(tmp_path: Path, repo: Path) -> None:
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert run_plan(tmp_path / "linked", writes("one")).outcome is Outcome.LANDED


def test_line_endings_are_converted_as_at_checkout(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "*.bat text eol=crlf\n*.txt text\n", "a.bat": "one\n"})
    run = run_plan(
        repo,
        feature("bat", "cat -A a.bat > seen.txt; printf 'two\\r\\n' >> a.bat", owns=["a.bat", "seen.txt"]),
    )
    assert content(repo, run, "seen.txt") == "one^M$"
    assert git(repo, "cat-file", "-p", f"{run.tip}:a.bat") == "one\ntwo"


def test_r_m9_attributes_that_an_attempt_plants_convert_nothing(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "*.bat text eol=crlf\n", "a.bat": "one\n"})
    script = (
        "printf '*.txt text\\n' > .gitattributes; printf 'x\\r\\n' > mine.txt; git checkout -q .gitattributes"
    )
    planted = script.replace("; git checkout -q .gitattributes", "")
    run = run_plan(repo, feature("mine", planted, owns=[".gitattributes", "mine.txt"]))
    assert git(repo, "cat-file", "-s", f"{run.tip}:mine.txt") == "3"
