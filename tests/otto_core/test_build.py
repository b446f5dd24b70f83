"""From a plan file to landed commits, with real git, real processes and a real journal."""

import os
import signal
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.git.repository import GitRepository
from otto_core.journal import Journal
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.refnames import run_ref
from otto_core.runlock import is_driven
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.runs import (
    content,
    feature,
    files,
    fingerprint,
    first_failure,
    reason_of,
    run_plan,
    writes,
)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"README.md": "Start.\n", "src/app.py": "print('hello')\n"})


def test_r_s1_every_landed_task_is_a_commit_on_the_branch_with_its_trailers(repo: Path) -> None:
    run = run_plan(repo, writes("one"), writes("two") | {"title": "Write the second file"})
    assert run.outcome is Outcome.LANDED
    chain = git(repo, "log", "--first-parent", "--format=%H", f"{run.start.base}..otto/test").split()
    assert sorted(chain) == sorted(task.commit or "" for task in run.tasks.values())
    said = git(repo, "log", "-1", "--format=%s%n%(trailers:only)", run.tasks["two"].commit or "").splitlines()
    assert said == [
        "Write the second file",
        f"Otto-Run: {run.id}",
        "Otto-Task: two",
        "Otto-Attempt: 1",
        f"Otto-Plan: {run.stored[0].plan_id}",
    ]


def test_a_landing_has_the_tip_and_the_admitted_snapshot_as_parents(repo: Path) -> None:
    run = run_plan(repo, writes("one"), writes("two") | {"depends_on": ["one"]})
    first, second = run.tasks["one"], run.tasks["two"]
    produced = second.produced
    assert produced is not None
    assert git(repo, "rev-parse", f"{second.commit}^1") == first.commit
    assert git(repo, "rev-parse", f"{second.commit}^2") == produced.snapshot
    assert git(repo, "rev-parse", f"{produced.snapshot}^@") == second.attempts[0].start.base


def test_i8_the_users_repository_is_untouched_but_for_ottos_own_refs_branch_and_objects(repo: Path) -> None:
    (repo / "src/app.py").write_text("print('dirty')\n")
    (repo / "untracked").write_text("mine\n")
    (repo / "staged").write_text("staged\n")
    git(repo, "add", "staged")
    git(repo, "stash", "--keep-index", "--include-untracked", "--quiet")
    (repo / "src/app.py").write_text("print('dirty')\n")
    (repo / ".git/hooks/post-commit").write_text("#!/bin/sh\nexit 1\n")
    (repo / ".git/hooks/post-commit").chmod(0o755)
    own = (".git/otto", ".git/objects", ".git/refs/otto", ".git/refs/heads/otto", ".git/logs/refs/heads/otto")
    before = fingerprint(repo, less=own)
    run = run_plan(repo, writes("one"), feature("bad", "exit 3", max_attempts=1), writes("two"))
    assert run.outcome is Outcome.PARTIAL
    assert fingerprint(repo, less=own) == before


def test_i5_a_feature_starts_from_what_its_foundation_landed(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("base", "echo 1 > base.txt", role="foundation"),
        feature("top", "cp base.txt top.txt"),
    )
    assert content(repo, run, "top.txt") == "1"
    assert run.tasks["top"].attempts[0].start.base == run.tasks["base"].commit


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


def test_i14_a_timeout_names_itself_and_its_value(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "sleep 60", timeout="1s", max_attempts=1))
    reason = reason_of(run, "mine")
    assert reason.kind is ReasonKind.AGENT_TIMEOUT
    assert "`timeout` of 1s" in reason.message


def test_i14_b1_the_wall_budget_pauses_the_run_and_ends_what_executes(repo: Path) -> None:
    (repo / "otto.yaml").write_text("budget: {wall: 1s}\n")
    run = run_plan(repo, feature("mine", "echo work > mine.txt; sleep 60"))
    assert run.outcome is Outcome.BUDGET
    assert run.paused is not None
    assert "`budget.wall` of 1s" in run.paused.message
    assert run.tasks["mine"].status is TaskStatus.PENDING
    kept = f"refs/otto/runs/{run.id}/tasks/mine/attempt-1"
    assert git(repo, "show", f"{kept}:mine.txt") == "work"


