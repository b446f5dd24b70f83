"""The verbs that act: build, plan, land, demo, as their user meets them."""

import json
import os
from pathlib import Path

import pytest
from click.testing import Result

from tests.builders import git, make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.runs import feature, fingerprint, write_plan, writes

USAGE, REJECTED, REPOSITORY = 2, 3, 4


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path)


def document(result: Result) -> dict[str, object]:
    """Read the one JSON document on standard output."""
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_build_lands_and_says_what_to_type_next(repo: Path, otto: Otto) -> None:
    plan = write_plan(repo, writes("one"), writes("two"))
    result = otto("build", "--plan", str(plan), at=repo)
    assert result.exit_code == 0, result.output
    assert "2 of 2 tasks landed" in result.stdout
    assert "otto land" in result.stdout
    assert git(repo, "show", "otto/test:one.txt") == "one"


def test_build_json_is_one_document_on_standard_output_and_progress_is_elsewhere(
    repo: Path, otto: Otto
) -> None:
    plan = write_plan(repo, writes("one"))
    result = otto("build", "--plan", str(plan), "--json", at=repo)
    told = document(result)
    assert told["outcome"] == "landed"
    assert told["branch"] == "otto/test"
    assert "landed" in result.stderr


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (writes("one"), 0),
        (feature("one", "exit 1", max_attempts=1), 1),
        (feature("one", ["no-such-program"]), 1),
        (feature("one", "true", max_attempts=1), 1),
        (feature("one", "true", allow_empty=True), 0),
    ],
    ids=["landed", "failed", "no such program", "no change", "unchanged with allow_empty"],
)
def test_r_s6_the_exit_code_tells_how_the_run_ended(
    repo: Path, otto: Otto, task: dict[str, object], code: int
) -> None:
    assert otto("build", "--plan", str(write_plan(repo, task)), at=repo).exit_code == code


def test_a_regression_is_exit_9(repo: Path, otto: Otto) -> None:
    plan = write_plan(repo, writes("one"), verify={"final": ["test ! -f one.txt"]})
    result = otto("build", "--plan", str(plan), "--json", at=repo)
    assert result.exit_code == 9
    assert document(result)["outcome"] == "regression"


