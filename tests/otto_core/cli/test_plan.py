"""What `otto plan`, `--dry-run` and `--approve` show of a plan before it executes."""

from pathlib import Path

import pytest

from tests.builders import make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.runs import feature, write_plan, writes

SETTINGS = """\
sandbox: subreaper
worktrees: {copy: [.env, keys/*], setup: [npm ci, [make, a b]]}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"otto.yaml": SETTINGS})


@pytest.mark.parametrize(
    "verb", [("plan",), ("build", "--dry-run")], ids=["otto plan", "otto build --dry-run"]
)
def test_all_that_would_execute_is_shown(repo: Path, otto: Otto, verb: tuple[str, ...]) -> None:
    one = feature(
        "one",
        "first step\n  then a second\n",
        verify=["test -s one.txt", "grep -q x one.txt"],
        prompt="Write it.\nWith care.\n",
    )
    two = feature("two", ["echo", "a b"], depends_on=["one"])
    plan = write_plan(repo, one, two, verify={"each": ["make lint", "make test"], "final": ["make journey"]})
    said = otto(*verb, "--plan", str(plan), at=repo).stdout.splitlines()
    assert said[1:-1] == [
        "  generation 1",
        "    one  owns one.txt",
        "      run: first step",
        "             then a second",
        "      prompt: Write it. (and 1 more line)",
        "      check: test -s one.txt",
        "      check: grep -q x one.txt",
        "  generation 2",
        "    two  owns two.txt  after one",
        "      run: echo 'a b'",
        "  setup of a worktree: npm ci",
        "  setup of a worktree: make 'a b'",
        "  copied into worktrees: .env, keys/*",
        "  before every landing: make lint",
        "  before every landing: make test",
        "  of the result: make journey",
        "  sandbox subreaper; locks held",
    ]


def test_a_plan_that_says_little_is_shown_in_few_lines(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").unlink()
    plan = write_plan(make_repo(repo.parent, name="bare"), writes("one"))
    said = otto("plan", "--plan", str(plan), at=repo.parent / "bare").stdout.splitlines()
    assert said[1:-1] == [
        "  generation 1",
        "    one  owns one.txt",
        "      run: echo one > one.txt",
        "  before every landing: no run-wide check",
        "  sandbox subreaper; locks held",
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--no-locks"], "unlocked"),
        (["--wait"], "held, waiting without limit"),
        (["--wait=90s"], "held, waiting up to 1m30s"),
    ],
    ids=["no locks", "wait", "wait for so long"],
)
def test_a_dry_run_says_how_it_would_lock(repo: Path, otto: Otto, options: list[str], told: str) -> None:
    plan = write_plan(repo, writes("one"))
    said = otto("build", "--dry-run", *options, "--plan", str(plan), at=repo).stdout
    assert f"  sandbox subreaper; locks {told}\n" in said


def test_a_command_cannot_steer_the_terminal_or_hide_behind_a_carriage_return(repo: Path, otto: Otto) -> None:
    plan = write_plan(repo, feature("one", "rm -r x\rtrue\x1b[2K \u202e"))
    said = otto("plan", "--plan", str(plan), at=repo).stdout
    assert "      run: rm -r x\\x0dtrue\\x1b[2K \\xe2\\x80\\xae\n" in said


def test_a_hundred_tasks_stay_within_80_columns_and_nothing_is_left_out(repo: Path, otto: Otto) -> None:
    words = [f"--option-{n}=value" for n in range(12)]
    tasks = [
        feature(f"t{n}", f"tool {' '.join(words)} > t{n}.txt", verify=[f"tool {' '.join(words)}"])
        for n in range(100)
    ]
    said = otto("plan", "--plan", str(write_plan(repo, *tasks)), at=repo).stdout
    assert max(map(len, said.splitlines())) <= 80
    assert all(said.count(word) == 200 for word in words)


def test_a_line_without_a_gap_is_broken_and_all_of_it_shown(repo: Path, otto: Otto) -> None:
    plan = write_plan(repo, feature("one", f"echo {'x' * 200}"))
    said = otto("plan", "--plan", str(plan), at=repo).stdout
    assert said.replace(" ", "").replace("\n", "").count("x" * 200) == 1
    assert all(len(line) <= 80 for line in said.splitlines())
