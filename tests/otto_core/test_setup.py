"""Setup of worktrees: gated, once per slot and key, kept exactly, and honest where it fails."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from otto_core import events as ev
from otto_core.compose import compose
from otto_core.errors import RepositoryUnusable
from otto_core.gate import ExecutionGate, Place, SetupStep, StepRefused
from otto_core.git.repository import GitRepository
from otto_core.journal import Journal
from otto_core.model import Outcome, ReasonKind
from otto_core.state import Run
from otto_core.stop import Stop
from planner.canonical import canonical, plan_id
from tests.builders import git, make_repo
from tests.otto_core.limits import limits_fire_at
from tests.otto_core.plans import a_plan, a_task
from tests.otto_core.runs import content, feature, files, reason_of, run_plan, write_plan, writes
from tests.otto_core.simulation import begin

MAKES = "mkdir -p deps/empty && echo library > deps/lib && ln -s lib deps/link && echo tool > tool.bin"


class Workshop:
    """A repository whose setup leaves a line in `done` each time it runs."""

    def __init__(self, tmp_path: Path) -> None:
        self.done = tmp_path / "done"
        self.repo = make_repo(
            tmp_path,
            {"README.md": "Start.\n", ".gitignore": "deps/\n*.bin\n*.tmp\n.env\n", "lock.json": "1\n"},
        )

    def configure(self, *setup: str, **worktrees: object) -> None:
        """Commit an `otto.yaml`; each setup command is a shell line, `MAKES` where none is given."""
        counted = [f"echo ran >> {self.done}", *(setup or (MAKES,))]
        made = {"setup": counted, "setup_key": ["lock.json"], **worktrees}
        told = {"concurrency": 1, "worktrees": made}
        (self.repo / "otto.yaml").write_text(yaml.safe_dump(told))
        git(self.repo, "add", "-A")
        git(self.repo, "commit", "-qm", "Configure")

    @property
    def times(self) -> int:
        """How often setup ran."""
        return len(self.done.read_text().splitlines()) if self.done.exists() else 0


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def setups(shop: Workshop, run: Run) -> list[ev.SetupEnded]:
    with Journal.open(shop.repo / ".git/otto/otto.db") as journal:
        return [s.event for s in journal.events(run.id) if isinstance(s.event, ev.SetupEnded)]


def test_r_s7_attempts_and_checks_find_what_setup_made_and_nothing_of_it_lands(shop: Workshop) -> None:
    shop.configure()
    run = run_plan(
        shop.repo,
        feature("mine", "cat deps/link > mine.txt; test -d deps/empty"),
        verify={"each": ["cat deps/lib tool.bin"], "final": ["test -f deps/lib"]},
    )
    assert run.outcome is Outcome.LANDED
    assert content(shop.repo, run, "mine.txt") == "library"
    assert files(shop.repo, run) == [".gitignore", "README.md", "lock.json", "mine.txt", "otto.yaml"]


def test_setup_runs_once_per_slot_and_key_and_holds_for_the_next_run_too(shop: Workshop) -> None:
    shop.configure()
    tasks = (writes("one"), writes("two"), writes("three"))
    first = run_plan(shop.repo, *tasks, verify={"each": ["test -f deps/lib"]})
    assert shop.times == 2
    assert [(s.slot, s.result) for s in setups(shop, first)] == [("slot-0", "passed"), ("check-0", "passed")]
    second = run_plan(shop.repo, *tasks, verify={"each": ["test -f deps/lib"]})
    assert (first.outcome, second.outcome) == (Outcome.LANDED, Outcome.LANDED)
    assert shop.times == 2
    assert setups(shop, second) == []


LEAVES = {
    "a new ignored file": ("echo x > left.tmp", "test ! -e left.tmp", 1),
    "a file among those of setup": (
        "echo x > deps/extra; mkdir deps/more",
        "test ! -e deps/extra -a ! -e deps/more",
        1,
    ),
    "a special file among those of setup": ("mkfifo deps/pipe", "test ! -e deps/pipe", 1),
    "an untracked file": ("echo x > mine.d", "test ! -e mine.d", 1),
    "a changed file of setup": ("echo x >> deps/lib", "grep -qx library deps/lib", 2),
    "a changed topmost file of setup": ("echo worm > tool.bin", "grep -qx tool tool.bin", 2),
    "a forged time": (
        "touch -r deps/lib t; echo forgery > deps/lib; touch -r t deps/lib; rm t",
        "grep -qx library deps/lib",
        2,
    ),
    "a removed file of setup": ("rm deps/link", "test -L deps/link", 2),
    "a removed empty directory of setup": ("rmdir deps/empty", "test -d deps/empty", 2),
    "a link in place of a directory": ("rm -r deps; ln -s /etc deps", "test ! -L deps", 2),
    "a directory without permission": ("chmod 000 deps/empty", "test -d deps/empty", 2),
    "a changed mode of a directory": ("chmod 1777 deps/empty", "test ! -k deps/empty", 2),
    "a changed mode of a topmost directory": ("chmod 1777 deps", "test ! -k deps", 2),
    "nothing at all left": ("rm -rf * .git", "test -f deps/lib", 2),
}


@pytest.mark.parametrize("name", LEAVES)
def test_r_x5_an_attempts_own_ignored_output_never_reaches_the_next_one(shop: Workshop, name: str) -> None:
    leave, check, times = LEAVES[name]
    shop.configure()
    run = run_plan(
        shop.repo,
        feature("first", f"{leave}; exit 1", max_attempts=1),
        feature("second", f"{check} && cp deps/lib second.txt"),
        intent="One after another",
    )
    assert content(shop.repo, run, "second.txt") == "library"
    assert shop.times == times


def test_r_x5_nothing_outside_is_moved_through_a_link_that_an_attempt_planted(
    shop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "precious/dist").mkdir(parents=True)
    (tmp_path / "precious/dist/file").write_text("mine")
    (shop.repo / ".gitignore").write_text("dist/\n")
    shop.configure("mkdir -p pkg/dist && echo made > pkg/dist/file")
    run_plan(
        shop.repo,
        feature("bad", f"rm -r pkg; ln -s {tmp_path}/precious pkg; exit 1", max_attempts=1),
        feature("good", "cp pkg/dist/file good.txt"),
    )
    assert (tmp_path / "precious/dist/file").read_text() == "mine"
    assert shop.times == 2


def test_what_setup_wrote_that_the_base_does_not_ignore_is_gone_before_the_attempt(shop: Workshop) -> None:
    shop.configure(f"{MAKES}; echo x > stray; echo x >> README.md; echo x >> lock.json")
    run = run_plan(shop.repo, feature("mine", "test ! -e stray && cp README.md mine.txt && test -f deps/lib"))
    assert run.outcome is Outcome.LANDED
    assert content(shop.repo, run, "mine.txt") == "Start."
    assert content(shop.repo, run, "lock.json") == "1"


@pytest.mark.parametrize(
    ("what", "again"),
    [("README.md", False), ("lock.json", True), (".gitignore", False)],
)
def test_a_changed_key_removes_all_and_sets_up_again(shop: Workshop, what: str, again: bool) -> None:
    shop.configure("mkdir deps && ls > deps/list")
    changes = feature("changes", f"echo >> {what}", owns=[what])
    uses = feature("uses", "cat deps/list > uses.txt", depends_on=["changes"])
    run = run_plan(shop.repo, changes, uses)
    assert run.outcome is Outcome.LANDED
    assert shop.times == (2 if again else 1)


def test_a_changed_copied_file_sets_up_again(shop: Workshop) -> None:
    shop.configure("mkdir deps && cp .env deps/lib", copy=[".env"])
    (shop.repo / ".env").write_text("A=1\n")
    run_plan(shop.repo, writes("one"))
    (shop.repo / ".env").write_text("A=2\n")
    run = run_plan(shop.repo, feature("two", "cat deps/lib > two.txt"))
    assert content(shop.repo, run, "two.txt") == "A=2"
    assert shop.times == 2


def test_a_further_attempt_that_starts_from_the_last_one_keeps_what_setup_made(shop: Workshop) -> None:
    shop.configure()
    first = "echo first > mine.txt; rm deps/lib; exit 1"
    script = f"test $OTTO_ATTEMPT = 2 && cat deps/lib >> mine.txt || {{ {first}; }}"
    run = run_plan(shop.repo, feature("mine", script, retry_from="attempt"))
    assert content(shop.repo, run, "mine.txt") == "first\nlibrary"
    assert shop.times == 2


@pytest.mark.parametrize(
    ("setup", "worktrees", "words"),
    [
        ("echo the reason; exit 3", {}, "exited with 3: the reason"),
        ("no-such-program-at-all", {}, "exited with 127"),
        ("touch {hangs}; sleep 600", {"setup_timeout": "9m"}, "`worktrees.setup_timeout` of 9m fired"),
        ("kill -9 $$", {}, "ended by signal 9"),
    ],
    ids=["fails", "is not there", "hangs", "is killed"],
)
def test_i14_setup_that_fails_ends_the_attempt_by_name_bounded_and_with_a_hint(
    shop: Workshop,
    setup: str,
    worktrees: dict[str, str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits_fire_at(monkeypatch, tmp_path / "hangs")
    shop.configure(setup.format(hangs=tmp_path / "hangs"), **worktrees)
    run = run_plan(shop.repo, feature("mine", "echo x > mine.txt", max_attempts=2))
    reason = reason_of(run, "mine")
    assert run.outcome is Outcome.FAILED
    assert reason.kind is ReasonKind.SETUP_FAILED
    assert words in reason.message
    assert reason.hint == f"otto logs mine --attempt 2 --setup --run {run.id}"
    assert reason.evidence == "mine.2.setup.log"
    assert len(run.tasks["mine"].attempts) == shop.times == 2


def test_setup_that_fails_once_is_tried_again_from_a_clean_tree(shop: Workshop) -> None:
    shop.configure(f"test ! -e deps && {MAKES} && test $(wc -l < {shop.done}) -ge 2")
    run = run_plan(shop.repo, feature("mine", "cp deps/lib mine.txt", max_attempts=2))
    assert run.outcome is Outcome.LANDED


def test_i13_r_s4_what_setup_leaves_running_is_ended_and_setup_holds(shop: Workshop, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    shop.configure(f"{MAKES}; setsid sleep 600 & echo $! > {pid}")
    run = run_plan(shop.repo, writes("one"))
    assert run.outcome is Outcome.LANDED
    assert not psutil.pid_exists(int(pid.read_text()))


def fails_in_checks(shop: Workshop) -> None:
    shop.configure('case "$OTTO_WORKTREE" in */check-*) exit 7;; esac', MAKES)


def test_r_m7_setup_that_fails_for_a_check_refuses_the_landing_and_is_no_verdict(shop: Workshop) -> None:
    fails_in_checks(shop)
    run = run_plan(
        shop.repo, feature("mine", "echo x > mine.txt", max_attempts=2), verify={"each": ["false"]}
    )
    reason = reason_of(run, "mine")
    assert reason.kind is ReasonKind.SETUP_FAILED
    assert "exited with 7" in reason.message
    assert run.tip == run.start.base
    assert run.excused == {}
    assert run.tasks["mine"].verdicts == ()


def test_setup_that_fails_for_the_baseline_excuses_nothing(shop: Workshop) -> None:
    breaks = f"case $(cat lock.json) in 1) test ! -e {shop.done}.base;; esac"
    shop.configure(breaks, MAKES)
    check = f"touch {shop.done}.base; false"
    changes = feature("mine", "echo 2 > lock.json", owns=["lock.json"], max_attempts=1)
    run = run_plan(shop.repo, changes, verify={"each": [check]})
    assert reason_of(run, "mine").kind is ReasonKind.SETUP_FAILED
    assert run.excused == {}


def test_final_checks_that_cannot_be_set_up_leave_the_run_unfinished_and_say_so(shop: Workshop) -> None:
    fails_in_checks(shop)
    with pytest.raises(RepositoryUnusable, match="exited with 7"):
        run_plan(shop.repo, writes("one"), verify={"final": ["true"]})
    with Journal.open(shop.repo / ".git/otto/otto.db") as journal:
        run = journal.load(journal.run_ids()[-1])
    assert run.outcome is Outcome.INTERRUPTED
    assert run.paused is not None
    assert "exited with 7" in run.paused.message


def test_i1_setup_executes_only_as_a_step_of_a_stored_plan(tmp_path: Path) -> None:
    run = begin(a_plan(a_task("a")))
    gate = ExecutionGate(lambda: run, Stop())
    place = Place(tmp_path, dict(os.environ), tmp_path / "log", "test/setup")
    with pytest.raises(StepRefused, match="no setup"):
        asyncio.run(gate.execute(SetupStep(1, run.stored[0].plan_id, 0), place))


def test_a_plan_without_setup_keeps_its_id_and_one_with_setup_has_another(shop: Workshop) -> None:
    repository = GitRepository.discover(shop.repo)
    plan = compose(repository, write_plan(shop.repo, writes("one")), base="HEAD").plan
    assert b"setup" not in canonical(plan)
    shop.configure()
    other = compose(repository, write_plan(shop.repo, writes("one")), base="HEAD").plan
    assert b'"setup":{"commands"' in canonical(other)
    assert plan_id(other) != plan_id(plan)


def test_a_slot_removed_by_hand_is_filled_and_set_up_again(shop: Workshop, hermetic: Path) -> None:
    shop.configure()
    run_plan(shop.repo, writes("one"))
    [slot] = hermetic.rglob("worktrees/*/slot-0")
    subprocess.run(["rm", "-rf", str(slot)], check=True)
    assert run_plan(shop.repo, feature("two", "cp deps/lib two.txt")).outcome is Outcome.LANDED
    assert shop.times == 2


def test_r_s4_a_slot_that_a_persons_shell_is_in_is_used_all_the_same_and_the_shell_lives(
    shop: Workshop, hermetic: Path
) -> None:
    shop.configure()
    run_plan(shop.repo, writes("one"))
    [slot] = hermetic.rglob("worktrees/*/slot-0")
    with subprocess.Popen(["sleep", "600"], cwd=slot / "deps") as shell:
        try:
            otto = [
                sys.executable,
                "-c",
                "from otto_core.cli.main import main; main()",
                "-C",
                str(shop.repo),
                "build",
                "--plan",
            ]
            plan = write_plan(shop.repo, feature("two", "cp deps/lib two.txt"))
            root = Path(__file__).parents[2]
            assert subprocess.run([*otto, str(plan)], cwd=root, check=False, timeout=600).returncode == 0
            assert shell.poll() is None
        finally:
            shell.kill()


def test_a_note_that_is_none_is_not_believed(shop: Workshop, hermetic: Path) -> None:
    shop.configure()
    run_plan(shop.repo, writes("one"))
    [note] = hermetic.rglob(".made/slot-0/note.json")
    for content_ in ("", "[]", '{"key": 1}', '{"key":"x","roots":["../.."],"files":{},"directories":[]}'):
        note.parent.mkdir(exist_ok=True)
        note.write_text(content_)
        assert run_plan(shop.repo, feature("two", "cp deps/lib two.txt")).outcome is Outcome.LANDED
    assert shop.times == 5


def test_a_file_that_setup_shares_with_a_store_is_known_by_its_content(
    shop: Workshop, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.write_text("library\n")
    shop.configure(f"mkdir deps && ln {store} deps/lib")
    run_plan(shop.repo, writes("one"))
    time.sleep(0.01)
    os.link(store, tmp_path / "another")
    run = run_plan(shop.repo, feature("two", "cp deps/lib two.txt"))
    assert content(shop.repo, run, "two.txt") == "library"
    assert shop.times == 1
