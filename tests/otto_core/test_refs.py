"""Pins of a run: how they are let go."""

from pathlib import Path

import pytest

from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.refs import pin, unpin
from tests.builders import git, make_repo
from tests.otto_core.test_git import wrap_git

LOOSE, PACKED, NESTED = (f"refs/otto/runs/r-1/{name}" for name in ("loose", "packed", "tasks/a/attempt-1"))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = make_repo(tmp_path)
    repository = GitRepository.discover(repo)
    head = repository.ref("refs/heads/main")
    assert head is not None
    for ref in (PACKED, NESTED):
        pin(repository, ref, head)
    git(repo, "pack-refs", "--all")
    pin(repository, LOOSE, head)
    return repo


def left(repo: Path) -> list[str]:
    return git(repo, "for-each-ref", "--format=%(refname)", "refs/otto").split()


def test_loose_and_packed_refs_go_together_and_no_other(repo: Path) -> None:
    head = git(repo, "rev-parse", "main")
    assert unpin(GitRepository.discover(repo), {LOOSE: head, PACKED: head}) == []
    assert left(repo) == [NESTED]
    assert git(repo, "rev-parse", "main") == head


def test_a_ref_that_has_moved_stays_and_is_named_and_one_that_is_gone_is_no_news(repo: Path) -> None:
    head = git(repo, "rev-parse", "main")
    moved = git(repo, "commit-tree", "-m", "another", "main^{tree}")
    git(repo, "update-ref", PACKED, moved)
    git(repo, "update-ref", "-d", NESTED)
    assert unpin(GitRepository.discover(repo), dict.fromkeys((LOOSE, PACKED, NESTED), head)) == [PACKED]
    assert left(repo) == [PACKED]
    assert git(repo, "rev-parse", PACKED) == moved


def test_r_s9_a_lock_that_stays_is_told_and_nothing_else_is_kept(repo: Path) -> None:
    head = git(repo, "rev-parse", "main")
    (repo / ".git" / f"{LOOSE}.lock").touch()
    with pytest.raises(RepositoryUnusable, match=r"loose cannot be deleted: .*loose\.lock"):
        unpin(GitRepository.discover(repo), {NESTED: head, LOOSE: head})
    assert left(repo) == [LOOSE, PACKED]


def test_i8_a_branch_that_a_pin_was_made_to_name_stays(repo: Path) -> None:
    head = git(repo, "rev-parse", "main")
    git(repo, "branch", "precious")
    git(repo, "symbolic-ref", LOOSE, "refs/heads/precious")
    assert unpin(GitRepository.discover(repo), {LOOSE: head, PACKED: head}) == []
    assert left(repo) == [NESTED]
    assert git(repo, "rev-parse", "precious") == head


KILLED = """#!/bin/sh
case " $* " in *" update-ref "*) kill -KILL $$;; esac
exec {git} "$@"
"""


def test_a_git_that_is_killed_before_it_deleted_anything_is_told(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(repo, "rev-parse", "main")
    with monkeypatch.context() as patch:
        wrap_git(tmp_path, KILLED, patch)
        with pytest.raises(RepositoryUnusable, match="was ended by signal 9"):
            unpin(GitRepository.discover(repo), {LOOSE: head})
    assert LOOSE in left(repo)


def test_the_users_hooks_have_no_say_in_it(repo: Path) -> None:
    hook = repo / ".git/hooks/reference-transaction"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert unpin(GitRepository.discover(repo), {LOOSE: git(repo, "rev-parse", "main")}) == []
    assert LOOSE not in left(repo)
