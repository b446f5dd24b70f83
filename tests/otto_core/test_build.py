"""From a plan file to landed commits, with real git, real processes and a real journal."""

from hashlib import sha256
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.git.repository import GitRepository
from otto_core.journal import Journal
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.runlock import is_driven
from tests.builders import git, make_repo
from tests.otto_core.runs import content, feature, files, reason_of, run_plan, writes


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


def test_i5_a_feature_starts_from_what_its_foundation_landed(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("base", "echo 1 > base.txt", role="foundation"),
        feature("top", "cp base.txt top.txt"),
    )
    assert content(repo, run, "top.txt") == "1"
    assert run.tasks["top"].attempts[0].start.base == run.tasks["base"].commit


def test_allow_empty_ends_well_without_a_commit(repo: Path) -> None:
    run = run_plan(repo, feature("nothing", "true", allow_empty=True), writes("one"))
    assert run.tasks["nothing"].status is TaskStatus.UNCHANGED
    assert run.outcome is Outcome.LANDED


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


def test_r_o3_a_contract_of_two_paths_of_which_one_is_there_is_missing(repo: Path) -> None:
    run = run_plan(
        repo,
        feature("base", "echo > a.py", owns=["a.py", "b.py"], role="foundation", provides=["db"]),
        writes("one"),
        contracts=[{"id": "db", "paths": ["a.py", "b.py"]}],
    )
    assert reason_of(run, "one").kind is ReasonKind.CONTRACTS_MISSING


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


def test_the_result_files_summary_is_quoted_in_the_landing(repo: Path) -> None:
    script = 'echo x > mine.txt; echo \'{"summary": "Wrote x."}\' > $OTTO_RESULT_FILE'
    run = run_plan(repo, feature("mine", script))
    assert "    Wrote x." in git(repo, "log", "-1", "--format=%B", run.tip)


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


def test_i10_the_run_is_locked_while_it_is_driven(repo: Path) -> None:
    store = GitRepository.discover(repo).store
    seen: list[bool] = []
    run = run_plan(repo, writes("one"), observe=lambda _, run: seen.append(is_driven(store, run.id)))
    assert seen
    assert all(seen)
    assert not is_driven(store, run.id)
