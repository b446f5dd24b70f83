import sqlite3
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.freshness import Expectation, expectation, record_shown, target_of
from otto_core.git.repository import GitRepository
from otto_core.journal import Journal
from tests.builders import RunBuilder, git, make_repo, task


@pytest.fixture
def built(tmp_path: Path) -> RunBuilder:
    """Give a run that has landed one task."""
    built = RunBuilder(make_repo(tmp_path), task("a"), task("b"))
    built.do("a")
    return built


def shown(built: RunBuilder) -> list[ev.Shown]:
    """Give what was recorded as shown, oldest first."""
    stored = built.journal.events(built.run.id)
    return [one.event for one in stored if isinstance(one.event, ev.Shown)]


def look(built: RunBuilder) -> None:
    """Look at the run as `otto status` does: with a journal that is open for reading only."""
    with Journal.read(built.store / "otto.db") or pytest.fail("no journal") as reading:
        built.run = record_shown(GitRepository.discover(built.repo), reading, reading.load(built.run.id))


def test_what_was_shown_is_recorded_and_expected(built: RunBuilder) -> None:
    look(built)
    main = "refs/heads/main"
    assert expectation(built.run, main) == Expectation(target_commit=built.base, commit=built.run.tip)
    assert [(s.target, s.target_commit, s.commit) for s in shown(built)] == [
        (main, built.base, built.run.tip)
    ]


def test_a_target_that_was_never_shown_may_be_anywhere(built: RunBuilder) -> None:
    assert expectation(built.run, "refs/heads/main") == Expectation(None, None)
    look(built)
    assert expectation(built.run, "refs/heads/other") == Expectation(None, built.run.tip)


def test_looking_twice_at_the_same_ids_is_recorded_once(built: RunBuilder) -> None:
    look(built)
    look(built)
    assert len(shown(built)) == 1


def test_looking_again_after_either_side_moved_is_recorded(built: RunBuilder) -> None:
    look(built)
    git(built.repo, "commit", "--quiet", "--allow-empty", "--message", "mine")
    look(built)
    assert shown(built)[-1].target_commit == git(built.repo, "rev-parse", "main")
    commit = built.do("b")
    look(built)
    assert [s.commit for s in shown(built)][-2:] == [shown(built)[0].commit, commit]


def test_a_store_that_cannot_be_written_does_not_keep_anyone_from_looking(built: RunBuilder) -> None:
    with Journal.read(built.store / "otto.db") or pytest.fail("no journal") as reading:
        run = reading.load(built.run.id)
        with sqlite3.connect(built.store / "otto.db") as newer:
            newer.execute("PRAGMA user_version=99")
        newer.close()
        assert record_shown(GitRepository.discover(built.repo), reading, run) == run
    assert shown(built) == []


def test_the_target_is_the_branch_that_is_checked_out(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    assert target_of(GitRepository.discover(repo)) == "refs/heads/main"
    git(repo, "switch", "--quiet", "--create", "topic")
    assert target_of(GitRepository.discover(repo)) == "refs/heads/topic"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(["checkout", "--quiet", "--detach"], id="detached"),
        pytest.param(["checkout", "--quiet", "--orphan", "new"], id="before its first commit"),
        pytest.param(["config", "core.bare", "true"], id="bare"),
    ],
)
def test_where_no_branch_is_checked_out_there_is_no_target(tmp_path: Path, how: list[str]) -> None:
    repo = make_repo(tmp_path)
    git(repo, *how)
    assert target_of(GitRepository.discover(repo / ".git")) is None


def test_without_a_target_the_result_is_still_expected(built: RunBuilder) -> None:
    git(built.repo, "checkout", "--quiet", "--detach")
    look(built)
    assert expectation(built.run, "refs/heads/main") == Expectation(None, built.run.tip)