def test_allow_empty_ends_well_without_a_commit(repo: Path) -> None:
    run = run_plan(repo, feature("nothing", "true", allow_empty=True), writes("one"))
    assert run.tasks["nothing"].status is TaskStatus.UNCHANGED
    assert run.outcome is Outcome.LANDED


def test_a_failing_task_check_is_fed_back_and_passes_on_retry(repo: Path) -> None:
    script = "if grep -q 'not good enough'; then echo good; else echo poor; fi > mine.txt"
    check = "grep -q good mine.txt || { echo not good enough; exit 1; }"
    run = run_plan(repo, feature("mine", script, verify=[check]))
    assert [type(a.end) for a in run.tasks["mine"].attempts] == [ev.AttemptProduced, ev.AttemptProduced]
    assert content(repo, run, "mine.txt") == "good"


def test_a_failing_check_uses_up_the_attempts_and_names_the_command(repo: Path) -> None:
    run = run_plan(repo, feature("mine", "echo x > mine.txt", verify=["exit 7"], max_attempts=2))
    reason = reason_of(run, "mine")
    assert reason.kind is ReasonKind.VERIFY_FAILED
    assert "exited with 7" in reason.message
    assert "exit 7" in reason.message
    assert len(run.tasks["mine"].attempts) == 2


def test_i14_a_check_that_hangs_names_its_limit(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("mine", "echo x > mine.txt", max_attempts=1),
        verify={"each": ["! test -f mine.txt || sleep 60"], "timeout": "1s"},
    )
    reason = reason_of(run, "mine")
    assert reason.kind is ReasonKind.VERIFY_TIMEOUT
    assert "`verify.timeout` of 1s" in reason.message


def test_r_m3_checks_see_the_merged_tree_and_nothing_else(repo: Path) -> None:
    check = (
        'test -z "$(git status --porcelain --ignored)" && git ls-files | sort > /dev/null && touch litter.txt'
    )
    run = run_plan(repo, writes("one"), writes("two"), verify={"each": [check, check]})
    assert run.outcome is Outcome.LANDED
    assert "litter.txt" not in files(repo, run)


def test_r_m3_the_second_of_two_tasks_is_checked_with_the_first_merged_in(repo: Path) -> None:
    run = run_plan(
        repo, writes("one"), writes("two"), verify={"each": ["ls one.txt two.txt || test ! -f both"]}
    )
    trees = {v.tree for task in run.tasks.values() for v in task.verdicts}
    assert trees == {git(repo, "rev-parse", f"{task.commit}^{{tree}}") for task in run.tasks.values()}


def test_r_m7_a_failure_already_on_the_base_is_not_blamed_on_a_task(repo: Path) -> None:
    run = run_plan(repo, writes("one"), verify={"each": ["test -f never"]})
    assert run.outcome is Outcome.LANDED


def test_without_a_baseline_a_failure_on_the_base_counts(repo: Path) -> None:
    run = run_plan(
        repo,
        writes("one") | {"max_attempts": 1},
        verify={"each": ["test -f never"], "baseline": False},
    )
    assert run.outcome is Outcome.FAILED


def test_a_check_that_began_to_pass_is_required_from_then_on(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("adds", "echo x > flag.txt", owns=["flag.txt"]),
        feature("removes", "rm flag.txt", owns=["flag.txt"], depends_on=["adds"], max_attempts=1),
        verify={"each": ["test -f flag.txt"]},
    )
    assert run.tasks["adds"].status is TaskStatus.LANDED
    assert reason_of(run, "removes").kind is ReasonKind.VERIFY_FAILED


@pytest.mark.parametrize(
    ("final", "outcome"),
    [
        ("test -f one.txt", Outcome.LANDED),
        ("test ! -f one.txt", Outcome.REGRESSION),
        ("exit 1", Outcome.LANDED),
    ],
    ids=["passes on the result", "passes on the base only", "fails on both"],
)
def test_final_checks_are_judged_against_the_base(repo: Path, final: str, outcome: Outcome) -> None:
    assert run_plan(repo, writes("one"), verify={"final": [final]}).outcome is outcome


def test_r_o4_a_failed_foundation_settles_its_features_honestly(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("base", "exit 1", role="foundation", max_attempts=1),
        writes("one"),
        writes("two"),
    )
    assert {reason_of(run, name).kind for name in ("one", "two")} == {ReasonKind.FOUNDATION_UNSATISFIED}
    assert not run.tasks["one"].attempts


