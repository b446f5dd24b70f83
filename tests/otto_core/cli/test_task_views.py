"""`otto show`, `otto diff` and `otto logs`: one task at a time."""

import json
import subprocess
from pathlib import Path

import pytest
from msgspec import structs

from otto_core import events as ev
from otto_core.cli import output
from otto_core.cli.changed import excerpt
from otto_core.model import ReasonKind, Verdict
from tests.builders import RunBuilder, git, make_repo, reason, task
from tests.otto_core.cli.conftest import Otto


def test_show_tells_every_attempt_with_its_reason_and_paths(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    result = otto("show", "coupons")
    assert result.exit_code == 0
    told = result.stdout
    assert told.startswith("✗ coupons failed  Take coupons\n")
    first, _, second = told.partition("\nattempt 2")
    assert "write_gate: the write gate refused the result: README.md is not owned by this task" in first
    assert "  modified README.md\n  added    coupons/a.py" in first
    assert "agent_failed: the command exited with 1: no such coupon" in second
    assert "took 0.4s, no telemetry: command agent" in second
    assert "failed for good (agent_failed)" in second


def test_show_of_a_landed_task_names_commit_strategy_and_checks(shop: Path, otto: Otto) -> None:
    told = otto("show", "accounts").stdout
    assert f"commit    {git(shop, 'rev-parse', 'otto/add-accounts')}" in told
    assert "strategy  pygit2" in told
    assert "check passed in 0.2s: make test" in told
    assert "added    accounts/caf\\xe9.txt" in told


def test_r_x9_show_as_json_names_run_task_and_attempt_everywhere(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    document = json.loads(otto("show", "coupons", "--json").stdout)
    assert document["run"] == "r-20261120-aaaa"
    assert document["task"]["id"] == "coupons"
    assert document["task"]["owns"] == ["coupons/**"]
    attempts = document["attempts"]
    assert [(a["attempt"], a["result"], a["reason"]["kind"]) for a in attempts] == [
        (1, "failed", "write_gate"),
        (2, "failed", "agent_failed"),
    ]
    assert attempts[0]["paths"] == [
        {"path": "README.md", "change": "modified"},
        {"path": "coupons/a.py", "change": "added"},
    ]
    assert [row["type"] for row in document["history"]] == [
        *("attempt_started", "attempt_failed", "attempt_started", "attempt_failed", "task_failed")
    ]


def test_show_keeps_the_checks_and_reasons_of_attempts_apart(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.start("a")
    built.produce("a")
    produced = built.run.tasks["a"].produced
    assert produced is not None
    built.check("a", "make test", produced.tree, result="failed")
    built.reject("a", reason(ReasonKind.VERIFY_FAILED, "the check failed"), then="retry")
    built.do("a")
    attempts = json.loads(otto("show", "a", "--json", at=built.repo).stdout)["attempts"]
    assert [a["result"] for a in attempts] == ["produced", "produced"]
    assert [a["reason"] and a["reason"]["kind"] for a in attempts] == ["verify_failed", None]
    assert [[c["result"] for c in a["checks"]] for a in attempts] == [["failed"], ["passed"]]


def test_show_as_json_escapes_paths_that_are_not_utf_8(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    printed = otto("show", "accounts", "--json").stdout
    assert "accounts/caf\\udce9.txt" in printed
    assert {"path": "accounts/caf\udce9.txt", "change": "added"} in json.loads(printed)["attempts"][0][
        "paths"
    ]


def test_show_of_a_task_that_never_ran_says_what_it_waits_for(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"), task("b", after=["a"]))
    told = otto("show", "b", at=built.repo).stdout
    assert "waits for  a" in told
    assert "attempt" not in told


def test_r_w3_a_diff_names_target_branch_base_and_when_it_was_made(shop: Path, otto: Otto) -> None:
    told = otto("diff", "accounts").stdout.splitlines()
    main, tip = git(shop, "rev-parse", "main"), git(shop, "rev-parse", "otto/add-accounts")
    assert told[0] == "# accounts, attempt 1 of run r-20261120-aaaa: as it landed; 2 files"
    assert told[1] == f"# from {git(shop, 'rev-parse', 'otto/add-accounts^1')}"
    assert told[2] == f"# to   {tip}"
    assert told[3:6] == [
        f"# target main at {main}, merge base {main}",
        f"# branch otto/add-accounts at {tip}",
        f"# base   {main}",
    ]
    assert told[6].startswith("# made   20")


def test_a_piped_diff_is_a_patch_that_git_applies(shop: Path, otto: Otto, tmp_path: Path) -> None:
    patch = otto("diff", "accounts").stdout_bytes
    git(shop, "worktree", "add", "--quiet", "--detach", str(tmp_path / "w"), "otto/add-accounts^1")
    subprocess.run(["git", "apply", "--index"], cwd=tmp_path / "w", input=patch, check=True)
    assert git(tmp_path / "w", "write-tree") == git(shop, "rev-parse", "otto/add-accounts^{tree}")


def test_the_diff_of_a_task_that_did_not_land_is_of_a_snapshot(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    document = json.loads(otto("diff", "coupons", "--attempt", "1", "--json").stdout)
    assert (document["kind"], document["attempt"]) == ("snapshot", 1)
    assert [row["path"] for row in document["paths"]] == ["README.md", "coupons/a.py"]
    assert "+mine" in document["patch"]


def test_a_diff_tells_what_was_added_modified_and_deleted(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path, {"old": "1\n", "kept": "1\n"}), task("a"))
    built.do("a", {"old": None, "kept": "2\n", "new": "1\n"})
    document = json.loads(otto("diff", "a", "--json", at=built.repo).stdout)
    assert [(row["path"], row["change"]) for row in document["paths"]] == [
        ("kept", "modified"),
        ("new", "added"),
        ("old", "deleted"),
    ]


def test_a_diff_as_json_keeps_every_byte(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.do("a", {b"a/\xff": b"latin \xe9\n"})
    printed = otto("diff", "a", "--json", at=built.repo).stdout
    document = json.loads(printed)
    assert document["paths"] == [{"path": "a/\udcff", "change": "added"}]
    assert b"+latin \xe9\n" in document["patch"].encode("utf-8", "surrogateescape")
    assert printed.isascii()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["coupons"], "attempt 2 of coupons changed nothing", id="nothing left behind"),
        pytest.param(["changelog"], "changelog has not been tried yet: it is failed", id="never tried"),
        pytest.param(["accounts", "--attempt", "2"], "accounts has no attempt 2", id="no such attempt"),
    ],
)
def test_where_there_is_nothing_to_compare_diff_says_why(
    shop: Path,  # noqa: ARG001
    otto: Otto,
    args: list[str],
    message: str,
) -> None:
    result = otto("diff", *args, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["message"] == message


def test_a_running_attempt_has_no_diff_yet(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.start("a")
    result = otto("diff", "a", at=built.repo)
    assert (result.exit_code, result.stderr) == (
        *(2, f"error: attempt 1 of a is still running\nhint: otto logs a --run {built.run.id}\n"),
    )


def test_a_snapshot_that_is_gone_is_named(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a", max_attempts=1))
    built.start("a")
    built.fail("a", files={"a/x": "x\n"})
    commit = getattr(built.run.tasks["a"].attempts[0].end, "snapshot", None)
    git(built.repo, "update-ref", "-d", "refs/otto/runs/r-20261120-aaaa/tasks/a/attempt-1")
    git(built.repo, "gc", "--quiet", "--prune=now")
    result = otto("diff", "a", at=built.repo)
    assert result.exit_code == 4
    assert f"the commit {commit} is not in the repository any more" in result.stderr


def test_logs_are_copied_byte_by_byte_where_no_terminal_reads_them(shop: Path, otto: Otto) -> None:
    written = (shop / ".git/otto/logs/r-20261120-aaaa/coupons.2.log").read_bytes()
    assert otto("logs", "coupons").stdout_bytes == written
    assert otto("logs", "coupons", "--attempt", "1").stdout == "working\n"


def test_the_log_of_a_check_is_that_of_the_attempt_s_last(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    assert otto("logs", "accounts", "--check").stdout == "make test: passed\n"
    result = otto("logs", "coupons", "--check")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nothing of attempt 2 of coupons was checked" in result.stderr


def test_without_a_task_the_log_is_that_of_the_final_check_which_failed(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    commit = built.do("a")
    assert otto("logs", "--check", at=built.repo).exit_code == 2
    verdict = Verdict(
        command="make journey",
        scope="final",
        tree=git(built.repo, "rev-parse", f"{commit}^{{tree}}"),
        digest="d" * 64,
        result="failed",
        exit_code=1,
        duration_s=0.1,
        log="run.final-1.log",
    )
    (built.store / "logs/r-20261120-aaaa/run.final-1.log").write_bytes(b"lost on the way\n")
    passed = structs.replace(verdict, result="passed", exit_code=0, log="run.final-2.log")
    for one, baseline in ((verdict, False), (passed, False), (passed, True)):
        built.append(ev.Checked(task=None, attempt=None, baseline=baseline, verdict=one))
    assert otto("logs", "--check", at=built.repo).stdout == "lost on the way\n"
    assert otto("logs", at=built.repo).exit_code == 2


def test_r_w2_a_missing_log_is_named_with_its_path(shop: Path, otto: Otto) -> None:
    place = shop / ".git/otto/logs/r-20261120-aaaa/coupons.2.log"
    place.unlink()
    result = otto("logs", "coupons")
    assert result.exit_code == 4
    assert f"the log {place} cannot be read: No such file or directory" in result.stderr


PATCH = (
    b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n@@ -9 +9 @@\n-@@ 9\n+@@ 8\n"
    b"diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +1 @@\n-1\n+2\n"
)
"""Two hunks in one file, one in another; lines of content begin as a hunk does after their first letter."""


@pytest.mark.parametrize(
    ("limit", "ends", "hunks"),
    [
        pytest.param(None, b"", 3, id="no limit"),
        pytest.param(len(PATCH), b"", 3, id="just long enough"),
        pytest.param(len(PATCH) - 1, b"diff --git a/b", 2, id="after the first file"),
        pytest.param(PATCH.index(b"diff --git a/b") - 1, b"@@ -9", 1, id="after the first hunk"),
        pytest.param(PATCH.index(b"@@ -9") - 1, b"+2\n@@ -9", 0, id="within the first hunk"),
    ],
)
def test_r_w3_an_excerpt_ends_after_a_whole_hunk_and_counts_what_it_is_of(
    limit: int | None, ends: bytes, hunks: int
) -> None:
    part = excerpt(PATCH, limit)
    assert part.shown == (PATCH[: PATCH.index(ends)] if ends else PATCH)
    assert (part.hunks, part.of_hunks, part.of_bytes) == (hunks, 3, len(PATCH))
    assert part.truncated is (part.shown != PATCH)


def test_r_w3_on_a_terminal_a_long_diff_says_how_much_is_shown_and_how_to_see_the_whole(
    tmp_path: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.do("a", {"a/long": "line\n" * 60_000, "a/b": "short\n"})
    whole = len(otto("diff", "a", at=built.repo).stdout_bytes)
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    told = otto("diff", "a", at=built.repo).stdout
    assert len(told) < whole
    assert " hunks, " in told
    assert told.endswith(f"the whole: otto diff a --run {built.run.id} --whole\n")
    assert "the whole:" not in otto("diff", "a", "--whole", at=built.repo).stdout
