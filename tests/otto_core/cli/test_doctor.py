"""`otto doctor`, as its user meets it."""

import json
from pathlib import Path

from tests.builders import git, make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.runs import run_plan, writes


def test_what_is_well_is_a_line_a_check_and_exit_0(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    run_plan(repo, writes("one"))
    result = otto("doctor", at=repo)
    assert result.exit_code == 0, result.output
    assert "ok    store          version 2, 1 run\n" in result.stdout
    assert json.loads(otto("doctor", "--json", at=repo).stdout)["bad"] == 0


def test_what_is_bad_has_a_hint_and_is_exit_4(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    run = run_plan(repo, writes("one"))
    ref = f"refs/otto/runs/{run.id}/tip"
    git(repo, "update-ref", "-d", ref)
    result = otto("doctor", at=repo)
    assert result.exit_code == 4
    assert f"bad   landings       {ref} is gone\n" in result.stdout
    assert f"hint: git update-ref {ref} {run.tip}\n" in result.stdout
    as_json = otto("doctor", "--json", at=repo)
    told = json.loads(as_json.stdout)
    assert (as_json.exit_code, told["bad"]) == (4, 1)
    [bad] = [finding for finding in told["findings"] if finding["level"] == "bad"]
    assert (bad["check"], bad["message"]) == ("landings", f"{ref} is gone")
