"""A landing that fails half way is taken back, or told as cut off and finished by the next."""

import contextlib
import errno
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from merge.objects import GitError, Oid
from otto_core import transfer
from otto_core.delivery import Order, deliver
from otto_core.errors import Stale
from otto_core.git.repository import Checkout, GitRepository
from otto_core.journal import Journal
from otto_core.usertree import write_files
from tests.builders import RunBuilder, git, make_repo, task
from tests.otto_core.deliveries import FILES, LANDS, RUN, Looks, looks, otto


@pytest.fixture
def repo(landing_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(landing_template, tmp_path / "repo", symlinks=True))


@pytest.fixture
def filtered(tmp_path: Path) -> Path:
    """Give a run that changes a file which passes a filter of the user's, one that git may not do without."""
    repo = make_repo(tmp_path, {**FILES, "a/m.big": "old\n", ".gitattributes": "a/*.big filter=boom\n"})
    for key, value in {"required": "true", "clean": "cat", "smudge": "cat"}.items():
        git(repo, "config", f"filter.boom.{key}", value)
    RunBuilder(repo, task("a", owns=["a/**"])).do("a", {**LANDS, "a/m.big": "large\n" * 9})
    return repo


def test_i8_where_git_fails_half_way_the_files_are_taken_back(filtered: Path) -> None:
    before = looks(filtered)
    git(filtered, "config", "filter.boom.smudge", "grep old")
    done = otto(filtered, "land")
    assert done.exit_code == 4
    assert "smudge filter boom failed" in done.stderr
    assert looks(filtered) == before
    assert Journal.open(filtered / ".git/otto/otto.db").undelivered() == []


def test_i8_where_taking_back_fails_too_the_next_landing_finishes(filtered: Path) -> None:
    git(filtered, "config", "filter.boom.smudge", "false")
    done = otto(filtered, "land")
    assert done.exit_code == 4
    assert "could not be taken back" in done.stderr
    assert "was cut off" in otto(filtered, "status").stderr
    git(filtered, "config", "filter.boom.smudge", "cat")
    assert otto(filtered, "land").exit_code == 0
    assert git(filtered, "status", "--porcelain") == ""
    assert (filtered / "a/m.big").read_text() == "large\n" * 9


def failing_with(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def change_store(repo: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(repo / ".git/otto/otto.db")) as store:
        store.execute(statement)


def refuse(repo: Path, kind: str) -> None:
    """Have the store of a repository refuse one type of event, as a full disk would."""
    refusal = "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    change_store(repo, f"CREATE TRIGGER full BEFORE INSERT ON events WHEN NEW.type = '{kind}' {refusal}")


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("fails", "error", "told"),
    [
        pytest.param(["swap", "apply"], FULL, "could not be taken back", id="taking back"),
        pytest.param(
            ["swap", "apply"], GitError("no room"), "could not be taken back", id="taking back: git"
        ),
        pytest.param(["install_index"], FULL, "the branch has moved, but", id="after the swap"),
        pytest.param(["swap", "apply", "release_index"], FULL, "could not be unlocked", id="and unlocking"),
    ],
)
def test_i8_a_landing_that_can_be_neither_ended_nor_undone_is_finished_by_the_next(
    repo: Path,
    undisturbed: Looks,
    monkeypatch: pytest.MonkeyPatch,
    fails: list[str],
    error: Exception,
    told: str,
) -> None:
    with monkeypatch.context() as patch:
        for step in fails:
            patch.setattr(transfer, step, failing_with(error))
        done = otto(repo, "land")
    assert done.exit_code == 4, done.stderr
    assert told in done.stderr
    assert f"`otto land {RUN}` finishes it" in done.stderr
    assert "was left as it was" not in otto(repo, "log").stdout
    assert "was cut off" in otto(repo, "status").stderr
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    assert looks(repo) == undisturbed