def test_r_b1_an_exhausted_budget_is_exit_7(repo: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTO_BUDGET_WALL", "1s")
    plan = write_plan(repo, feature("one", "sleep 60"))
    assert otto("build", "--plan", str(plan), at=repo).exit_code == 7


def test_a_worktree_that_a_person_removes_at_this_moment_is_in_no_builds_way(
    repo: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repo, "worktree", "add", "--quiet", "-b", "topic", str(repo.parent / "other"))
    read = Path.read_text
    asked: list[Path] = []

    def just_after(place: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if place.name == "gitdir" and not asked:
            asked.append(place)
            git(repo, "worktree", "remove", str(repo.parent / "other"))
        return read(place, encoding, errors)

    monkeypatch.setattr(Path, "read_text", just_after)
    result = otto("build", "--plan", str(write_plan(repo, writes("one"))), at=repo)
    assert (result.exit_code, len(asked)) == (0, 1), result.output


@pytest.mark.parametrize("look", ["scandir", "listdir"])
def test_the_last_linked_worktree_may_go_at_this_moment_too(
    repo: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """With it, git removes the directory of them all."""
    git(repo, "worktree", "add", "--quiet", "-b", "topic", str(repo.parent / "other"))
    list_real, asked = getattr(os, look), list[object]()

    def just_after(place: object = ".") -> object:
        if str(place).endswith("/.git/worktrees") and not asked:
            asked.append(place)
            git(repo, "worktree", "remove", str(repo.parent / "other"))
        return list_real(place)

    monkeypatch.setattr(os, look, just_after)
    result = otto("build", "--plan", str(write_plan(repo, writes("one"))), at=repo)
    assert result.exit_code == 0, result.output


def two_tasks(one: str, other: str) -> str:
    return f"version: 1\ntasks:\n- {one}\n- {other}\n"


PLANS = {
    "a list": ("- a\n- b\n", REJECTED, "not a mapping"),
    "broken YAML": ("tasks: [", REJECTED, "not valid YAML"),
    "unknown key": (
        "version: 1\nintnt: x\ntasks: [{id: a, owns: [a], run: x}]\n",
        REJECTED,
        "did you mean 'intent'",
    ),
    "no tasks": ("version: 1\ntasks: []\n", REJECTED, "no tasks"),
    "a cycle": (
        two_tasks(
            "{id: a, owns: [a], run: x, depends_on: [b]}", "{id: b, owns: [b], run: x, depends_on: [a]}"
        ),
        REJECTED,
        "a cycle",
    ),
    "a cycle through an implied edge": (
        two_tasks(
            "{id: a, role: foundation, owns: [a], run: x, depends_on: [b]}", "{id: b, owns: [b], run: x}"
        ),
        REJECTED,
        "implied",
    ),
    "twice the same id": (
        two_tasks("{id: a, owns: [a], run: x}", "{id: a, owns: [b], run: x}"),
        REJECTED,
        "taken",
    ),
    "a path for an id": (
        "version: 1\ntasks:\n- {id: a/b, owns: [a], run: x}\n",
        REJECTED,
        "looks like a path",
    ),
    "overlapping ownership": (
        two_tasks("{id: a, owns: [src/], run: x}", "{id: b, owns: [src/b], run: x}"),
        REJECTED,
        "could run together",
    ),
    "a base that does not resolve": (
        "version: 1\nbase: nowhere\ntasks: [{id: a, owns: [a], run: x}]\n",
        REPOSITORY,
        "nowhere",
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_bad_plan_is_refused_with_its_code_a_hint_and_nothing_done(
    repo: Path, otto: Otto, name: str
) -> None:
    text, code, words = PLANS[name]
    plan = repo.parent / "plan.yaml"
    plan.write_text(text)
    before = fingerprint(repo)
    for verb in ("build", "plan"):
        result = otto(verb, "--plan", str(plan), at=repo)
        assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
        assert "hint:" in result.stderr
        told = document(otto(verb, "--plan", str(plan), "--json", at=repo))["error"]
        assert isinstance(told, dict)
        assert words in json.dumps(told)
    assert fingerprint(repo) == before


def test_a_violation_names_file_and_line(repo: Path, otto: Otto) -> None:
    plan = repo.parent / "plan.yaml"
    plan.write_text("version: 1\ntasks:\n  - id: a\n    owns: [a]\n    rum: x\n")
    assert f"{plan}:5: unknown key 'rum'" in otto("plan", "--plan", str(plan), at=repo).stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["build", "--wait", "--plan", "PLAN", "5s"], "otto build --wait=5s --plan PLAN"),
        (["build", "--plan", "PLAN", "Add accounts"], "leave out the intent; the plan has its own"),
        (["plan", "--plan", "PLAN", "Add accounts"], "leave out the intent; the plan has its own"),
    ],
    ids=["the duration of a wait", "an intent to build", "an intent to plan"],
)
def test_an_intent_beside_a_plan_is_a_usage_error(
    repo: Path, otto: Otto, words: list[str], hint: str
) -> None:
    plan = write_plan(repo, writes("one"))
    before = fingerprint(repo)
    result = otto(*(word.replace("PLAN", str(plan)) for word in words), at=repo)
    assert result.exit_code == USAGE
    assert f"{words[-1]!r} is an intent, and `--plan` names the plan already" in result.stderr
    assert f"hint: {hint.replace('PLAN', str(plan))}" in result.stderr
    assert fingerprint(repo) == before


@pytest.mark.parametrize("words", [["--wait", "5s"], ["--wait=5s"]], ids=["apart", "joined"])
def test_the_duration_of_a_wait_may_stand_beside_it_or_behind_a_sign(
    repo: Path, otto: Otto, words: list[str]
) -> None:
    assert otto("build", *words, "--plan", str(write_plan(repo, writes("one"))), at=repo).exit_code == 0
    started = json.loads(otto("log", "--json", at=repo).stdout.splitlines()[0])
    assert started["body"]["settings"]["lock_wait_s"] == 5


def test_a_missing_plan_file_is_a_usage_error(repo: Path, otto: Otto) -> None:
    result = otto("build", "--plan", "none.yaml", at=repo)
    assert result.exit_code == USAGE
    assert "none.yaml" in result.stderr


def test_an_unknown_key_of_the_configuration_is_a_usage_error_with_its_line(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").write_text("agent: command\nconcurency: 3\n")
    result = otto("build", "--plan", str(write_plan(repo, writes("one"))), at=repo)
    assert result.exit_code == USAGE
    assert "otto.yaml:2" in result.stderr


def _not_a_repository(place: Path) -> Path:
    (place / "plain").mkdir()
    return place / "plain"


def _without_a_commit(place: Path) -> Path:
    git(place, "init", "--quiet", "unborn")
    return place / "unborn"


def _branch_named_like_the_prefix(place: Path) -> Path:
    repo = make_repo(place, name="taken")
    git(repo, "branch", "otto")
    return repo


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_not_a_repository, "not in a Git repository"),
        (_without_a_commit, "no commit yet"),
        (_branch_named_like_the_prefix, "stands in the way"),
    ],
)
def test_an_unusable_repository_is_exit_4_with_a_hint(
    tmp_path: Path, otto: Otto, make: object, words: str
) -> None:
    assert callable(make)
    place = make(tmp_path)
    result = otto("build", "--plan", str(write_plan(place, writes("one"))), at=place)
    assert result.exit_code == REPOSITORY
    assert words in result.stderr
    assert "hint:" in result.stderr


