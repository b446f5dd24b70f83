"""A git of Otto's own that outlives its driver: nobody gets the worktree that it still writes to."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from otto_core import recover
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.resume import Limits, resume
from otto_core.slots import Slot, is_borrowed
from tests.builders import git, make_repo
from tests.otto_core.held import Otto, newest
from tests.otto_core.runs import content, feature, run_plan, write_plan
from tests.waiting import until

WHERE = feature("one", 'echo "$OTTO_WORKTREE" > one.txt')


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have the first git that fills a worktree wait, once it runs, until `go` is there."""
    signs, programs = tmp_path / "signs", tmp_path / "programs"
    signs.mkdir()
    programs.mkdir()
    real = shutil.which("git")
    assert real is not None
    begun, go = (shlex.quote(str(signs / name)) for name in ("begun", "go"))
    (programs / "git").write_text(
        f'#!/bin/sh\ncase " $* " in *" read-tree "*)\n'
        f"  if mkdir {begun} 2>/dev/null; then while [ ! -e {go} ]; do sleep 0.02; done; fi;;\nesac\n"
        f'exec {shlex.quote(real)} "$@"\n'
    )
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    yield signs
    (signs / "go").touch()


@pytest.mark.parametrize("then", ["build", "resume"])
def test_r_s10_i13_a_worktree_that_a_dead_drivers_git_still_writes_to_is_nobodys(
    repo: Path, held: Path, tmp_path: Path, then: str
) -> None:
    with Otto.at(repo, tmp_path / "signals") as otto:
        otto.process = otto.start("build", "--plan", str(write_plan(repo, WHERE)))
        until((held / "begun").exists)
        otto.kill()
    before = newest(repo)
    first = Slot.below(Path(before.settings.worktrees), "slot-0")
    assert is_borrowed(first), "its git has not ended"
    if then == "build":
        run = run_plan(repo, WHERE)
    else:
        run = resume(GitRepository.discover(repo), before.id, Limits())
    assert Path(content(repo, run, "one.txt").strip()).name == "slot-1"
    (held / "go").touch()
    until(lambda: not is_borrowed(first))
    assert git(repo, "status", "--porcelain") == ""


def test_r_x3_who_still_uses_the_worktree_of_a_lost_attempt_is_named_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter of the user's hangs while git converts what the attempt wrote, and Otto is killed."""
    repo = make_repo(tmp_path, {".gitattributes": "*.txt filter=slow\n"})
    go = tmp_path / "signals/filter.go"
    with Otto.at(repo, tmp_path / "signals") as otto:
        git(repo, "config", "filter.slow.clean", f"{otto.hold('filter')}; cat")
        otto.build(feature("one", "echo 1 > one.txt"), until="filter")
        otto.kill()
        run = newest(repo)
        with monkeypatch.context() as patch:
            patch.setattr(recover, "_PATIENCE_S", 0.1)
            with pytest.raises(
                RepositoryUnusable, match=r"process \d+ \(.+\), by an open file, uses .*slot-0"
            ):
                resume(GitRepository.discover(repo), run.id, Limits())
        go.touch()
        assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.LANDED
