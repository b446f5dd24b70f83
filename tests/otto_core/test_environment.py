"""What Otto does where its environment names no home: a user without an entry in passwd(5) may have none."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from otto_core.environment import cache, home
from otto_core.errors import ExitCode, RepositoryUnusable
from otto_core.examination import examine
from otto_core.git.repository import GitRepository
from tests.builders import make_repo
from tests.otto_core.runs import run_plan, writes


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the home, and the entry of the user that would tell it."""

    def no_entry(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("directory", [home, cache])
def test_without_a_home_the_user_is_told_what_to_set(directory: Callable[[], Path]) -> None:
    with pytest.raises(RepositoryUnusable, match=f"user {os.getuid()} has no home") as refused:
        directory()
    assert "set HOME" in refused.value.hint


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("with_cache", [False, True], ids=["no cache", "a cache elsewhere"])
def test_a_build_without_a_home_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, with_cache: bool
) -> None:
    repo = make_repo(tmp_path)
    if with_cache:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(RepositoryUnusable, match="has no home") as refused:
        run_plan(repo, writes("one"))
    assert refused.value.exit_code is ExitCode.REPOSITORY
    assert not (repo / ".git/otto").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("homeless")
def test_the_doctor_tells_of_a_missing_home(tmp_path: Path) -> None:
    findings = examine(GitRepository.discover(make_repo(tmp_path)))
    [bad] = [finding for finding in findings if finding.check == "worktrees"]
    assert (bad.level, "has no home" in bad.message, "set HOME" in bad.hint) == ("bad", True, True)


def test_a_cache_of_its_own_needs_no_home(
    homeless: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert homeless is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "otto"