def test_a_store_that_cannot_be_written_is_exit_4(repo: Path, otto: Otto) -> None:
    (repo / ".git/otto").write_text("a file stands where the store would be")
    result = otto("build", "--plan", str(write_plan(repo, writes("one"))), at=repo)
    assert result.exit_code == REPOSITORY
    assert "hint:" in result.stderr


def test_i15_a_dry_run_writes_nothing(repo: Path, otto: Otto, hermetic: Path) -> None:
    plan = write_plan(repo, writes("one"), verify={"each": ["true"]})
    before, home = fingerprint(repo), fingerprint(hermetic)
    result = otto("build", "--plan", str(plan), "--dry-run", at=repo)
    assert result.exit_code == 0
    assert "one" in result.stdout
    assert fingerprint(repo) == before
    assert fingerprint(hermetic) == home


def test_plan_writes_the_compiled_plan_where_it_is_told(repo: Path, otto: Otto) -> None:
    plan = write_plan(repo, writes("one"))
    target = repo.parent / "compiled.json"
    result = otto("plan", "--plan", str(plan), "-o", str(target), at=repo)
    assert json.loads(target.read_text())["tasks"][0]["id"] == "one"
    shown = document(otto("plan", "--plan", str(plan), "--json", at=repo))["plan"]
    assert isinstance(shown, dict)
    assert f"plan {shown['id']}" in result.stdout


def test_concurrency_and_base_of_the_command_line_go_before_the_files(repo: Path, otto: Otto) -> None:
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "second")
    plan = write_plan(repo, writes("one"), base="main")
    told = document(otto("build", "--plan", str(plan), "--base", "main~1", "--json", at=repo))
    assert told["base"] == git(repo, "rev-parse", "main~1")


def built(repo: Path, otto: Otto) -> str:
    plan = write_plan(repo, writes("one"))
    told = document(otto("build", "--plan", str(plan), "--json", at=repo))
    return str(told["tip"])


