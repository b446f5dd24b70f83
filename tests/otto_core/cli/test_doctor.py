"""`otto doctor`, as its user meets it."""

import json
import os
import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from otto_core.journal import Journal
from otto_core.model import Outcome
from otto_core.runlock import hold
from otto_core.state import Run
from tests.builders import RunBuilder, git, make_repo, task
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


def test_a_run_that_ends_while_the_doctor_looks_is_in_order(
    tmp_path: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.start("a")
    load = Journal.load
    with ExitStack() as driver:
        driver.enter_context(hold(built.store, built.run.id))

        def just_before(journal: Journal, run: str) -> Run:
            loaded = load(journal, run)
            if built.run.outcome is Outcome.RUNNING:
                built.produce("a")
                built.land("a")
                built.finish()
                driver.close()
            return loaded

        monkeypatch.setattr(Journal, "load", just_before)
        told = otto("doctor", at=built.repo)
    assert built.run.outcome is Outcome.LANDED
    assert (told.exit_code, "was left by its driver" in told.stdout) == (0, False), told.output


def test_what_is_mended_is_told_and_no_longer_bad(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    run = run_plan(repo, writes("one"))
    lock = repo / ".git" / f"refs/otto/runs/{run.id}/tip.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    told = otto("doctor", at=repo)
    assert told.exit_code == 4
    assert told.stdout.endswith("`otto doctor --fix` mends 1 of these.\n")
    fixed = otto("doctor", "--fix", at=repo)
    assert fixed.exit_code == 0, fixed.output
    assert fixed.stdout.startswith(f"mended  ref locks: {lock} was left ")
    assert "ok    ref locks" in fixed.stdout
    assert json.loads(otto("doctor", "--fix", "--json", at=repo).stdout)["mended"] == []


def test_r_s5_the_doctor_says_what_cleaning_would_free(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    run_plan(repo, writes("one"))
    [row] = [row for row in otto("doctor", at=repo).stdout.splitlines() if "  disk " in row]
    assert re.search(r"; `otto clean` frees \d+ kB$", row)
    otto("clean", at=repo)
    assert "otto clean" not in otto("doctor", at=repo).stdout
