"""Configuration: where a value comes from, and what is refused."""

from pathlib import Path

import pytest

from otto_core.compose import compose, slug_of
from otto_core.config import Origin, Setting, Settings, read_configuration, read_settings
from otto_core.errors import UsageError
from otto_core.git.repository import GitRepository
from tests.builders import git, make_repo
from tests.otto_core.runs import write_plan, writes


def read(text: str, **environ: str) -> Settings:
    return read_settings(text.encode(), file="otto.yaml", environ=environ)


def test_nothing_said_is_the_defaults() -> None:
    assert read_settings(None, file="otto.yaml", environ={}) == Settings()
    assert read("# only a comment\n") == Settings()


def test_the_environment_goes_before_the_file() -> None:
    settings = read("concurrency: 2\nbudget: {wall: 1h}\n", OTTO_CONCURRENCY="7", OTTO_BUDGET_WALL="90s")
    assert (settings.concurrency, settings.budget.wall) == (7, 90.0)


def test_durations_are_written_as_people_write_them() -> None:
    settings = read("defaults: {timeout: 1h30m, grace: 5}\nverify: {timeout: 15m}\n")
    assert (settings.defaults.timeout, settings.defaults.grace, settings.verify.timeout) == (5400, 5, 900)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("agent: command\nconcurency: 3\n", 2, "concurency"),
        ("defaults:\n  timeuot: 3\n", 2, "timeuot"),
        ("concurrency: 0\n", 1, "concurrency"),
        ("concurrency: many\n", 1, "concurrency"),
        ("defaults: {timeout: -1s}\n", 1, "timeout"),
        ("verify: {each: ['']}\n", 1, "each"),
        ("agent: claude\n", 1, "agent"),
        ("branch_prefix: 'a b'\n", 1, "branch_prefix"),
        ("- a\n", 1, "mapping"),
        ("a: [\n", 2, "YAML"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(text)
    [finding] = refused.value.findings
    assert (finding.file, finding.line) == ("otto.yaml", line)
    assert words in finding.message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        read("concurrency: 0\nnonsense: 1\ndefaults: {max_attempts: 0}\n")
    assert len(refused.value.findings) == 3


def settings_of(repo: Path) -> Settings:
    return compose(GitRepository.discover(repo), write_plan(repo, writes("one"))).settings


def test_the_configuration_of_the_base_commit_counts_and_not_that_of_the_checkout(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {"otto.yaml": "concurrency: 2\n"})
    (repo / "otto.yaml").write_text("concurrency: 9\n")
    assert settings_of(repo).concurrency == 2


def test_where_the_base_has_none_that_of_the_checkout_counts(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    (repo / "otto.yaml").write_text("concurrency: 9\n")
    assert settings_of(repo).concurrency == 9
    git(repo, "checkout", "--quiet", "--detach")
    assert settings_of(repo).concurrency == 9


@pytest.mark.parametrize(
    ("intent", "slug"),
    [
        ("Add accounts and billing", "add-accounts-and-billing"),
        ("  Ünïcode & more!  ", "n-code-more"),
        ("", "build"),
        ("***", "build"),
        ("one two three four five six seven eight nine ten", "one-two-three-four-five-six-seven-eight"),
        ("x" * 60, "x" * 40),
    ],
)
def test_a_branch_is_named_after_the_intent(intent: str, slug: str) -> None:
    assert slug_of(intent) == slug


def origins(
    text: str | None, *, overrides: dict[str, object] | None = None, **environ: str
) -> dict[str, Setting]:
    content = None if text is None else text.encode()
    found = read_configuration(content, file="otto.yaml", environ=environ, overrides=overrides or {})
    return {one.key: one for one in found.listed}


def test_every_setting_knows_its_value_and_where_it_comes_from() -> None:
    text = (
        "verify:\n  each: [make test, [make, lint]]\n  timeout: 900\nbudget: {wall: null}\nconcurrency: 2\n"
    )
    found = origins(text, overrides={"concurrency": 9}, OTTO_CONCURRENCY="7", OTTO_WORKTREES_ROOT="/pool")
    assert found["concurrency"] == Setting("concurrency", 9, Origin("command line"))
    assert found["worktrees.root"] == Setting(
        "worktrees.root", "/pool", Origin("variable", "OTTO_WORKTREES_ROOT")
    )
    each = Setting("verify.each", ["make test", ["make", "lint"]], Origin("file", "otto.yaml", 2))
    assert found["verify.each"] == each
    assert found["verify.timeout"] == Setting("verify.timeout", "15m", Origin("file", "otto.yaml", 3))
    assert found["budget.wall"] == Setting("budget.wall", None, Origin("file", "otto.yaml", 4))
    assert found["defaults.timeout"] == Setting("defaults.timeout", "30m", Origin("default"))


def test_a_variable_in_a_section_of_the_file_is_the_origin_of_its_own_key_only() -> None:
    found = origins("worktrees:\n  root: /file\n", OTTO_AGENT="command", OTTO_BUDGET_WALL="90s")
    assert found["agent"].origin == Origin("variable", "OTTO_AGENT")
    assert found["worktrees.root"].origin == Origin("file", "otto.yaml", 2)
    assert found["budget.wall"] == Setting("budget.wall", "1m30s", Origin("variable", "OTTO_BUDGET_WALL"))


def test_without_a_file_all_is_default_and_every_key_is_listed() -> None:
    found = origins(None)
    assert {one.origin.kind for one in found.values()} == {"default"}
    assert {"agent", "defaults.grace", "verify.each", "worktrees.root", "branch_prefix"} <= found.keys()


@pytest.mark.parametrize(
    ("environ", "overrides", "place"),
    [
        ({"OTTO_CONCURRENCY": "many"}, {}, "OTTO_CONCURRENCY"),
        ({"OTTO_BUDGET_WALL": "-1"}, {}, "OTTO_BUDGET_WALL"),
        ({}, {"concurrency": 0}, "command line"),
    ],
)
def test_a_fault_of_a_variable_or_an_option_is_told_as_one(
    environ: dict[str, str], overrides: dict[str, object], place: str
) -> None:
    with pytest.raises(UsageError) as refused:
        origins("concurrency: 3\nbudget: {wall: 1h}\n", overrides=overrides, **environ)
    [finding] = refused.value.findings
    assert (finding.file, finding.line) == (place, None)
