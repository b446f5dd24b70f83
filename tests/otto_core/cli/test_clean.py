"""`otto clean`, as its user meets it, and what other verbs say of a run that was cleaned."""

import json
import os
import re
from pathlib import Path

import pytest

from otto_core.inventory import unused_s
from tests.builders import git, make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.full_disk import little_room
from tests.otto_core.runs import feature, run_and_merge, writes


def test_what_goes_and_what_stays_is_a_line_each_with_what_was_freed(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    over = run_and_merge(repo, writes("one"))
    failed = run_and_merge(repo, feature("two", "echo 2 > two.txt; exit 1", max_attempts=1))
    ref = f"refs/otto/runs/{failed.id}/tasks/two/attempt-1"
    told = otto("clean", "--dry-run", at=repo)
    assert told.exit_code == 0, told.output
    assert f"would go  {over.id}" in told.stdout
    assert f"kept      {ref}: it is the only copy of what 'two' wrote" in told.stdout
    again = f"otto retry two --run {failed.id}; or if you do not need it: git update-ref -d {ref}"
    assert f"hint: {again}" in told.stdout
    assert re.search(r"^\d+ kB would be freed$", told.stdout, re.MULTILINE)
    done = otto("clean", "--json", at=repo)
    document = json.loads(done.stdout)
    assert (done.exit_code, document["dry_run"]) == (0, False)
    assert over.id in [one["what"] for one in document["removed"]]
    assert [one["what"] for one in document["kept"]] == [ref]
    assert document["freed_bytes"] == sum(one["bytes"] for one in document["removed"])


def test_a_store_that_takes_nothing_is_told_and_no_bug(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    run = run_and_merge(repo, writes("one"))
    with little_room("limit", repo, 0):
        done = otto("clean", at=repo)
    assert done.exit_code == 4, done.output
    assert "error: Otto could not go on: [Errno 27] File too large\n" in done.stderr
    assert done.stderr.endswith("then otto clean\n")
    assert not (repo / ".git/otto/reports").exists()
    assert f"removed  {run.id}" in otto("clean", at=repo).stdout


def test_a_place_that_a_driver_takes_away_at_this_moment_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, lstat = tmp_path / "io", Path.lstat
    place.mkdir()

    def just_before(looked_at: Path) -> os.stat_result:
        found = lstat(looked_at)
        place.rmdir()
        return found

    monkeypatch.setattr(Path, "lstat", just_before)
    assert unused_s(place) < 3600


def test_where_nothing_was_built_there_is_nothing_to_clean(tmp_path: Path, otto: Otto) -> None:
    result = otto("clean", at=make_repo(tmp_path))
    assert (result.exit_code, result.stdout) == (0, "There is nothing to clean.\n")


@pytest.mark.parametrize(("age", "goes"), [("2w", False), ("30d", False), ("1h30m", False), ("0", True)])
def test_an_age_may_be_in_weeks_and_days(tmp_path: Path, otto: Otto, age: str, goes: bool) -> None:
    repo = make_repo(tmp_path)
    run = run_and_merge(repo, writes("one"))
    document = json.loads(otto("clean", "--json", "--older-than", age, at=repo).stdout)
    assert (run.id in [one["what"] for one in document["removed"]]) is goes


def test_what_is_no_age_is_a_usage_error(tmp_path: Path, otto: Otto) -> None:
    result = otto("clean", "--older-than", "soon", at=make_repo(tmp_path))
    assert result.exit_code == 2
    assert "is not a duration" in result.stderr


def test_of_a_cleaned_run_every_verb_says_what_is_gone(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    run = run_and_merge(repo, writes("one"), feature("two", "exit 1", max_attempts=1))
    otto("clean", at=repo)
    status = otto("status", at=repo)
    assert status.exit_code == 0
    assert "cleaned by " in status.stdout
    assert "warning" not in status.stderr
    assert "otto land" not in status.stdout
    rows = json.loads(otto("status", "--json", at=repo).stdout)["tasks"]
    assert [row["on_result"] for row in rows] == [True, False]
    logs = otto("logs", "one", at=repo)
    assert logs.exit_code == 2
    assert f"the logs of {run.id} were removed by `otto clean`" in logs.stderr
    assert "+one" in otto("diff", "one", at=repo).stdout
    assert "its refs and logs are removed, as" in otto("log", at=repo).stdout
    for verb in (["land"], ["resume"], ["retry", "two"]):
        refused = otto(*verb, at=repo)
        assert refused.exit_code == 2, refused.output
        assert f"{run.id} was cleaned" in refused.stderr


def test_what_git_has_collected_of_a_cleaned_run_is_told(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    run_and_merge(
        repo, feature("one", 'echo "$OTTO_ATTEMPT" > one.txt; test "$OTTO_ATTEMPT" = 2', max_attempts=2)
    )
    otto("clean", at=repo)
    git(repo, "-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")
    assert otto("show", "one", at=repo).exit_code == 0
    assert "+2" in otto("diff", "one", at=repo).stdout
    gone = otto("diff", "one", "--attempt", "1", at=repo)
    assert gone.exit_code == 2
    assert "was cleaned, and Git has collected attempt 1 of one since" in gone.stderr
