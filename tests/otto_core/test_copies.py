"""Copies of the checkout's untracked files: which, how, and that no snapshot holds them."""

import os
from pathlib import Path

import pytest

from otto_core import copies
from otto_core.copies import Copy, gather
from otto_core.errors import UsageError
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from tests.builders import git, make_repo
from tests.otto_core.runs import content, feature, files, run_plan, writes

SECRET = "KEY=a-long-secret\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository that ignores nothing, with an untracked `.env` of mode 0600."""
    place = make_repo(tmp_path, {"README.md": "Start.\n", "otto.yaml": "worktrees: {copy: ['.env']}\n"})
    (place / ".env").write_text(SECRET)
    (place / ".env").chmod(0o600)
    return place


def gathered(repo: Path, *patterns: str) -> dict[bytes, Copy]:
    return {file.path: file for file in gather(GitRepository.discover(repo), patterns).files}


def warnings(repo: Path, *patterns: str) -> tuple[str, ...]:
    return gather(GitRepository.discover(repo), patterns).warnings


def test_r_s7_attempts_and_checks_find_the_copied_file_with_its_mode(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("mine", "cat .env | tr a-z A-Z > mine.txt; stat -c %a .env >> mine.txt"),
        verify={"each": ["grep -q a-long-secret .env"]},
    )
    assert run.outcome is Outcome.LANDED
    assert content(repo, run, "mine.txt") == "KEY=A-LONG-SECRET\n600"


@pytest.mark.parametrize("owns", [["*"], ["mine.txt", ".env"]], ids=["everything", "the file itself"])
def test_r_s7_a_copied_file_never_enters_a_snapshot_even_if_the_task_edits_and_commits_it(
    repo: Path, owns: list[str]
) -> None:
    script = "echo more >> .env; git add -A -f; git commit -qm all; echo x > mine.txt"
    run = run_plan(repo, feature("mine", script, owns=owns), writes("after") | {"depends_on": ["mine"]})
    assert run.outcome is Outcome.LANDED
    assert files(repo, run) == ["README.md", "after.txt", "mine.txt", "otto.yaml"]
    assert (repo / ".env").read_text() == SECRET


def test_each_attempt_finds_the_file_as_it_was_when_the_run_started(repo: Path) -> None:
    script = (
        f"cat .env >> {repo}.seen; echo edited > .env; echo edited > {repo}/.env; rm .env; mkdir .env;"
        " test $OTTO_ATTEMPT = 2 && echo x > mine.txt"
    )
    run = run_plan(repo, feature("mine", script, max_attempts=2))
    assert run.outcome is Outcome.LANDED
    assert Path(f"{repo}.seen").read_text() == SECRET * 2


def test_git_status_in_a_worktree_does_not_show_the_copied_file(repo: Path) -> None:
    (repo / "[odd] #name!").write_text("x")
    (repo / "otto.yaml").write_text("worktrees: {copy: ['.env', '\\[odd* ']}\n".replace("* ", "*"))
    git(repo, "commit", "-qam", "Copy more")
    run = run_plan(
        repo,
        feature(
            "mine",
            "git status --porcelain > $TMPDIR/s; mv $TMPDIR/s mine.txt; ls -a >> mine.txt",
        ),
    )
    told = content(repo, run, "mine.txt").splitlines()
    assert "[odd] #name!" in told
    assert not [line for line in told if line.startswith("??")]


def test_patterns_have_the_meaning_of_every_other_pattern(repo: Path) -> None:
    for path in ("conf/a.env", "conf/deep/b.env", "other/c.env"):
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(path)
    assert set(gathered(repo, "conf")) == {b"conf/a.env", b"conf/deep/b.env"}
    assert set(gathered(repo, "**/*.env")) == {b"conf/a.env", b"conf/deep/b.env", b"other/c.env", b".env"}
    assert set(gathered(repo, "*/c.env")) == {b"other/c.env"}
    assert gathered(repo, "*.git/**", ".git") == {}


