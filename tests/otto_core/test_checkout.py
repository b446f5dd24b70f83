"""What of a checkout is not committed: read without a trace."""

import os
from pathlib import Path

from otto_core.checkout import Dirty, dirty_files
from otto_core.git.repository import GitRepository
from tests.builders import git, make_repo
from tests.otto_core.runs import fingerprint, run_plan, writes


def dirty(repo: Path) -> Dirty | None:
    return dirty_files(GitRepository.discover(repo))


def test_r_p12_changed_staged_renamed_deleted_and_untracked_paths_are_named(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {"a": "a\n", "b": "b\n", "c": "c\n", ".gitignore": "ignored\n"})
    assert dirty(repo) == Dirty((), 0)
    (repo / "a").write_text("mine\n")
    git(repo, "mv", "b", "moved")
    (repo / "c").unlink()
    (repo / "new").mkdir()
    (repo / "new/one").write_text("")
    (repo / "new/two").write_text("")
    (repo / "ignored").write_text("")
    assert dirty(repo) == Dirty((b"a", b"b", b"c", b"moved", b"new/"), 5)
    (repo / os.fsdecode(b"caf\xe9\n \xc3\xa9")).write_text("")
    assert dirty(repo) == Dirty((b"a", b"b", b"c", b"moved", b"caf\xe9\n \xc3\xa9"), 6)


def test_r_p12_reading_the_checkout_writes_nothing_not_even_a_stale_index(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {"a": "a\n", "b": "b\n"})
    os.utime(repo / "a", (1, 1))  # as after a copy: git would refresh the index, if it might
    (repo / "b").write_text("mine\n")
    index = (repo / ".git/index").stat()
    before = fingerprint(repo)
    assert dirty(repo) == Dirty((b"b",), 1)
    assert fingerprint(repo) == before
    assert (repo / ".git/index").stat().st_mtime_ns == index.st_mtime_ns
    git(repo, "status")
    assert fingerprint(repo) != before, "the index was not stale, so this test proves nothing"


def test_r_p12_a_linked_worktree_is_its_own_checkout_and_a_bare_repository_has_none(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    git(repo, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    (tmp_path / "linked/mine").write_text("")
    assert dirty(repo) == Dirty((), 0)
    assert dirty(tmp_path / "linked") == Dirty((b"mine",), 1)
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare")
    assert dirty(tmp_path / "bare") is None


def test_r_p12_a_checkout_that_git_cannot_read_stops_no_run(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    (repo / ".git/index").write_bytes(b"no index")
    assert dirty(repo) is None
    run = run_plan(repo, writes("one"))
    assert (run.start.dirty, run.start.dirty_count) == ((), None)
    assert run.outcome == "landed"


def test_r_p12_a_run_journals_five_dirty_paths_and_the_count(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    for number in range(7):
        (repo / f"mine-{number}").write_text("")
    run = run_plan(repo, writes("one"))
    assert run.start.dirty == tuple(f"mine-{number}".encode() for number in range(5))
    assert run.start.dirty_count == 7