def test_r_o3_a_contract_that_was_not_delivered_settles_the_features(repo: Path) -> None:
    run = run_plan(
        repo,
        feature(
            "base", "echo x > side.txt", owns=["models.py", "side.txt"], role="foundation", provides=["db"]
        ),
        writes("one"),
        contracts=[{"id": "db", "paths": ["models.py"]}],
    )
    assert reason_of(run, "one").kind is ReasonKind.CONTRACTS_MISSING
    assert "models.py" in reason_of(run, "one").message


def test_r_m1_features_that_insert_into_one_registry_at_once_all_land(repo: Path) -> None:
    names = [f"f{n}" for n in range(5)]
    run = run_plan(
        repo,
        feature(
            "base",
            "printf 'begin\\nend\\n' > routes.txt",
            owns=["routes.txt"],
            role="foundation",
            provides=["routes"],
        ),
        *(
            feature(n, f"sed -i '/begin/a {n}' routes.txt; echo x > {n}.txt", extends=["routes"])
            for n in names
        ),
        contracts=[{"id": "routes", "paths": ["routes.txt"], "merge": "union"}],
    )
    assert run.outcome is Outcome.LANDED
    lines = content(repo, run, "routes.txt").splitlines()
    assert sorted(lines) == sorted(["begin", "end", *names])


def test_i6_a_registry_line_that_is_changed_instead_of_inserted_is_refused(repo: Path) -> None:
    run = run_plan(
        repo,
        feature(
            "base", "echo begin > routes.txt", owns=["routes.txt"], role="foundation", provides=["routes"]
        ),
        feature("one", "echo gone > routes.txt", extends=["routes"], max_attempts=1),
        contracts=[{"id": "routes", "paths": ["routes.txt"], "merge": "union"}],
    )
    assert reason_of(run, "one").kind is ReasonKind.WRITE_GATE
    assert "inserting whole lines" in reason_of(run, "one").message


def test_a_name_that_is_not_utf_8_lands(repo: Path) -> None:
    run = run_plan(
        repo, feature("odd", "printf x > \"$(printf 'odd/caf\\351')\"", owns=["odd/"], max_attempts=1)
    )
    assert run.outcome is Outcome.FAILED, "the directory does not exist yet"
    run = run_plan(
        repo,
        feature("odd", "mkdir odd; printf x > \"$(printf 'odd/caf\\351')\"", owns=["odd/"], max_attempts=1),
    )
    assert run.outcome is Outcome.LANDED
    assert '"odd/caf\\351"' in files(repo, run)


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


def test_r_s9_a_lock_on_the_users_index_and_busy_agents_get_in_nobodys_way(repo: Path) -> None:
    (repo / ".git/index.lock").write_text("held by an editor")
    busy = "for n in 1 2 3 4 5; do echo $n > {0}.txt; git add -A; git commit -qm $n; git status -s; done"
    run = run_plan(repo, *(feature(name, busy.format(name)) for name in ("one", "two", "three", "four")))
    assert run.outcome is Outcome.LANDED
    assert (repo / ".git/index.lock").read_text() == "held by an editor"


def test_r_x2_what_an_attempt_starts_from_is_pinned_in_the_journal(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("base", "echo v1 > models.py", owns=["models.py"], role="foundation", provides=["db"]),
        feature("one", "echo 1 > one.txt", prompt="Do one."),
        contracts=[{"id": "db", "paths": ["models.py"]}],
    )
    start = run.tasks["one"].attempts[0].start
    assert start.base == run.tasks["base"].commit
    assert start.contracts == run.contracts
    assert start.contracts["db"] is not None
    assert start.prompt_digest == sha256(b"Do one.").hexdigest()
    assert (start.agent, start.plan_id) == ("command", run.stored[0].plan_id)


def test_committed_amended_or_left_alone_the_files_are_taken_as_they_are(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("commits", "echo a > commits.txt; git add -A; git commit -qm 'Say a'; echo b >> commits.txt"),
        feature(
            "branches", "git checkout -q -b elsewhere; echo c > branches.txt; git add -A; git commit -qm c"
        ),
        writes("plain"),
    )
    assert run.outcome is Outcome.LANDED
    assert content(repo, run, "commits.txt") == "a\nb"
    assert "    Say a" in git(repo, "log", "-1", "--format=%B", run.tasks["commits"].commit or "")
    evidence = f"refs/otto/runs/{run.id}/tasks/commits/evidence-1"
    assert git(repo, "log", "-1", "--format=%s", evidence) == "Say a"


