"""What an attempt is given, why it is refused or ended, and how its task is tried again."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from otto_core import attempts
from otto_core import events as ev
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.occupancy import Occupant, occupy
from otto_core.resume import Limits, resume
from otto_core.slots import Slot
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.held import newest
from tests.otto_core.limits import time_passes_at
from tests.otto_core.runs import content, feature, first_failure, reason_of, run_plan, writes
from tests.otto_core.test_git import wrap_git
from tests.waiting import until


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"README.md": "Start.\n", "src/app.py": "print('hello')\n"})


def test_an_attempt_sees_what_the_interface_promises(repo: Path) -> None:
    script = "env | sort > mine.txt; cat $OTTO_PROMPT_FILE >> mine.txt; cat >> mine.txt; pwd >> mine.txt"
    run = run_plan(repo, feature("mine", script, prompt="Do it.\n"))
    seen = content(repo, run, "mine.txt")
    lines = dict(line.split("=", 1) for line in seen.splitlines() if "=" in line)
    assert lines["OTTO_RUN"] == run.id
    assert lines["OTTO_TASK"] == "mine"
    assert lines["OTTO_ATTEMPT"] == "1"
    assert seen.count("Do it.") == 2
    assert seen.splitlines()[-1] == lines["OTTO_WORKTREE"] == lines["PWD"]
    assert lines["TMPDIR"] != os.environ.get("TMPDIR")


def test_r_x5_the_environment_is_an_allow_list(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setenv("WANTED", "yes")
    (repo / "otto.yaml").write_text("env_pass: [WANTED]\n")
    run = run_plan(repo, feature("mine", "env > mine.txt"))
    assert "s3cret" not in content(repo, run, "mine.txt")
    assert "WANTED=yes" in content(repo, run, "mine.txt")


@pytest.mark.parametrize(
    "leave",
    [
        "mkfifo src/pipe",
        "mkdir -p a/b; mkfifo a/b/pipe",
        "python3 -c 'import socket as s; s.socket(1).bind(\"src/s\")'",
    ],
    ids=["fifo among tracked files", "fifo in a new directory", "socket"],
)
def test_r_x5_what_one_attempt_leaves_in_its_slot_does_not_reach_the_next(repo: Path, leave: str) -> None:
    bad = run_plan(repo, feature("bad", leave, owns=["src/", "a/"], max_attempts=1))
    assert reason_of(bad, "bad").kind is ReasonKind.UNSAFE_CONTENT
    assert run_plan(repo, writes("good")).outcome is Outcome.LANDED


def test_i4_a_write_outside_its_ownership_is_refused_told_and_mended_on_retry(repo: Path) -> None:
    script = "cat > seen; grep -q README.md seen || echo x >> README.md; rm seen; echo fine > mine.txt"
    run = run_plan(repo, feature("mine", script))
    assert first_failure(run, "mine").kind is ReasonKind.WRITE_GATE
    assert first_failure(run, "mine").paths == (b"README.md",)
    assert run.outcome is Outcome.LANDED
    assert content(repo, run, "README.md") == "Start."


def test_a_refusal_names_what_is_owned_what_was_done_and_a_few_of_many_paths(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "mkdir -p x; touch x/1 x/2 x/3 x/4 x/5 x/6 x/7", max_attempts=1))
    reason = reason_of(run, "mine")
    assert reason.message == (
        "the write gate refused the result: the task owns mine.txt, but it created x/1, created x/2,"
        " created x/3, created x/4, created x/5, and 2 more"
    )
    assert len(reason.paths) == 7
    assert "`owns`" in reason.hint


def test_i7_r_x1_nothing_of_a_refused_attempt_lands_but_it_stays_reachable(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "echo x > other.txt; echo x > mine.txt", max_attempts=2))
    assert run.outcome is Outcome.FAILED
    assert run.tip == run.start.base
    for number in (1, 2):
        kept = f"refs/otto/runs/{run.id}/tasks/mine/attempt-{number}"
        assert git(repo, "show", f"{kept}:other.txt") == "x", "I7"


@pytest.mark.parametrize(
    ("command", "kind", "words"),
    [
        ("exit 3", ReasonKind.AGENT_FAILED, "exited with 3"),
        ("echo some; echo last words; exit 1", ReasonKind.AGENT_FAILED, "last words"),
        ("kill -9 $$", ReasonKind.AGENT_FAILED, "signal 9"),
        ("true", ReasonKind.NO_CHANGE, "changed no file"),
        ("no-such-command", ReasonKind.AGENT_FAILED, "not found"),
        (["no-such-command"], ReasonKind.AGENT_FAILED, "no-such-command"),
        ("mkfifo mine.txt", ReasonKind.UNSAFE_CONTENT, "mine.txt is a FIFO"),
        ("git init -q sub; echo x > sub/x; echo y > mine.txt", ReasonKind.UNSAFE_CONTENT, "sub is a nested"),
        ("head -c 2000000 /dev/zero > mine.txt", ReasonKind.UNSAFE_CONTENT, "`max_file_mb` = 1"),
        ("ln -s ../../outside mine.txt", ReasonKind.UNSAFE_CONTENT, "points outside"),
        ("ln -s /etc/passwd mine.txt", ReasonKind.UNSAFE_CONTENT, "points outside"),
        ("echo x > other.txt", ReasonKind.WRITE_GATE, "other.txt"),
        ("rm README.md; echo x > mine.txt", ReasonKind.WRITE_GATE, "deleted README.md"),
        ("chmod +x README.md; echo x > mine.txt", ReasonKind.WRITE_GATE, "README.md"),
    ],
    ids=[
        "non-zero",
        "last line is told",
        "killed",
        "changes nothing",
        "no such command in the shell",
        "no such program",
        "fifo",
        "nested repository",
        "over the cap",
        "link out of the tree",
        "absolute link",
        "foreign file",
        "foreign deletion",
        "foreign mode",
    ],
)
def test_r_s6_a_bad_attempt_fails_its_task_with_a_reason_and_a_hint(
    repo: Path, command: str | list[str], kind: ReasonKind, words: str
) -> None:
    (repo / "otto.yaml").write_text("defaults: {max_file_mb: 1}\n")
    run = run_plan(repo, feature("mine", command, max_attempts=1))
    reason = reason_of(run, "mine")
    assert reason.kind is kind
    assert words in reason.message
    assert reason.hint
    assert run.outcome is Outcome.FAILED
    assert run.tip == run.start.base


@pytest.mark.parametrize("command", [["no-such-program"], "no-such-program", ["sh", "-c", "exit 126"]])
def test_a_command_that_cannot_be_executed_is_not_tried_again(repo: Path, command: str | list[str]) -> None:
    run = run_plan(repo, feature("mine", command, max_attempts=3))
    assert len(run.tasks["mine"].attempts) == 1


def test_what_git_ignores_is_not_captured_and_is_told_where_the_task_owns_it(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {".gitignore": "*.log\n"})
    run = run_plan(repo, feature("mine", "echo x > out.log", owns=["out.log"], max_attempts=1))
    assert reason_of(run, "mine").kind is ReasonKind.NO_CHANGE
    assert "out.log" in reason_of(run, "mine").message


def test_a_gitignore_that_the_task_does_not_own_hides_nothing(repo: Path) -> None:
    run = run_plan(
        repo,
        feature(
            "mine", "echo '*' > .gitignore; echo '*' >> .git/info/exclude; echo x > mine.txt", max_attempts=1
        ),
    )
    assert reason_of(run, "mine").kind is ReasonKind.WRITE_GATE
    assert reason_of(run, "mine").paths == (b".gitignore",)


def test_i14_a_timeout_names_itself_and_its_value(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "sleep 60", timeout="1s", max_attempts=1))
    reason = reason_of(run, "mine")
    assert reason.kind is ReasonKind.AGENT_TIMEOUT
    assert "`timeout` of 1s" in reason.message


def test_i14_b1_the_wall_budget_pauses_the_run_and_ends_what_executes(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "otto.yaml").write_text("budget: {wall: 2h}\n")
    time_passes_at(monkeypatch, tmp_path / "worked", 7200)
    run = run_plan(repo, feature("mine", f"echo work > mine.txt; touch {tmp_path}/worked; sleep 600"))
    assert run.outcome is Outcome.BUDGET
    assert run.paused is not None
    assert "`budget.wall` of 2h" in run.paused.message
    assert run.tasks["mine"].status is TaskStatus.PENDING
    kept = f"refs/otto/runs/{run.id}/tasks/mine/attempt-1"
    assert git(repo, "show", f"{kept}:mine.txt") == "work"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_pauses_the_run_and_keeps_what_was_written(
    repo: Path, tmp_path: Path, number: signal.Signals
) -> None:
    def interrupt() -> None:
        until((tmp_path / "written").exists)
        os.kill(os.getpid(), number)

    person = threading.Thread(target=interrupt)

    def look(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.AttemptStarted):
            person.start()

    task = feature("mine", f"echo half > mine.txt; touch {tmp_path}/written; sleep 600")
    run = run_plan(repo, task, observe=look)
    person.join()
    assert run.outcome is Outcome.INTERRUPTED
    assert run.tasks["mine"].status is TaskStatus.PENDING
    end = run.tasks["mine"].attempts[0].end
    assert isinstance(end, ev.AttemptInterrupted)
    assert git(repo, "show", f"{end.snapshot}:mine.txt") == "half", "I7"


def test_retry_from_attempt_goes_on_where_the_last_attempt_ended(repo: Path) -> None:
    run = run_plan(
        repo,
        feature(
            "mine", "echo $OTTO_ATTEMPT >> mine.txt", verify=["grep -q 2 mine.txt"], retry_from="attempt"
        ),
    )
    assert content(repo, run, "mine.txt") == "1\n2"


class Killed(BaseException):
    """Stands for the death of the driver."""


@pytest.mark.parametrize("cut_off", [PermissionError(), Killed()], ids=["unfit", "killed"])
def test_retry_from_attempt_passes_over_one_that_never_began(
    repo: Path, monkeypatch: pytest.MonkeyPatch, cut_off: BaseException
) -> None:
    """The second attempt is cut off once its worktree is filled, before its command is executed."""
    noted: list[Slot] = []

    def occupying(slot: Slot, occupant: Occupant) -> None:
        noted.append(slot)
        if len(noted) == 2:
            raise cut_off
        occupy(slot, occupant)

    monkeypatch.setattr(attempts, "occupy", occupying)
    command = "echo $OTTO_ATTEMPT >> mine.txt"
    task = feature("mine", command, verify=["grep -q 3 mine.txt"], retry_from="attempt")
    with suppress(Killed):
        run_plan(repo, task)
    run = resume(GitRepository.discover(repo), newest(repo).id, Limits())
    assert content(repo, run, "mine.txt") == "1\n3"


KILLED = """#!/bin/sh
case "$GIT_INDEX_FILE $* " in *overlay.index*" read-tree "*) kill -KILL $$;; esac
exec {git} "$@"
"""


def test_i7_a_git_that_is_killed_as_it_lays_the_last_attempt_over_the_base_drops_none_of_it(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = feature(
        "mine", "echo $OTTO_ATTEMPT >> mine.txt", verify=["grep -q 2 mine.txt"], retry_from="attempt"
    )
    with monkeypatch.context() as patch:
        wrap_git(tmp_path, KILLED, patch)
        with pytest.raises(RepositoryUnusable, match="was ended by signal 9"):
            run_plan(repo, task)
    run = resume(GitRepository.discover(repo), newest(repo).id, Limits())
    assert content(repo, run, "mine.txt") == "1\n2"


def test_retry_from_tip_starts_anew(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "echo $OTTO_ATTEMPT >> mine.txt", verify=["grep -q 2 mine.txt"]))
    assert content(repo, run, "mine.txt") == "2"


def test_r_g4_every_retry_is_a_stored_plan_of_its_own_with_the_same_ownership(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "exit 1", max_attempts=3))
    assert [stored.revision for stored in run.stored] == [1, 2, 3]
    assert len({stored.plan_id for stored in run.stored}) == 3
    assert [a.start.revision for a in run.tasks["mine"].attempts] == [1, 2, 3]
    for stored in run.stored[1:]:
        assert stored.plan.parent == run.stored[0].plan_id
        assert stored.plan.task("mine").owns == ("mine.txt",)


def test_keep_worktrees_keeps_every_attempt_as_it_was_left(repo: Path, hermetic: Path) -> None:
    run = run_plan(
        repo, feature("mine", "echo $OTTO_ATTEMPT > note; exit 1", max_attempts=2), keep_worktrees=True
    )
    kept = sorted(path for path in hermetic.rglob(f"kept/{run.id}/*"))
    assert [path.name for path in kept] == ["mine.1", "mine.2"]
    assert [(path / "note").read_text() for path in kept] == ["1\n", "2\n"]
