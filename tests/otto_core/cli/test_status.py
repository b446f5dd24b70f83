import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from otto_core import runlock
from otto_core.model import Outcome, ReasonKind
from otto_core.runlock import hold, is_driven
from tests.builders import RunBuilder, git, make_repo, reason, shop_run, task
from tests.otto_core.cli.conftest import Otto

READING = [
    pytest.param(["runs"], id="runs"),
    pytest.param(["status"], id="status"),
    pytest.param(["status", "--json"], id="status as json"),
    pytest.param(["graph"], id="graph"),
    pytest.param(["show", "coupons"], id="show"),
    pytest.param(["diff", "accounts"], id="diff"),
    pytest.param(["logs", "coupons"], id="logs"),
    pytest.param(["log"], id="log"),
]


def files(root: Path) -> dict[str, bytes]:
    """Read everything below a directory but the store's database."""
    every = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("otto.db"))
    return {str(path.relative_to(root)): path.read_bytes() for path in every}


def test_status_tells_of_each_task_and_gives_reasons_with_hints(shop: Path, otto: Otto) -> None:
    result = otto("status")
    assert result.exit_code == 0
    told = result.stdout.splitlines()
    assert told[0] == "Add accounts and billing to the shop"
    tip = git(shop, "rev-parse", "otto/add-accounts")
    assert told[3] == f"  ✓  accounts   landed  1 of 3 attempts  0.4s  {tip[:12]} Open and list accounts"
    assert told[5] == "  ✗  coupons    failed  2 of 3 attempts  0.4s  agent_failed"
    assert "  coupons: the command exited with 1: no such coupon (agent_failed)" in told
    assert "    hint: otto logs coupons" in told
    assert result.stderr == ""


