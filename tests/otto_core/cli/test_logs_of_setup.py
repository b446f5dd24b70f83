"""`otto logs --setup`: what the setup of worktrees printed."""

from pathlib import Path

import pytest

from tests.builders import make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.runs import feature, run_plan, writes

SETUP = "case $OTTO_WORKTREE in */check-*) echo for a check;; *) echo for an attempt;; esac"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    place = make_repo(tmp_path)
    (place / "otto.yaml").write_text(f"worktrees: {{setup: ['{SETUP}; test ! -e {tmp_path}/broken']}}\n")
    return place


def test_the_setup_of_an_attempt_and_of_the_runs_checks_is_shown(repo: Path, otto: Otto) -> None:
    run_plan(repo, writes("one"), verify={"final": ["true"]})
    assert otto("logs", "one", "--setup", at=repo).stdout == "for an attempt\n"
    assert otto("logs", "--setup", at=repo).stdout == "for a check\n"


def test_the_hint_of_a_failed_setup_shows_its_output(repo: Path, otto: Otto, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    run = run_plan(repo, feature("one", "true", max_attempts=2))
    reason = run.tasks["one"].reason
    assert reason is not None
    assert otto(*reason.hint.split()[1:], at=repo).stdout == "for an attempt\n"


def test_an_attempt_without_setup_says_so(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").unlink()
    run_plan(repo, writes("one"))
    result = otto("logs", "one", "--setup", at=repo)
    assert result.exit_code == 2
    assert "no worktree was set up then" in result.stderr
