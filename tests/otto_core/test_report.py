import json
from pathlib import Path

import pytest
from msgspec import structs

from otto_core import events as ev
from otto_core.errors import PlanRejected
from otto_core.model import Outcome, ReasonKind, Telemetry
from otto_core.report import (
    document,
    error_document,
    format_elapsed,
    next_steps,
    summary,
    task_document,
    waits_for,
)
from otto_core.state import Run
from planner.violations import Violation
from tests.builders import RunBuilder, reason, shop_run, task
from tests.otto_core.simulation import a_contention


def landed(run: Run) -> set[str]:
    """Name the tasks that landed, as Git would."""
    return {name for name, task in run.tasks.items() if task.commit}


def rows(run: Run) -> dict[str, dict[str, object]]:
    """Give the tasks of the document as a program reads them, by id."""
    read = json.loads(json.dumps(document(run, landed(run))))
    return {row["id"]: row for row in read["tasks"]}


def test_the_document_has_the_keys_of_the_interface_in_its_order(repo: Path) -> None:
    run = shop_run(repo).run
    found = document(run, landed(run))
    assert list(found) == [
        *(
            "run",
            "outcome",
            "base",
            "branch",
            "tip",
            "plan",
            "tasks",
            "pilot",
            "budget",
            "locks",
            "sandbox",
            "paused",
            "warnings",
        )
    ]
    first = found["tasks"][0]  # type: ignore[index] # a list, by the interface
    assert list(first) == [
        *("id", "role", "state", "on_result", "commit", "attempts", "reason", "strategy", "checks"),
        *("waits_for", "telemetry"),
    ]
    assert list(first["telemetry"]) == [
        *("requested_model", "actual_model", "input_tokens", "cached_input_tokens", "output_tokens"),
        *("cost_usd", "duration_s", "missing"),
    ]


def test_the_document_tells_of_the_whole_run(repo: Path) -> None:
    built = shop_run(repo)
    found = document(built.run, landed(built.run))
    assert found["run"] == "r-20261120-aaaa"
    assert found["outcome"] == "partial"
    assert found["base"] == built.base
    assert found["branch"] == "otto/add-accounts"
    assert found["tip"] == built.run.tip
    assert found["plan"] == {"id": built.run.stored[0].plan_id, "revision": 1}
    assert found["pilot"] == []
    assert found["budget"] == {"wall_s": built.elapsed_s, "cost_usd": 0.0}
    assert (found["locks"], found["sandbox"]) == ("unlocked", "subreaper")


def test_tasks_stand_in_the_order_of_the_plan(repo: Path) -> None:
    found = rows(shop_run(repo).run)
    assert list(found) == ["models", "routes", "accounts", "billing", "coupons", "changelog"]


def test_r_s1_only_what_landed_is_on_the_result_and_has_a_commit(repo: Path) -> None:
    found = rows(shop_run(repo).run)
    on_result = {name for name, row in found.items() if row["on_result"]}
    assert on_result == {"models", "routes", "accounts", "billing"}
    assert {name for name, row in found.items() if row["commit"]} == on_result
    assert {name for name, row in found.items() if row["strategy"]} == on_result
    assert found["accounts"]["strategy"] == "pygit2"


def test_checks_say_passed_only_of_the_tree_that_landed(repo: Path) -> None:
    built = RunBuilder(repo, task("a"), task("b"))
    built.do("a")
    built.start("b")
    built.produce("b")
    produced = built.run.tasks["b"].produced
    assert produced is not None
    built.check("b", "make test", produced.tree)
    found = rows(built.run)
    assert (found["a"]["checks"], found["b"]["checks"]) == ("passed", "none")


def test_a_reason_gives_its_paths_escaped_where_they_are_not_utf_8(repo: Path) -> None:
    built = RunBuilder(repo, task("a", max_attempts=1))
    built.start("a")
    built.fail("a", reason(ReasonKind.WRITE_GATE, paths=[b"caf\xe9"]))
    why = rows(built.run)["a"]["reason"]
    assert why == {
        "kind": "write_gate",
        "message": "the command exited with 1",
        "hint": "otto logs it",
        "paths": ["caf\udce9"],
        "evidence": None,
    }
    assert "caf\\udce9" in json.dumps(document(built.run, ()))