def test_status_of_a_run_under_way_says_what_is_waited_for(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"), task("b", after=["a"]), task("c"))
    built.start("a")
    built.start("c")
    built.fail("c", reason(ReasonKind.VERIFY_FAILED), then="retry")
    with hold(built.repo / ".git/otto", built.run.id):
        told = otto("status", at=built.repo).stdout.splitlines()
    assert told[1:4] == [
        "  ●  a  running  1 of 3 attempts        Add a",
        "  ·  b  pending                         waits for a",
        "  ·  c  pending  1 of 3 attempts  0.4s  to be tried again: verify_failed",
    ]
    assert "next: otto log r-20261120-aaaa  what happened so far (driven by 4711@workshop)" in told


def test_a_run_whose_driver_is_gone_is_shown_as_interrupted(tmp_path: Path, otto: Otto) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.start("a")
    assert "interrupted" in otto("status", at=built.repo).stdout
    assert "4711@workshop, is gone" in otto("status", at=built.repo).stdout
    assert json.loads(otto("status", "--json", at=built.repo).stdout)["outcome"] == "interrupted"
    assert json.loads(otto("runs", "--json", at=built.repo).stdout)["runs"][0]["outcome"] == "interrupted"


@pytest.mark.parametrize("verb", ["status", "runs"])
def test_a_run_that_ends_while_one_looks_is_not_taken_for_one_whose_driver_is_gone(
    tmp_path: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.start("a")
    with ExitStack() as driver:
        driver.enter_context(hold(built.store, built.run.id))

        def asked_just_after(store: Path, run: str) -> bool:
            if built.run.outcome is Outcome.RUNNING:
                built.produce("a")
                built.land("a")
                built.finish()
                driver.close()
            return is_driven(store, run)

        monkeypatch.setattr(runlock, "is_driven", asked_just_after)
        told = json.loads(otto(verb, "--json", at=built.repo).stdout)
    assert (told["runs"][0] if verb == "runs" else told)["outcome"] == "landed"
    assert told.get("warnings", []) == []


def test_r_s1_what_a_driver_has_moved_and_not_yet_journalled_is_no_difference(
    tmp_path: Path, otto: Otto
) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"), task("b"))
    tip = built.do("a")
    later = git(built.repo, "commit-tree", f"{tip}^{{tree}}", "-p", tip, "-m", "b")
    with hold(built.store, built.run.id):
        for ref in ("refs/otto/runs/r-20261120-aaaa/tip", "refs/heads/otto/add-accounts"):
            git(built.repo, "update-ref", ref, later)
            assert otto("status", at=built.repo).stderr == "", ref
    assert "the journal says" in otto("status", at=built.repo).stderr


def test_the_newest_run_is_shown_unless_another_is_named(shop: Path, otto: Otto) -> None:
    shop_run(shop, run_id="r-20261121-bbbb").journal.close()
    assert json.loads(otto("status", "--json").stdout)["run"] == "r-20261121-bbbb"
    assert json.loads(otto("status", "r-20261120", "--json").stdout)["run"] == "r-20261120-aaaa"
    result = otto("status", "r-2", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["hint"] == "type more of the name"


@pytest.mark.parametrize("verb", READING)
def test_looking_writes_nothing_but_what_was_shown(shop: Path, otto: Otto, verb: list[str]) -> None:
    before, events = files(shop), otto("log", "--json").stdout.splitlines()
    result = otto(*verb)
    assert (result.exit_code, result.stderr) == (0, "")
    assert files(shop) == before
    after = otto("log", "--json").stdout.splitlines()
    assert after[: len(events)] == events
    more = [json.loads(line)["type"] for line in after[len(events) :]]
    assert more == (["shown"] if verb[0] in ("status", "diff") else [])


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        pytest.param(
            ["update-ref", "refs/heads/otto/add-accounts", "main"],
            "branch otto/add-accounts is at {base}, it was published at {tip}",
            id="the branch was moved",
        ),
        pytest.param(
            ["update-ref", "-d", "refs/heads/otto/add-accounts"],
            "branch otto/add-accounts is gone, it was published at {tip}",
            id="the branch was deleted",
        ),
        pytest.param(
            ["update-ref", "refs/otto/runs/r-20261120-aaaa/tip", "main"],
            "refs/otto/runs/r-20261120-aaaa/tip is at {base}, the journal says {tip}",
            id="the tip was moved",
        ),
        pytest.param(
            ["update-ref", "-d", "refs/otto/runs/r-20261120-aaaa/tip"],
            "refs/otto/runs/r-20261120-aaaa/tip is gone; the journal's last tip is {tip}",
            id="the tip was deleted",
        ),
    ],
)
def test_r_s1_where_git_and_the_journal_differ_status_warns(
    shop: Path, otto: Otto, command: list[str], warning: str
) -> None:
    ids = {
        name: git(shop, "rev-parse", rev)[:12]
        for name, rev in (("base", "main"), ("tip", "otto/add-accounts"))
    }
    git(shop, *command)
    result = otto("status")
    assert result.exit_code == 0
    assert result.stderr == f"warning: {warning.format(**ids)}\n"


def test_runs_lists_every_run_oldest_first(shop: Path, otto: Otto) -> None:
    built = RunBuilder(shop, task("a"), run_id="r-20261121-bbbb")
    built.journal.close()
    with hold(shop / ".git/otto", built.run.id):
        told = otto("runs").stdout.splitlines()
        document = json.loads(otto("runs", "--json").stdout)
    assert [line.split()[0] for line in told] == ["r-20261120-aaaa", "r-20261121-bbbb"]
    assert told[0] == (
        "r-20261120-aaaa  partial  2026-11-20 19:00Z  4/6 landed  otto/add-accounts"
        "       Add accounts and billing to the shop"
    )
    assert [(row["run"], row["outcome"], row["landed"], row["tasks"]) for row in document["runs"]] == [
        ("r-20261120-aaaa", "partial", 4, 6),
        ("r-20261121-bbbb", "running", 0, 1),
    ]


def test_without_runs_the_list_is_empty_and_no_store_appears(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    assert "otto build" in otto("runs", at=repo).stdout
    assert json.loads(otto("runs", "--json", at=repo).stdout) == {"runs": []}
    assert not (repo / ".git/otto").exists()
