"""`otto land` where the branch has moved on, and `otto build --into`, as their user meets them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from otto_core.journal import Journal
from otto_core.model import Outcome
from tests.builders import RunBuilder, git, make_repo, plan, task
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.runs import feature, fingerprint, write_plan, writes
from tests.otto_core.test_mounts import mounted

FILES: dict[str | bytes, str | bytes] = {"one.txt": "a\nb\nc\nd\ne\nf\n", "README.md": "A shop.\n"}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, FILES)


def document(result: Result) -> dict[str, object]:
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def build(repo: Path, otto: Otto, **top: object) -> str:
    """Build a run that changes the first line of `one.txt`; gives its result."""
    place = write_plan(repo, feature("one", "sed -i s/a/A/ one.txt"), intent="Shout", **top)
    result = otto("build", "--plan", str(place), "--json", at=repo)
    assert result.exit_code == 0, result.output
    return str(document(result)["tip"])


def move_on(repo: Path, otto: Otto, old: str = "f", new: str = "F") -> str:
    """Commit to main, and look at the run again; gives the commit."""
    place = repo / "one.txt"
    place.write_text(place.read_text().replace(old, new))
    git(repo, "commit", "--quiet", "--all", "--message", "mine")
    otto("status", at=repo)
    return git(repo, "rev-parse", "main")


def test_land_on_a_network_file_system_is_exit_4_and_moves_nothing(
    repo: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(repo, otto)
    monkeypatch.setattr("otto_core.mounts.MOUNTS", mounted(repo.parent, "nfs4"))
    readers = (".git/otto/otto.db-shm", ".git/otto/otto.db-wal")
    before = fingerprint(repo, less=readers)
    result = otto("land", at=repo)
    assert result.exit_code == 4
    assert "on a network file system (nfs4)" in result.stderr
    assert otto("status", at=repo).exit_code == 0, "one may look"
    assert fingerprint(repo, less=readers) == before


def test_i8_land_onto_a_branch_that_has_moved_on_makes_a_merge_commit(repo: Path, otto: Otto) -> None:
    tip = build(repo, otto, verify={"each": ["grep -q b one.txt"], "final": ["grep -q A one.txt"]})
    mine = move_on(repo, otto)
    result = otto("land", "--json", at=repo)
    assert result.exit_code == 0, result.output
    told = document(result)
    merged = git(repo, "rev-parse", "main")
    assert (told["outcome"], told["from"], told["to"]) == ("merge", mine, merged)
    assert git(repo, "log", "-1", "--format=%P", merged) == f"{mine} {tip}"
    assert git(repo, "log", "-1", "--format=%s", merged) == "Shout"
    trailers = git(repo, "log", "-1", "--format=%(trailers:only)", merged).splitlines()
    assert [line.partition(":")[0] for line in trailers] == ["Otto-Run", "Otto-Plan"]
    assert (repo / "one.txt").read_text() == "A\nb\nc\nd\ne\nF\n"
    assert git(repo, "status", "--porcelain") == ""
    checks = told["checks"]
    assert isinstance(checks, list)
    assert [(check["command"], check["result"]) for check in checks] == [
        ("grep -q b one.txt", "passed"),
        ("grep -q A one.txt", "passed"),
    ]
    assert {check["tree"] for check in checks} == {git(repo, "rev-parse", "main^{tree}")}
    merge = told["merge"]
    assert isinstance(merge, dict)
    assert (merge["commit"], merge["both_changed"]) == (merged, ["one.txt"])
    assert "otto land r-" in git(repo, "reflog", "-1", "main")


def test_a_second_landing_says_that_the_result_is_there_already(repo: Path, otto: Otto) -> None:
    build(repo, otto)
    move_on(repo, otto)
    assert otto("land", at=repo).exit_code == 0
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "later")
    otto("status", at=repo)
    at = git(repo, "rev-parse", "main")
    result = otto("land", at=repo)
    assert (result.exit_code, result.stdout) == (*(0, f"main has the result already; it is at {at[:12]}\n"),)


def test_a_result_that_is_there_already_still_has_to_be_what_was_asked_for(repo: Path, otto: Otto) -> None:
    build(repo, otto)
    assert otto("land", at=repo).exit_code == 0
    assert otto("land", "--expect-target", "main~1", at=repo).exit_code == 8


def deleted(repo: Path, ref: str, tip: str) -> str:
    git(repo, "update-ref", "-d", ref, tip)
    return f"somebody else deleted {ref}, and this run had left it at {tip}"


def moved(repo: Path, ref: str, tip: str) -> str:
    other = git(repo, "commit-tree", f"{tip}^{{tree}}", "-p", tip, "-m", "other")
    git(repo, "update-ref", ref, other)
    return f"somebody else moved {ref} to {other}, and this run had left it at {tip}"


@pytest.mark.parametrize("disturb", [deleted, moved])
def test_r_x10_a_tip_that_somebody_moved_after_the_end_is_told_with_what_mends_it(
    repo: Path, otto: Otto, disturb: Callable[[Path, str, str], str]
) -> None:
    tip, before = build(repo, otto), git(repo, "rev-parse", "main")
    [ref] = git(repo, "for-each-ref", "--format=%(refname)", "refs/otto/runs/*/tip").split()
    told = disturb(repo, ref, tip)
    for _ in range(2):
        otto("status", at=repo)
        done = otto("land", at=repo)
        assert done.exit_code == 10, done.output
        assert f"error: {told}\n" in done.stderr
        assert git(repo, "rev-parse", "main") == before
    hint = re.search(r"hint: `(git update-ref .*?)`, then `(otto land r-\S+)`; or build anew", done.stderr)
    assert hint is not None
    git(repo, *hint[1].split()[1:])
    assert otto(*hint[2].split()[1:], at=repo).exit_code == 0
    assert git(repo, "rev-parse", "main") == tip


def test_r_m10_a_conflict_with_the_branch_moves_nothing_and_names_the_paths(repo: Path, otto: Otto) -> None:
    build(repo, otto)
    mine = move_on(repo, otto, "a", "mine")
    before = fingerprint(repo, less=[".git"])
    result = otto("land", "--json", at=repo)
    assert result.exit_code == 1
    told = document(result)
    assert (told["outcome"], told["to"]) == ("withheld", mine)
    reason = told["reason"]
    assert isinstance(reason, dict)
    assert (reason["kind"], reason["paths"]) == ("conflict", ["one.txt"])
    assert "git merge otto/shout" in reason["hint"]
    assert git(repo, "rev-parse", "main") == mine
    assert fingerprint(repo, less=[".git"]) == before
    assert "not landed: the result does not merge" in otto("land", at=repo).stderr


def test_r_m3_a_check_that_fails_on_the_merged_tree_alone_keeps_it_from_landing(
    repo: Path, otto: Otto
) -> None:
    """Either side passes by itself: only together do they break the rule."""
    build(repo, otto, verify={"each": ["! { grep -q A one.txt && grep -q F one.txt; }"]})
    mine = move_on(repo, otto)
    result = otto("land", "--json", at=repo)
    assert result.exit_code == 1
    told = document(result)
    reason = told["reason"]
    assert isinstance(reason, dict)
    assert reason["kind"] == "verify_failed"
    assert "failed (exited with 1) on the result merged with main, and not so on main" in reason["message"]
    assert told["checks"] == [
        {
            "command": "! { grep -q A one.txt && grep -q F one.txt; }",
            "scope": "each",
            "tree": git(repo, "rev-parse", f"refs/otto/runs/{told['run']}/delivery^{{tree}}"),
            "result": "failed",
            "on_target": "passed",
            "counts": True,
        }
    ]
    assert git(repo, "rev-parse", "main") == mine
    judged = [json.loads(line) for line in otto("log", "--json", at=repo).stdout.splitlines()]
    assert [event["type"] for event in judged][-2:] == ["checked", "checked"]


def test_r_m7_a_check_that_fails_on_the_branch_too_does_not_count(repo: Path, otto: Otto) -> None:
    build(repo, otto, verify={"each": ["! grep -q F one.txt"]})
    move_on(repo, otto)
    result = otto("land", at=repo)
    assert result.exit_code == 0, result.output
    told = "check failed: ! grep -q F one.txt; it ended alike on the branch as it is, so it does not count"
    assert told in result.stdout


def test_m7_without_a_baseline_a_check_that_fails_on_the_branch_too_counts(repo: Path, otto: Otto) -> None:
    build(repo, otto, verify={"each": ["! grep -q F one.txt"], "baseline": False})
    mine = move_on(repo, otto)
    result = otto("land", at=repo)
    assert result.exit_code == 1
    assert "on the result merged with main: ! grep" in result.stderr
    assert git(repo, "rev-parse", "main") == mine


def test_r_o5_the_write_gate_judges_the_whole_result_before_a_merge(tmp_path: Path, otto: Otto) -> None:
    """The result holds a change that none of its tasks owns, as if someone had rewritten the tip."""
    repo = make_repo(tmp_path, FILES)
    whole = plan(git(repo, "rev-parse", "HEAD"), task("a", owns=["a/**"]), each=[])
    built = RunBuilder(repo, whole=whole)
    built.do("a", {"a/x": "x\n", "README.md": "not mine\n"})
    built.finish(Outcome.LANDED)
    mine = move_on(repo, otto)
    result = otto("land", "--json", at=repo)
    assert result.exit_code == 1
    reason = document(result)["reason"]
    assert isinstance(reason, dict)
    assert (reason["kind"], reason["paths"]) == ("write_gate", ["README.md"])
    assert git(repo, "rev-parse", "main") == mine


def test_r_o5_a_result_built_elsewhere_brings_no_commits_of_that_place(repo: Path, otto: Otto) -> None:
    git(repo, "switch", "--quiet", "--create", "topic")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "on topic")
    build(repo, otto)
    git(repo, "switch", "--quiet", "main")
    mine = move_on(repo, otto)
    result = otto("land", at=repo)
    assert result.exit_code == 1
    assert "which main does not have" in result.stderr
    assert git(repo, "rev-parse", "main") == mine


def test_land_merges_into_a_branch_that_is_not_checked_out_by_its_ref_alone(repo: Path, otto: Otto) -> None:
    build(repo, otto)
    move_on(repo, otto)
    git(repo, "branch", "release", "main")
    before = fingerprint(repo, less=[".git/otto", ".git/objects", ".git/refs", ".git/logs/refs"])
    assert otto("land", "--into", "release", at=repo).exit_code == 0
    assert git(repo, "show", "release:one.txt") == "A\nb\nc\nd\ne\nF"
    assert fingerprint(repo, less=[".git/otto", ".git/objects", ".git/refs", ".git/logs/refs"]) == before


def test_land_in_a_bare_repository_needs_a_branch_and_merges_into_it(repo: Path, otto: Otto) -> None:
    build(repo, otto)
    move_on(repo, otto)
    git(repo, "config", "core.bare", "true")
    refused = otto("land", at=repo / ".git")
    assert refused.exit_code == 2
    assert "error: a bare repository has no branch checked out, so there is no default" in refused.stderr
    told = document(otto("land", "--into", "main", "--json", at=repo / ".git"))
    assert (told["outcome"], told["checkout"]) == ("merge", None)


@pytest.mark.parametrize(
    ("switch", "why"),
    [
        pytest.param(["--detach"], "HEAD is on no branch", id="detached"),
        pytest.param(["--orphan", "new"], "the branch that HEAD is on has no commit yet", id="unborn"),
    ],
)
def test_land_says_why_there_is_no_branch_to_land_on(
    repo: Path, otto: Otto, switch: list[str], why: str
) -> None:
    build(repo, otto)
    git(repo, "switch", "--quiet", *switch)
    refused = otto("land", at=repo)
    assert refused.exit_code == 2
    assert f"error: {why}, so there is no default target\n" in refused.stderr


def test_land_into_a_branch_that_does_not_exist_is_a_usage_error(repo: Path, otto: Otto) -> None:
    build(repo, otto)
    result = otto("land", "--into", "nowhere", at=repo)
    assert (result.exit_code, "there is no branch 'nowhere'" in result.stderr) == (2, True)


def test_build_into_lands_when_all_is_well(repo: Path, otto: Otto) -> None:
    git(repo, "branch", "release")
    result = otto(
        "build", "--plan", str(write_plan(repo, writes("two"))), "--into", "release", "--json", at=repo
    )
    assert result.exit_code == 0, result.output
    told = document(result)
    delivery = told["delivery"]
    assert isinstance(delivery, dict)
    assert (delivery["target"], delivery["outcome"], delivery["to"]) == (
        "release",
        "fast_forward",
        told["tip"],
    )
    assert git(repo, "rev-parse", "release") == told["tip"]


def test_build_into_a_checked_out_branch_moves_its_files(repo: Path, otto: Otto) -> None:
    result = otto("build", "--plan", str(write_plan(repo, writes("two"))), "--into", "main", at=repo)
    assert result.exit_code == 0, result.output
    assert (repo / "two.txt").read_text() == "two\n"
    assert result.stdout.splitlines()[-1].startswith("main: ")


def test_build_into_a_branch_that_does_not_exist_is_refused_before_any_work(repo: Path, otto: Otto) -> None:
    place = write_plan(repo, writes("two"))
    assert otto("build", "--plan", str(place), "--into", "nowhere", at=repo).exit_code == 2
    assert not (repo / ".git/otto").exists()


def test_build_into_lands_nothing_unless_every_task_landed(repo: Path, otto: Otto) -> None:
    place = write_plan(repo, writes("two"), feature("three", "exit 1", max_attempts=1))
    main = git(repo, "rev-parse", "main")
    result = otto("build", "--plan", str(place), "--into", "main", "--json", at=repo)
    assert result.exit_code == 1
    assert document(result)["delivery"] is None
    assert git(repo, "rev-parse", "main") == main


def test_build_into_expects_the_branch_as_it_was_when_the_build_started(repo: Path, otto: Otto) -> None:
    git(repo, "branch", "release")
    moves = f"git -C {repo} update-ref refs/heads/release $(git -C {repo} commit-tree -m x 'HEAD^{{tree}}')"
    place = write_plan(repo, feature("two", f"{moves}; echo two > two.txt"))
    before = git(repo, "rev-parse", "release")
    result = otto("build", "--plan", str(place), "--into", "release", "--json", at=repo)
    after = git(repo, "rev-parse", "release")
    assert after != before
    assert result.exit_code == 8
    told = document(result)
    assert told["outcome"] == "landed"
    delivery = told["delivery"]
    assert isinstance(delivery, dict)
    error = delivery["error"]
    assert error["kind"] == "stale"
    assert before[:12] in error["message"]
    assert after[:12] in error["message"]


def test_a_delivery_leaves_a_finished_run_finished(repo: Path, otto: Otto) -> None:
    build(repo, otto, verify={"each": ["true"]})
    move_on(repo, otto)
    assert otto("land", at=repo).exit_code == 0
    with Journal.open(repo / ".git/otto/otto.db") as journal:
        assert (journal.unfinished(), journal.undelivered()) == ([], [])


def test_what_is_delivered_is_not_offered_again(repo: Path, otto: Otto) -> None:
    build(repo, otto)
    assert "next: otto land" in otto("status", at=repo).stdout
    assert otto("land", at=repo).exit_code == 0
    assert "next:" not in otto("status", at=repo).stdout