def test_telemetry_is_of_the_last_attempt_and_costs_add_up(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    assert rows(built.run)["a"]["telemetry"] is None
    built.start("a")
    assert rows(built.run)["a"]["telemetry"] is None
    built.fail("a", then="retry", telemetry=Telemetry(duration_s=1.0, cost_usd=0.25))
    built.start("a")
    built.fail("a", telemetry=Telemetry(duration_s=2.0, cost_usd=0.5))
    found = rows(built.run)["a"]
    assert found["attempts"] == 2
    assert found["telemetry"] == structs.asdict(Telemetry(duration_s=2.0, cost_usd=0.5))
    assert document(built.run, ())["budget"] == {"wall_s": built.elapsed_s, "cost_usd": 0.75}


def test_an_unfinished_task_says_what_it_waits_for(repo: Path) -> None:
    built = RunBuilder(repo, task("a"), task("b"), task("c", after=["a", "b"]), concurrency=1)
    assert [waits_for(built.run, name) for name in "abc"] == [None, None, "a, b"]
    built.start("a")
    assert [waits_for(built.run, name) for name in "abc"] == [
        *(None, "a free place (`concurrency` is 1)", "a, b")
    ]
    built.produce("a")
    built.land("a")
    assert [waits_for(built.run, name) for name in "abc"] == [None, None, "b"]


def test_the_summary_names_every_failure_with_its_reason_and_hint(repo: Path) -> None:
    told = "\n".join(summary(shop_run(repo).run))
    assert "r-20261120-aaaa: partial, 4 of 6 tasks landed, 2 failed, in 3.3s" in told
    assert "coupons: the command exited with 1: no such coupon (agent_failed)" in told
    assert "hint: otto logs coupons" in told
    assert "changelog: 'coupons' did not land (dependency_failed)" in told
    assert "next: otto show coupons --run r-20261120-aaaa" in told


def test_a_task_that_is_being_retried_is_not_told_as_a_failure(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    built.start("a")
    built.fail("a", then="retry")
    assert not any("agent_failed" in line for line in summary(built.run))


def test_a_run_that_landed_nothing_says_so(repo: Path) -> None:
    built = RunBuilder(repo, task("a", max_attempts=1))
    built.start("a")
    built.fail("a")
    built.settle("a")
    built.finish(Outcome.FAILED)
    told = summary(built.run)
    assert told[0] == "r-20261120-aaaa: failed, 0 of 1 task landed, 1 failed, in 0.6s"
    assert told[1] == f"nothing landed; the base is {built.base[:12]}"
    assert [step.command for step in next_steps(built.run)] == [
        "otto show a --run r-20261120-aaaa",
        "otto retry a --run r-20261120-aaaa",
    ]


def test_i14_a_pause_is_told_with_the_name_of_the_limit_and_its_value(repo: Path) -> None:
    built = RunBuilder(repo, task("a"), wall_s=7200.0)
    built.pause(Outcome.BUDGET, "the run's `budget.wall` of 2h is used up")
    assert "paused: the run's `budget.wall` of 2h is used up" in summary(built.run)


def test_r_g3_a_contended_task_is_pending_and_says_whom_it_waits_for(repo: Path) -> None:
    built = RunBuilder(repo, task("a"), task("b"))
    built.append(a_contention("a"))
    told = task_document(built.run, "a", ())
    assert told["state"] == "pending"
    assert told["waits_for"] == "'theirs' of r-20261120-othr (4711@workshop), which is writing **"
    assert task_document(built.run, "b", ())["waits_for"] is None
    built.pause(Outcome.WAITING, "a lock")
    assert [step.command for step in next_steps(built.run)] == [
        "otto status r-20261120-othr",
        "otto resume r-20261120-aaaa",
    ]
    built.append(ev.LockFreed(task="a"))
    assert waits_for(built.run, "a") is None


def test_a_branch_left_alone_is_told_with_where_the_result_is(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    commit = built.do("a")
    built.append(ev.BranchWithheld(branch="otto/add-accounts", why="it is checked out in /shop"))
    told = summary(built.run)
    assert "the branch otto/add-accounts was left alone: it is checked out in /shop" in told
    assert f"the result is {commit[:12]} (refs/otto/runs/r-20261120-aaaa/tip)" in told


def test_a_regression_names_the_check(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    commit = built.do("a")
    built.append(ev.FinalChecked(tip=commit, regressed=("make journey",), known=("make old",)))
    built.finish(Outcome.REGRESSION)
    told = summary(built.run)
    assert "fails on the result, passes on the base: make journey" in told
    assert "fails on the result, as on the base: make old" in told


@pytest.mark.parametrize(
    ("outcome", "landed", "commands"),
    [
        pytest.param(Outcome.LANDED, True, ["otto land"], id="landed"),
        pytest.param(Outcome.RUNNING, True, ["otto log"], id="running"),
        pytest.param(Outcome.REGRESSION, True, ["otto logs --check --run"], id="regression"),
        pytest.param(Outcome.WAITING, True, ["otto resume", "otto land"], id="waiting"),
        pytest.param(Outcome.INTERRUPTED, False, ["otto resume"], id="interrupted before anything landed"),
    ],
)
def test_the_next_commands_fit_the_outcome(
    repo: Path, outcome: Outcome, *, landed: bool, commands: list[str]
) -> None:
    built = RunBuilder(repo, task("a"))
    if landed:
        built.do("a")
    if outcome is not Outcome.RUNNING:
        built.pause(outcome)
    assert [step.command for step in next_steps(built.run)] == [f"{c} r-20261120-aaaa" for c in commands]


def test_b6_a_spent_budget_is_followed_by_a_larger_one(repo: Path) -> None:
    built = RunBuilder(repo, task("a"), wall_s=1.0)
    built.pause(Outcome.BUDGET)
    assert [step.command for step in next_steps(built.run)] == ["otto resume r-20261120-aaaa --wall DURATION"]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0.0s"),
        (0.44, "0.4s"),
        (59.94, "59.9s"),
        (59.97, "1m"),
        (60.0, "1m"),
        (89.7, "1m30s"),
        (3600.2, "1h"),
    ],
)
def test_a_measured_time_is_short(seconds: float, written: str) -> None:
    assert format_elapsed(seconds) == written


def test_an_error_is_told_with_all_its_findings() -> None:
    error = PlanRejected(
        "the plan has 2 faults",
        hint="otto plan",
        findings=(
            Violation("plan.yaml", 3, "unknown key", "did you mean owns?"),
            Violation("plan.yaml", None, "empty"),
        ),
    )
    assert error_document(error) == {
        "error": {
            "kind": "plan_rejected",
            "message": "the plan has 2 faults",
            "hint": "otto plan",
            "violations": [
                {"file": "plan.yaml", "line": 3, "message": "unknown key", "hint": "did you mean owns?"},
                {"file": "plan.yaml", "line": None, "message": "empty", "hint": ""},
            ],
        }
    }
