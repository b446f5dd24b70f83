import json
import re
from pathlib import Path
from typing import Literal

import pytest

from otto_core import events as ev
from otto_core.events import from_json
from otto_core.model import Outcome, Verdict
from tests.builders import RunBuilder, git, make_repo, plan, task
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.simulation import a_contention


def test_the_journal_is_told_one_event_a_line(shop: Path, otto: Otto) -> None:
    told = otto("log").stdout.splitlines()
    base = git(shop, "rev-parse", "main")[:12]
    assert told[0] == (
        f"    1  2026-11-20 19:00:00.000  run        starts on {base}, driven by 4711@workshop:"
        " Add accounts and billing to the shop"
    )
    assert told[2] == f"    3  2026-11-20 19:00:00.200  models     attempt 1 of 3 starts from {base}"
    assert told[-1].endswith("run        finished: partial")
    assert "coupons    attempt 1 failed after 0.4s (write_gate): the write gate refused" in "\n".join(told)


def test_r_x9_the_journal_as_json_lines_gives_every_event_back_with_its_run(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    rows = [json.loads(line) for line in otto("log", "--json").stdout.splitlines()]
    assert all(list(row) == ["seq", "run", "at", "type", "body"] for row in rows)
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["type"] for row in rows} >= {"run_started", "plan_stored", "landing_applied", "run_finished"}
    for row in rows:
        assert from_json(row["type"], json.dumps(row["body"])).type == row["type"]


def verdict(
    result: Literal["passed", "failed", "timeout"],
    code: int | None,
    *,
    scope: Literal["each", "final"] = "each",
) -> Verdict:
    return Verdict(
        command="make test",
        scope=scope,
        tree="a" * 40,
        digest="d",
        result=result,
        exit_code=code,
        duration_s=1.0,
        log="x",
    )


@pytest.mark.parametrize(
    ("event", "words"),
    [
        pytest.param(
            ev.Checked(task=None, attempt=None, verdict=verdict("failed", 2)),
            "run  check fails on the merged tree aaaaaaaaaaaa in 1.0s (exit 2): make test",
            id="failed check",
        ),
        pytest.param(
            ev.Checked(task=None, attempt=None, baseline=True, verdict=verdict("failed", None)),
            "check fails on the base aaaaaaaaaaaa in 1.0s (could not be executed): make test;"
            " so it does not count until it passes",
            id="check that could not be executed",
        ),
        pytest.param(
            ev.Checked(task=None, attempt=None, verdict=verdict("timeout", None)),
            "check does not end on the merged tree aaaaaaaaaaaa: `verify.timeout` of 15m fired: make test",
            id="i14 a check's time limit by name and value",
        ),
        pytest.param(
            ev.Checked(task=None, attempt=None, verdict=verdict("passed", 0, scope="final")),
            "run  check passes on the result aaaaaaaaaaaa in 1.0s: make test",
            id="final check",
        ),
        pytest.param(
            ev.BranchWithheld(branch="otto/x", why="it is checked out in /x"),
            "run  branch otto/x was left alone: it is checked out in /x",
            id="branch left alone",
        ),
        pytest.param(
            ev.FinalChecked(tip="b" * 40, regressed=("make journey",), known=()),
            "run  the result ends otherwise than the base in: make journey",
            id="regression",
        ),
        pytest.param(
            ev.FinalChecked(tip="b" * 40, regressed=(), known=("make old",)),
            "run  the result passes every final check that the base passes",
            id="no regression",
        ),
        pytest.param(
            ev.RunPaused(outcome=Outcome.BUDGET, message="the run's `budget.wall` of 2h is used up"),
            "run  paused (budget): the run's `budget.wall` of 2h is used up",
            id="i14 a budget by name and value",
        ),
        pytest.param(
            a_contention("a"),
            "a    has to wait: 'theirs' of r-20261120-othr (4711@workshop) is writing **, which meets a/**",
            id="g3 who holds what",
        ),
        pytest.param(ev.LockFreed(task="a"), "a    what it waited for is free", id="a lock is free"),
        pytest.param(
            ev.Shown(target="", target_commit=None, commit="c" * 40),
            "run  shown: no branch at no commit, result at cccccccccccc",
            id="shown without a branch",
        ),
    ],
)
def test_events_of_a_run_are_told_in_words(tmp_path: Path, otto: Otto, event: ev.Event, words: str) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    built.append(event)
    assert otto("log", at=built.repo).stdout.splitlines()[-1].endswith(words)