def test_land_fast_forwards_the_checked_out_branch_with_its_files(repo: Path, otto: Otto) -> None:
    tip = built(repo, otto)
    (repo / "mine").write_text("untracked")
    result = otto("land", at=repo)
    assert result.exit_code == 0, result.output
    assert git(repo, "rev-parse", "main") == tip
    assert (repo / "one.txt").read_text() == "one\n"
    assert git(repo, "status", "--porcelain") == "?? mine"


def test_land_refuses_to_overwrite_a_local_change_and_moves_nothing(repo: Path, otto: Otto) -> None:
    built(repo, otto)
    before = git(repo, "rev-parse", "main")
    (repo / "one.txt").write_text("mine\n")
    result = otto("land", at=repo)
    assert result.exit_code == REPOSITORY
    assert "hint:" in result.stderr
    assert git(repo, "rev-parse", "main") == before
    assert (repo / "one.txt").read_text() == "mine\n"


def test_land_into_a_branch_that_is_not_checked_out_moves_only_the_ref(repo: Path, otto: Otto) -> None:
    git(repo, "branch", "release")
    tip = built(repo, otto)
    assert otto("land", "--into", "release", at=repo).exit_code == 0
    assert git(repo, "rev-parse", "release") == tip
    assert not (repo / "one.txt").exists()


def test_r_w3_land_refuses_when_the_target_moved_since_it_was_shown(repo: Path, otto: Otto) -> None:
    built(repo, otto)
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "moved")
    result = otto("land", at=repo)
    assert result.exit_code == 8
    assert git(repo, "rev-parse", "main")[:12] in result.stderr
    assert git(repo, "rev-parse", "main~1")[:12] in result.stderr


@pytest.mark.parametrize("option", ["--expect-target", "--expect-branch"])
def test_r_w3_land_refuses_when_an_expectation_is_not_met(repo: Path, otto: Otto, option: str) -> None:
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "second")
    built(repo, otto)
    assert otto("land", option, "main~1", at=repo).exit_code == 8


def test_land_twice_is_said_and_harmless(repo: Path, otto: Otto) -> None:
    tip = built(repo, otto)
    assert otto("land", at=repo).exit_code == 0
    assert otto("land", at=repo).exit_code == 0
    assert git(repo, "rev-parse", "main") == tip


def test_demo_ends_green_and_shows_both_gates(tmp_path: Path, otto: Otto) -> None:
    place = tmp_path / "demo"
    result = otto("demo", "--dir", str(place), at=tmp_path)
    assert result.exit_code == 0, result.output
    assert "write_gate" in result.stderr
    assert "verify_failed" in result.stderr
    assert "9 of 9 tasks landed" in result.stdout
    assert (
        git(
            place,
            "rev-list",
            "--first-parent",
            "--count",
            "main..otto/add-accounts-billing-and-checkout-to-the",
        )
        == "9"
    )


def test_the_log_of_a_refused_result_is_that_of_the_check_which_failed(repo: Path, otto: Otto) -> None:
    check = "if test -f one.txt; then echo red; exit 1; else echo green; fi"
    plan = write_plan(repo, writes("one") | {"max_attempts": 1}, verify={"each": [check]})
    result = otto("build", "--plan", str(plan), at=repo)
    assert "it ends with: red" in result.stdout
    assert "otto logs one --attempt 1 --check" in result.stdout
    assert otto("logs", "one", "--check", at=repo).stdout == "red\n"


def test_a_check_that_fails_on_the_base_is_told_as_not_counting(repo: Path, otto: Otto) -> None:
    plan = write_plan(repo, writes("one"), verify={"each": ["test -f never"]})
    result = otto("build", "--plan", str(plan), at=repo)
    assert result.exit_code == 0
    assert "it does not count until it passes" in result.stderr
    assert "fails on the base, so it did not count: test -f never" in result.stdout