@pytest.mark.parametrize(
    ("step", "error"),
    [
        pytest.param("take_index", FULL, id="lock"),
        pytest.param("copy_index", FULL, id="copy"),
        pytest.param("swap", GitError("failed to write"), id="swap"),
    ],
)
def test_i8_a_disk_that_refuses_a_step_is_told_and_changes_nothing(
    repo: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    before = looks(repo)
    with monkeypatch.context() as patch:
        patch.setattr(transfer, step, failing_with(error))
        done = otto(repo, "land")
    assert done.exit_code == 4, done.stderr
    assert f"the landing could not go on: {error}" in done.stderr
    assert looks(repo) == before
    assert Journal.open(repo / ".git/otto/otto.db").undelivered() == []
    assert otto(repo, "land").exit_code == 0


@pytest.mark.parametrize(
    ("fails", "refused", "told"),
    [
        pytest.param("take_index", "delivery_undone", "was taken back, but that could not", id="undone"),
        pytest.param(None, "delivery_applied", "the branch has moved, but that could not", id="applied"),
    ],
)
def test_i8_an_end_that_cannot_be_journalled_is_told_as_cut_off(
    repo: Path,
    undisturbed: Looks,
    monkeypatch: pytest.MonkeyPatch,
    fails: str | None,
    refused: str,
    told: str,
) -> None:
    refuse(repo, refused)
    with monkeypatch.context() as patch:
        if fails:
            patch.setattr(transfer, fails, failing_with(FULL))
        done = otto(repo, "land")
    assert done.exit_code == 4, done.stderr
    assert "the landing was cut off" in done.stderr
    store = repo / ".git/otto/otto.db"
    assert f"{told} be journalled (the store {store} cannot be used: disk is full)" in done.stderr
    assert f"`otto land {RUN}` finishes it" in done.stderr
    change_store(repo, "DROP TRIGGER full")
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    assert looks(repo) == undisturbed


def test_i8_nothing_is_taken_back_where_writing_could_not_begin(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = looks(repo)
    refuse(repo, "delivery_writing")
    monkeypatch.setattr(transfer, "apply", failing_with(FULL))
    done = otto(repo, "land")
    assert done.exit_code == 4
    assert f"error: the store {repo / '.git/otto/otto.db'} cannot be used: disk is full" in done.stderr
    assert looks(repo) == before
    assert Journal.open(repo / ".git/otto/otto.db").undelivered() == []


def test_i8_a_branch_that_moves_while_files_are_written_undoes_the_landing(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = looks(repo)
    elsewhere = git(repo, "commit-tree", "-m", "other", "-p", "main", "main^{tree}")

    def meanwhile(checkout: Checkout, old: Oid, new: Oid, copy: Path, **kwargs: Callable[[], object]) -> None:
        write_files(checkout, old, new, copy, **kwargs)
        if git(repo, "rev-parse", "main") != elsewhere:
            git(repo, "update-ref", "refs/heads/main", elsewhere)

    monkeypatch.setattr(transfer, "write_files", meanwhile)
    with Journal.open(repo / ".git/otto/otto.db") as journal, pytest.raises(Stale, match=elsewhere[:12]):
        deliver(GitRepository.discover(repo), journal, Order(RUN, "refs/heads/main"))
    assert looks(repo) == before
    with Journal.open(repo / ".git/otto/otto.db") as journal:
        assert journal.load(RUN).delivery is None


def test_i8_a_git_that_is_killed_while_it_writes_files_is_taken_back_and_the_next_landing_lands(
    tmp_path: Path,
) -> None:
    """A filter of the user's kills the git that writes the files, and that alone."""
    attributes: dict[str | bytes, str | bytes] = {**FILES, ".gitattributes": "a/*.big filter=boom\n"}
    repo = make_repo(tmp_path, attributes)
    git(repo, "config", "filter.boom.smudge", "if test -e boom && rm boom; then kill -9 0; fi; cat")
    git(repo, "config", "filter.boom.clean", "cat")
    built = RunBuilder(repo, task("a", owns=["a/**"]))
    built.do("a", {**LANDS, "a/m.big": "large\n" * 9})
    before = git(repo, "rev-parse", "main")
    (repo / "boom").touch()
    done = otto(repo, "land")
    assert done.exit_code == 4
    assert f"the git that moved the files in {repo} was ended by signal 9" in done.stderr
    assert git(repo, "rev-parse", "main") == before
    assert git(repo, "status", "--porcelain") == ""
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "rev-parse", "main") == built.run.tip