def test_an_attempt_that_changed_nothing_and_one_that_was_interrupted_are_told(
    tmp_path: Path, otto: Otto
) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a", allow_empty=True))
    built.start("a")
    built.interrupt("a")
    built.start("a")
    built.unchanged("a")
    told = [line.rpartition("  ")[2] for line in otto("log", at=built.repo).stdout.splitlines()]
    assert told[-3:] == [
        "attempt 1 was interrupted and does not count",
        f"attempt 2 of 4 starts from {built.base[:12]}",
        "attempt 2 is done after 0.4s: no change, as it may",
    ]


def test_the_graph_is_a_tree_of_generations(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    assert otto("graph").stdout.splitlines() == [
        "Add accounts and billing to the shop  r-20261120-aaaa: partial",
        "├─ generation 1",
        "│  ├─ ✓ models     foundation",
        "│  └─ ✓ routes     foundation",
        "├─ generation 2",
        "│  ├─ ✓ accounts   after models, routes",
        "│  ├─ ✓ billing    after models, routes",
        "│  └─ ✗ coupons    after models, routes",
        "└─ generation 3",
        "   └─ ✗ changelog  after models, routes, accounts, coupons",
    ]


def test_the_graph_as_json_marks_implied_edges(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    document = json.loads(otto("graph", "--format", "json").stdout)
    assert [(t["id"], t["generation"], t["state"]) for t in document["tasks"]][2] == ("accounts", 2, "landed")
    assert {"from": "models", "to": "accounts", "implied": False} in document["edges"]
    assert {"from": "routes", "to": "accounts", "implied": True} in document["edges"]


def test_the_graph_in_mermaid_is_safe_whatever_ids_and_titles_say(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    odd = plan("0" * 40, task("end", title='Say "no"; <b>]'), task("class", after=["end"], depends_on=[]))
    RunBuilder(repo, whole=odd).journal.close()
    drawn = otto("graph", "--format", "mermaid", at=repo).stdout
    assert drawn.startswith("flowchart LR\n")
    assert '    t0["· end<br/>Say #34;no#34;#59; #60;b#62;#93;"]:::pending\n' in drawn
    assert "  t0 -.-> t1\n" in drawn
    assert re.findall(r"^    (\w+)\[", drawn, flags=re.MULTILINE) == ["t0", "t1"]


def test_the_graph_in_dot_quotes_whatever_titles_say(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    odd = plan(
        "0" * 40,
        task("node", title='Say "no" &lt; \\N \\" \\\x1b]0;\n]; t9 -> t8 \\'),
        task("graph", after=["node"], depends_on=[]),
        task("edge", after=["node"]),
        intent='An "odd" intent\\',
    )
    RunBuilder(repo, whole=odd).journal.close()
    grey = 'fillcolor="#eeeeee", color="#999999", fontcolor="#333333"'
    assert otto("graph", "--format", "dot", at=repo).stdout.splitlines() == [
        'digraph "r-20261120-aaaa" {',
        r'  graph [rankdir=LR, label="An \"odd\" intent\\"]',
        '  node [shape=box, style="rounded,filled"]',
        "  subgraph cluster_1 {",
        '    graph [label="generation 1", style=dashed]',
        rf'    t0 [label="· node\nSay \"no\" &amp;lt; \\N \\\" \\\\x1b]0;\\n]; t9 -> t8 \\", {grey}]',
        "  }",
        "  subgraph cluster_2 {",
        '    graph [label="generation 2", style=dashed]',
        rf'    t1 [label="· graph\nAdd graph", {grey}]',
        rf'    t2 [label="· edge\nAdd edge", {grey}]',
        "  }",
        "  t0 -> t1 [style=dashed]",
        "  t0 -> t2",
        "}",
    ]


def test_a_string_of_dot_ends_where_it_should(shop: Path, otto: Otto) -> None:  # noqa: ARG001
    string = re.compile(r'"(?:[^"\\]|\\.)*"')
    bare = string.sub("", otto("graph", "--format", "dot").stdout)
    assert '"' not in bare
    assert bare.count("{") == bare.count("}") == 4