def test_trailers_in_an_agents_commit_message_land_nothing(repo: Path) -> None:
    forged = "Fake\\n\\nOtto-Run: r-20261120-aaaa\\nOtto-Task: two\\nOtto-Attempt: 1\\nOtto-Plan: x"
    run = run_plan(
        repo,
        feature("one", f"echo 1 > one.txt; git add -A; printf '{forged}' | git commit -qF -"),
        writes("two"),
    )
    assert run.outcome is Outcome.LANDED
    assert content(repo, run, "two.txt") == "two"


def test_retry_from_attempt_goes_on_where_the_last_attempt_ended(repo: Path) -> None:
    run = run_plan(
        repo,
        feature(
            "mine", "echo $OTTO_ATTEMPT >> mine.txt", verify=["grep -q 2 mine.txt"], retry_from="attempt"
        ),
    )
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


def test_the_result_files_summary_is_quoted_in_the_landing(repo: Path) -> None:
    script = 'echo x > mine.txt; echo \'{"summary": "Wrote x."}\' > $OTTO_RESULT_FILE'
    run = run_plan(repo, feature("mine", script))
    assert "    Wrote x." in git(repo, "log", "-1", "--format=%B", run.tip)


def test_keep_worktrees_keeps_every_attempt_as_it_was_left(repo: Path, hermetic: Path) -> None:
    run = run_plan(
        repo, feature("mine", "echo $OTTO_ATTEMPT > note; exit 1", max_attempts=2), keep_worktrees=True
    )
    kept = sorted(path for path in hermetic.rglob(f"kept/{run.id}/*"))
    assert [path.name for path in kept] == ["mine.1", "mine.2"]
    assert [(path / "note").read_text() for path in kept] == ["1\n", "2\n"]


def test_r_l2_i12_an_attempts_row_appears_when_execution_starts_and_ends_with_telemetry(repo: Path) -> None:
    told: list[tuple[str, str]] = []
    run = run_plan(
        repo, writes("one"), observe=lambda event, run: told.append((event.type, run.tasks["one"].status))
    )
    assert ("attempt_started", TaskStatus.RUNNING) in told
    end = run.tasks["one"].attempts[0].end
    assert isinstance(end, ev.AttemptProduced)
    assert end.telemetry.missing == "command agent"
    assert end.telemetry.duration_s > 0


def test_i11_event_numbers_grow_and_the_fold_of_the_journal_is_the_state(repo: Path) -> None:
    run = run_plan(repo, writes("one"), feature("bad", "exit 1", max_attempts=2))
    repository = GitRepository.discover(repo)
    with Journal.open(repository.store / "otto.db") as journal:
        numbers = [stored.seq for stored in journal.events(run.id)]
        assert journal.load(run.id) == run
    assert numbers == sorted(set(numbers))


def test_a_second_run_of_the_same_intent_gets_a_branch_of_its_own(repo: Path) -> None:
    assert run_plan(repo, writes("one")).branch == "otto/test"
    second = run_plan(repo, writes("two"))
    assert second.branch == "otto/test-2"
    assert git(repo, "rev-parse", "otto/test-2") == second.tip


def test_the_result_branch_is_left_alone_while_it_is_checked_out(repo: Path) -> None:
    switched = threading.Event()

    def switch(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.BranchPublished) and not switched.is_set():
            switched.set()
            git(repo, "checkout", "--quiet", event.branch)

    run = run_plan(repo, writes("one"), writes("two") | {"depends_on": ["one"]}, observe=switch)
    assert run.withheld is not None
    assert "checked out" in run.withheld.why
    assert git(repo, "rev-parse", "otto/test") == run.tasks["one"].commit
    assert git(repo, "rev-parse", run_ref(run.id, "tip")) == run.tasks["two"].commit
    assert git(repo, "status", "--porcelain") == ""


