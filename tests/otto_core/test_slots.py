"""Where the worktrees of a repository are."""

from pathlib import Path

import pytest

from otto_core.errors import UsageError
from otto_core.git.repository import GitRepository
from otto_core.slots import worktree_root
from tests.builders import make_repo


def test_where_the_home_is_the_repository_the_hint_names_a_key_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path)
    monkeypatch.setenv("HOME", str(repo))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(UsageError, match="cache directory lies inside the repository") as refused:
        worktree_root(GitRepository.discover(repo))
    assert "worktrees.root: /absolute/path/outside" in refused.value.hint
    assert "null" not in refused.value.hint
    assert worktree_root(GitRepository.discover(repo), tmp_path / "outside").is_relative_to(tmp_path)


def test_a_configured_place_inside_the_repository_is_refused(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    with pytest.raises(UsageError, match=r"`worktrees\.root` lies inside") as refused:
        worktree_root(GitRepository.discover(repo), repo / "pool")
    assert "or `null`" in refused.value.hint
