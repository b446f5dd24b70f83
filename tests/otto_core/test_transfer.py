"""A landing on a branch that is checked out, killed at every step: what follows is as if nothing had been."""

import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from merge.objects import GitError, Oid
from otto_core import transfer
from otto_core.cli.main import main
from otto_core.delivery import Order, deliver
from otto_core.errors import Stale
from otto_core.git.repository import Checkout, GitRepository
from otto_core.journal import Journal
from otto_core.model import Outcome
from otto_core.runlock import hold_delivery
from otto_core.usertree import write_files
from tests.builders import Files, RunBuilder, git, make_repo, plan, task

ROOT = Path(__file__).parents[2]
RUN = "r-20261120-aaaa"
FILES: dict[str | bytes, str | bytes] = {
    "README.md": "A shop.\n",
    "a/changed.txt": "old\n",
    "a/removed.txt": "old\n",
    "a/swapped": "a file\n",
    "a/tree/one.txt": "one\n",
    "a/tree/two.txt": "two\n",
    "notes.txt": "notes\n",
    "staged.txt": "as committed\n",
}
LANDS: Files = {
    "a/changed.txt": "new\n" * 2000,
    "a/removed.txt": None,
    "a/swapped": None,
    "a/swapped/now-a-directory.txt": "new\n",
    "a/tree/one.txt": None,
    "a/tree/two.txt": None,
    "a/tree": "now a file\n",
    "a/added/deep.txt": "new\n",
    b"a/caf\xe9.txt": "latin\n",
}
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


def make_template(place: Path, *, moved: bool) -> Path:
    """Make a repository with a finished run and a person's own work in the checkout; main moved on or not."""
    repo = make_repo(place, FILES)
    base = git(repo, "rev-parse", "HEAD")
    built = RunBuilder(repo, whole=plan(base, task("a", owns=["a/**"]), each=["test -e README.md"]))
    built.do("a", LANDS)
    built.finish(Outcome.LANDED)
    built.journal.close()
    if moved:
        (repo / "README.md").write_text("A shop that moved.\n")
        git(repo, "commit", "--quiet", "--all", "--message", "mine")
    (repo / "notes.txt").write_text("edited\n")
    (repo / "staged.txt").write_text("staged\n")
    git(repo, "add", "staged.txt")
    (repo / "staged.txt").write_text("edited after it was staged\n")
    (repo / "untracked.txt").write_text("mine\n")
    return repo


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"), moved=True)


@pytest.fixture
def repo(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "repo", symlinks=True))


@dataclass(frozen=True)
class Looks:
    """All that a person could tell two checkouts apart by; commits by their trees and parents."""

    files: dict[str, bytes]
    status: str
    index: str
    tree: str
    branches: str
    leftovers: list[str]


def looks(repo: Path) -> Looks:
    files = [path for path in repo.rglob("*") if path.is_file() and ".git" not in path.parts]
    tips = git(repo, "for-each-ref", "--format=%(refname) %(tree)", "refs/heads")
    return Looks(
        files={os.fsencode(path.relative_to(repo)).decode("latin-1"): path.read_bytes() for path in files},
        status=git(repo, "status", "--porcelain"),
        index=git(repo, "ls-files", "--stage"),
        tree=git(repo, "rev-parse", "HEAD^{tree}"),
        branches=tips + (repo / ".git/HEAD").read_text(),
        leftovers=[
            str(p.relative_to(repo)) for p in (repo / ".git").rglob("*.lock") if "otto" not in p.parts
        ],
    )


def otto(repo: Path, *args: str) -> Result:
    with contextlib.chdir(repo):
        return CliRunner().invoke(main, list(args))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def kill(repo: Path, step: str, number: int, when: str) -> None:
    command = [sys.executable, "-m", "tests.otto_core.killed_landing", step, str(number), when, "land"]
    done = subprocess.run(
        command, cwd=repo, env=environment(), capture_output=True, start_new_session=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.fixture(scope="module")
def undisturbed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Looks:
    repo = Path(shutil.copytree(template, tmp_path_factory.mktemp("undisturbed") / "repo", symlinks=True))
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    found = looks(repo)
    assert found.files["a/changed.txt"] == b"new\n" * 2000
    assert found.files["notes.txt"] == b"edited\n"
    assert found.status.splitlines() == ["M notes.txt", "MM staged.txt", "?? untracked.txt"]
    return found


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


FILTER = "if test -e boom && rm boom; then kill -9 0; fi; cat"
"""A filter of the user's that once kills all that is at work."""


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