def _detached(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach")


def _dirty(repo: Path) -> None:
    (repo / "README.md").write_text("changed\n")


@pytest.mark.parametrize("prepare", [_detached, _dirty])
def test_a_checkout_in_any_state_works(repo: Path, prepare: object) -> None:
    assert callable(prepare)
    prepare(repo)
    run = run_plan(repo, writes("one"))
    assert run.outcome is Outcome.LANDED
    assert content(repo, run, "README.md") == "Start."


@pytest.mark.parametrize("options", [["--depth=1"], ["--bare"], ["--depth=1", "--bare"]], ids=" ".join)
def test_a_shallow_or_bare_clone_works(tmp_path: Path, repo: Path, options: list[str]) -> None:
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "second")
    git(tmp_path, "clone", "--quiet", *options, f"file://{repo}", "clone")
    clone = tmp_path / "clone"
    run = run_plan(clone, writes("one"), writes("two"), verify={"each": ["test -f README.md"]})
    assert run.outcome is Outcome.LANDED
    git(clone, "fsck", "--strict")


def test_a_linked_worktree_of_the_users_works(tmp_path: Path, repo: Path) -> None:
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert run_plan(tmp_path / "linked", writes("one")).outcome is Outcome.LANDED


def test_line_endings_are_converted_as_at_checkout(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "*.bat text eol=crlf\n*.txt text\n", "a.bat": "one\n"})
    run = run_plan(
        repo,
        feature("bat", "cat -A a.bat > seen.txt; printf 'two\\r\\n' >> a.bat", owns=["a.bat", "seen.txt"]),
    )
    assert content(repo, run, "seen.txt") == "one^M$"
    assert git(repo, "cat-file", "-p", f"{run.tip}:a.bat") == "one\ntwo"


def test_r_m9_attributes_that_an_attempt_plants_convert_nothing(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "*.bat text eol=crlf\n", "a.bat": "one\n"})
    script = (
        "printf '*.txt text\\n' > .gitattributes; printf 'x\\r\\n' > mine.txt; git checkout -q .gitattributes"
    )
    planted = script.replace("; git checkout -q .gitattributes", "")
    run = run_plan(repo, feature("mine", planted, owns=[".gitattributes", "mine.txt"]))
    assert git(repo, "cat-file", "-s", f"{run.tip}:mine.txt") == "3"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_pauses_the_run_and_keeps_what_was_written(repo: Path, number: signal.Signals) -> None:
    def interrupt(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.AttemptStarted):
            threading.Timer(0.5, os.kill, (os.getpid(), number)).start()

    run = run_plan(repo, feature("mine", "echo half > mine.txt; sleep 60"), observe=interrupt)
    assert run.outcome is Outcome.INTERRUPTED
    assert run.tasks["mine"].status is TaskStatus.PENDING
    end = run.tasks["mine"].attempts[0].end
    assert isinstance(end, ev.AttemptInterrupted)
    assert git(repo, "show", f"{end.snapshot}:mine.txt") == "half", "I7"


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


def test_r_o3_a_contract_of_two_paths_of_which_one_is_there_is_missing(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("base", "echo > a.py", owns=["a.py", "b.py"], role="foundation", provides=["db"]),
        writes("one"),
        contracts=[{"id": "db", "paths": ["a.py", "b.py"]}],
    )
    assert reason_of(run, "one").kind is ReasonKind.CONTRACTS_MISSING


def test_checks_have_a_temporary_directory_of_their_own_and_no_prompt(repo: Path) -> None:
    check = 'test -d "$TMPDIR" && test "$TMPDIR" != /tmp && test -z "$OTTO_PROMPT_FILE"'
    run = run_plan(repo, writes("one"), verify={"each": [check], "baseline": False})
    assert run.outcome is Outcome.LANDED


def test_i10_the_run_is_locked_while_it_is_driven(repo: Path) -> None:
    store = GitRepository.discover(repo).store
    seen: list[bool] = []
    run = run_plan(repo, writes("one"), observe=lambda _, run: seen.append(is_driven(store, run.id)))
    assert seen
    assert all(seen)
    assert not is_driven(store, run.id)


def test_without_a_baseline_a_final_check_is_never_run_on_the_base(repo: Path) -> None:
    run = run_plan(repo, writes("one"), verify={"final": ["exit 1"], "baseline": False})
    assert run.outcome is Outcome.REGRESSION