def test_nothing_is_read_through_a_link_that_leads_out_of_the_checkout(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/key").write_text("outside")
    (repo / "link").symlink_to(tmp_path / "outside/key")
    (repo / "linked").symlink_to(tmp_path / "outside")
    (repo / "config").symlink_to(".git/config")
    (repo / "dangling").symlink_to("nowhere")
    patterns = ("link", "linked/key", "linked", "config", "dangling")
    assert gathered(repo, *patterns) == {}
    assert sum("left out" in told for told in warnings(repo, *patterns)) == 5


def test_a_link_within_the_checkout_is_copied_as_the_file_it_leads_to(repo: Path) -> None:
    (repo / "local").symlink_to(".env")
    assert gathered(repo, "local")[b"local"].content == SECRET.encode()
    assert warnings(repo, "local") == ()


def test_a_fifo_is_told_and_not_waited_for(repo: Path) -> None:
    os.mkfifo(repo / "pipe")
    assert gathered(repo, "pipe") == {}
    assert "pipe is no file" in warnings(repo, "pipe")[0]


def test_nothing_to_copy_is_told_once_and_is_no_failure(repo: Path) -> None:
    (repo / ".env").unlink()
    told: list[str] = []
    run = run_plan(repo, writes("one"), writes("two"), warn=told.append)
    assert run.outcome is Outcome.LANDED
    assert [one for one in told if "'.env'" in one] == told
    assert len(told) == 1


def test_a_bare_repository_is_told_to_have_nothing_to_copy(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    assert warnings(tmp_path / "bare.git", ".env") == ("a bare repository has no files for `worktrees.copy`",)


@pytest.mark.parametrize("pattern", ["README.md", "*.md", "**"])
def test_a_pattern_that_matches_a_tracked_file_is_refused_before_any_work(repo: Path, pattern: str) -> None:
    (repo / "otto.yaml").write_text(f"worktrees: {{copy: ['.env', '{pattern}']}}\n")
    git(repo, "commit", "-qam", "Copy too much")
    with pytest.raises(UsageError) as caught:
        run_plan(repo, writes("one"))
    assert pattern in str(caught.value) + str(caught.value.findings)
    assert not (repo / ".git/otto").exists()


def test_what_is_larger_than_configuration_is_refused(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MAX_BYTES", 1_000)
    (repo / "large").write_bytes(b"x" * 1_001)
    with pytest.raises(UsageError, match="with large"):
        gathered(repo, "large")


def test_work_at_a_copied_path_is_left_out_and_told(repo: Path) -> None:
    (repo / "otto.yaml").write_text("worktrees: {copy: ['conf']}\n")
    git(repo, "commit", "-qam", "Copy conf")
    (repo / "conf").write_text("a file here\n")
    makes = feature("makes", "rm conf; mkdir conf; echo x > conf/x", owns=["conf"], max_attempts=1)
    run = run_plan(repo, makes)
    assert run.outcome is Outcome.FAILED
    assert b"conf/" in run.tasks["makes"].attempts[0].end.ignored  # type: ignore[union-attr]


def test_the_values_of_a_copied_file_are_kept_out_of_logs(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "cat .env; echo x > mine.txt"))
    log = (repo / f".git/otto/logs/{run.id}/mine.1.log").read_text()
    assert log == "KEY=[redacted KEY]\n"


def secrets(*texts: str) -> dict[str, str]:
    """Give the secrets of files with these contents."""
    files = (Copy(b".env.%d" % number, 0o600, text.encode()) for number, text in enumerate(texts))
    return copies.secrets(copies.Copies(tuple(files)))


def test_secrets_are_the_values_of_the_lines_that_assign_one() -> None:
    text = "# no=secret here is fine\nA=plain\nexport B = 'quoted one'\r\nC=\n=x\nD=\"x=y\"\nno line\n"
    assert secrets(text) == {
        "plain": "A",
        "quoted one": "B",
        "'quoted one'": "B",
        "x=y": "D",
        '"x=y"': "D",
    }


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("K=sk-1234567 # production", {"sk-1234567", "sk-1234567 # production"}),
        ("K='sk-1234567'\t# production", {"sk-1234567", "'sk-1234567'"}),
        ('K="a # in quotes" # behind', {"a # in quotes", '"a # in quotes"', '"a # in quotes" # behind'}),
        ("K=no#comment", {"no#comment"}),
        (r'K="with \" inside" # behind', {r"with \" inside"}),
    ],
)
def test_a_comment_behind_a_value_hides_it_from_no_one(line: str, values: set[str]) -> None:
    assert values <= secrets(line + "\n").keys()


def test_a_key_that_two_files_define_keeps_both_values() -> None:
    assert secrets("KEY=value-one\n", "KEY=value-two\n") == {"value-one": "KEY", "value-two": "KEY"}


def test_a_copied_value_stays_secret_where_env_pass_names_the_same_key(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "otto.yaml").write_text("env_pass: [KEY]\nworktrees: {copy: ['.env', 'more.env']}\n")
    git(repo, "commit", "-qam", "Pass a key")
    (repo / "more.env").write_text("KEY=another-value # that of production\n")
    monkeypatch.setenv("KEY", "passed-value")
    prints = 'cat .env; echo "$KEY" another-value; echo x > mine.txt'
    run = run_plan(repo, feature("mine", prints))
    log = (repo / f".git/otto/logs/{run.id}/mine.1.log").read_text()
    assert log == "KEY=[redacted KEY]\n[redacted KEY] [redacted KEY]\n"
