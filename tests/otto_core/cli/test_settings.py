"""`otto status --config`: which settings a build would have, and who said so."""

import json
from pathlib import Path

import pytest

from tests.builders import git, make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.runs import fingerprint


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"otto.yaml": "# mine\nconcurrency: 2\nverify:\n  each: [make test]\n"})


def test_each_setting_is_told_with_its_origin(
    repo: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTTO_BUDGET_WALL", "90m")
    (repo / "otto.yaml").write_text("concurrency: 9\n")
    before = fingerprint(repo)
    told = otto("status", "--config", at=repo).stdout.splitlines()
    commit = git(repo, "rev-parse", "HEAD")[:12]
    assert told[0] == f"A build on HEAD ({commit}); otto.yaml is that of the commit"
    rows = [line.split(maxsplit=2) for line in told[1:]]
    for row in (
        ["concurrency", "otto.yaml:2", "2"],
        ["verify.each", "otto.yaml:4", '["make test"]'],
        ["budget.wall", "OTTO_BUDGET_WALL", "1h30m"],
        ["worktrees.root", "default", "null"],
    ):
        assert row in rows
    assert fingerprint(repo) == before


def test_as_json_it_is_one_document(repo: Path, otto: Otto) -> None:
    told = json.loads(otto("status", "--config", "--json", at=repo).stdout)
    assert (told["base"], told["file_of"]) == (git(repo, "rev-parse", "HEAD"), "commit")
    by_key = {one.pop("key"): one for one in told["settings"]}
    assert by_key["concurrency"] == {"value": 2, "from": "file", "name": "otto.yaml", "line": 2}
    assert by_key["agent"] == {"value": "command", "from": "default", "name": None, "line": None}


def test_it_says_when_the_file_is_that_of_the_checkout_or_there_is_none(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    assert otto("status", "--config", at=repo).stdout.splitlines()[0].endswith("; there is no otto.yaml")
    (repo / "otto.yaml").write_text("concurrency: 9\n")
    told = otto("status", "--config", at=repo).stdout
    assert "the commit has no otto.yaml, so that of your checkout counts" in told
    assert "otto.yaml:1" in told


def test_a_run_has_no_place_beside_it(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    result = otto("status", "--config", "r-20261120-aaaa")
    assert result.exit_code == 2
    assert "hint: otto status --config" in result.stderr
