"""The journal: order, all or nothing, optimistic concurrency, and what it refuses to open."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_core import events as ev
from otto_core.decisions import Refused, retry, skip
from otto_core.errors import IllegalTransition, RepositoryUnusable
from otto_core.journal import STORE_VERSION, Appended, Journal, Outdated
from otto_core.model import GitPath, Outcome, Reason, ReasonKind
from otto_core.state import Run
from tests.otto_core.plans import a_plan, a_task
from tests.otto_core.simulation import PERSON, Simulation, a_reason, begin


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "otto" / "otto.db"


def started() -> list[ev.Event]:
    run = begin(a_plan(a_task("a"), a_task("b")))
    stored = run.stored[0]
    assert run.started is not None
    return [run.started, ev.PlanStored(revision=1, plan_id=stored.plan_id, plan=stored.plan)]


def open_run(journal: Journal, run_id: str = "r-20261120-test") -> Run:
    match journal.append(Run(run_id), started()):
        case Appended(run):
            return run
        case outdated:
            pytest.fail(f"{outdated}")


def failed(task: str) -> ev.TaskFailed:
    return ev.TaskFailed(task=task, reason=a_reason(ReasonKind.AGENT_FAILED))


def test_the_fold_of_what_was_read_is_what_was_written(store: Path) -> None:
    with Journal.open(store) as journal:
        run = open_run(journal)
    with Journal.open(store) as journal:
        assert journal.load(run.id) == run


def test_a_simulated_history_survives_the_journal(store: Path) -> None:
    sim = Simulation(begin(a_plan(a_task("a"), a_task("b", "a"))))
    sim.to_the_end(lambda name: "failed" if name == "b" else "produced")
    with Journal.open(store) as journal:
        run = open_run(journal, "r-x")
        plan = sim.run.stored[0].plan
        assert plan == a_plan(a_task("a"), a_task("b", "a"))
        bodies = [ev.from_json(event.type, ev.to_json(event)) for event in sim.events]
        assert bodies == sim.events
        assert run.id == "r-x"


def test_a_writer_with_an_old_view_of_a_task_is_told_and_nothing_is_stored(store: Path) -> None:
    with Journal.open(store) as journal:
        stale = open_run(journal)
        assert isinstance(journal.append(stale, [failed("a")]), Appended)
        match journal.append(stale, [failed("b"), failed("a")]):
            case Outdated(run, tasks):
                assert tasks == ("a",)
                assert run.tasks["a"].version == 1
            case other:
                pytest.fail(f"{other}")
        assert journal.load(stale.id).tasks["b"].version == 0


def test_an_old_view_of_other_tasks_does_no_harm(store: Path) -> None:
    with Journal.open(store) as journal:
        stale = open_run(journal)
        journal.append(stale, [failed("a")])
        match journal.append(stale, [failed("b")]):
            case Appended(run):
                assert run.tasks["a"].version == run.tasks["b"].version == 1
            case other:
                pytest.fail(f"{other}")


def test_events_of_which_one_is_illegal_are_not_stored_at_all(store: Path) -> None:
    with Journal.open(store) as journal:
        run = open_run(journal)
        with pytest.raises(IllegalTransition):
            journal.append(run, [failed("a"), failed("a")])
        assert [stored.event.type for stored in journal.events(run.id)] == ["run_started", "plan_stored"]
        assert isinstance(journal.append(run, [failed("a")]), Appended), "the journal is usable afterwards"


def test_r_x6_a_decision_that_does_not_fit_what_happened_meanwhile_is_made_again(store: Path) -> None:
    with Journal.open(store) as journal:
        seen = open_run(journal)
        outcome = journal.append(seen, [failed("a"), failed("b")])
        assert isinstance(outcome, Appended)
        over = journal.append(outcome.run, [ev.RunFinished(outcome=Outcome.FAILED)]).run
        late = journal.append(seen, [ev.RunCancelled(by=PERSON)])
        assert late == Outdated(over), "the person is told that the run is over, instead of a bug"
        with pytest.raises(IllegalTransition, match="the run is over"):
            journal.append(over, [ev.RunCancelled(by=PERSON)])


def test_r_x6_a_retry_beside_the_failure_of_what_the_task_stands_on_is_decided_again(store: Path) -> None:
    begun = begin(a_plan(a_task("a"), a_task("b", "a")))
    with Journal.open(store) as journal:
        plan = ev.PlanStored(revision=1, plan_id=begun.stored[0].plan_id, plan=begun.plan)
        run = journal.append(Run(begun.id), [begun.start, plan]).run
        seen = journal.append(run, skip(run, "b", PERSON)).run  # type: ignore[arg-type]
        moved = journal.append(seen, [failed("a")]).run
        again = retry(seen, "b", PERSON)
        assert not isinstance(again, Refused)
        assert journal.append(seen, again) == Outdated(moved)
        assert isinstance(retry(moved, "b", PERSON), Refused)


APPENDER = """
import sys
from pathlib import Path
import otto_core.store
from otto_core import events as ev
from otto_core.journal import Appended, Journal
otto_core.store.LOCK_WAIT_S = 600.0  # SQLite lets nobody queue: on a busy machine one may lose for long
with Journal.open(Path(sys.argv[1])) as journal:
    run = journal.load("r-20261120-test")
    for n in range(25):
        match journal.append(run, [ev.BranchWithheld(branch=sys.argv[2], why=str(n))]):
            case Appended(run): pass
            case other: raise SystemExit(str(other))
"""


def test_i11_many_writers_give_every_event_a_number_of_its_own(store: Path) -> None:
    with Journal.open(store) as journal:
        open_run(journal)
    writers = [subprocess.Popen([sys.executable, "-c", APPENDER, str(store), f"w{n}"]) for n in range(8)]
    assert [writer.wait() for writer in writers] == [0] * 8
    with Journal.open(store) as journal:
        events = list(journal.events("r-20261120-test"))
    numbers = [stored.seq for stored in events]
    assert numbers == sorted(set(numbers))
    said = [(e.event.branch, int(e.event.why)) for e in events if isinstance(e.event, ev.BranchWithheld)]
    assert len(said) == 8 * 25
    for writer in range(8):
        assert [n for branch, n in said if branch == f"w{writer}"] == list(range(25))


def test_r_g7_a_store_of_a_newer_version_is_refused_with_what_to_do(store: Path) -> None:
    Journal.open(store).close()
    with sqlite3.connect(store) as db:
        db.execute(f"PRAGMA user_version={STORE_VERSION + 1}")
    db.close()
    for opening in (Journal.open, Journal.read):
        with pytest.raises(RepositoryUnusable) as refused:
            opening(store)
        assert "newer Otto" in refused.value.hint


def test_a_file_that_is_no_store_is_refused(store: Path) -> None:
    store.parent.mkdir()
    store.write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(RepositoryUnusable):
        Journal.open(store)


def test_reading_where_there_is_no_store_makes_none(store: Path) -> None:
    assert Journal.read(store) is None
    assert not store.parent.exists()


def test_the_store_is_private_to_its_user(store: Path) -> None:
    Journal.open(store).close()
    assert store.parent.stat().st_mode & 0o077 == 0


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(min_size=1)))
def test_any_path_survives_the_journal(paths: list[GitPath]) -> None:
    event = ev.TaskFailed(task="a", reason=Reason(kind=ReasonKind.CONFLICT, message="", paths=tuple(paths)))
    assert ev.from_json(event.type, ev.to_json(event)) == event


def test_a_body_is_compact_ascii_json_in_the_order_of_the_fields() -> None:
    reason = Reason(kind=ReasonKind.CONFLICT, message="caf\xe9 \udcff", paths=(b"caf\xe9",))
    event = ev.TaskFailed(task="a", elapsed_s=0.25, reason=reason)
    stored = (
        r'{"elapsed_s":0.25,"task":"a","reason":{"kind":"conflict","message":"caf\u00e9 \udcff",'
        r'"hint":"","paths":["caf\udce9"],"evidence":null}}'
    )
    assert ev.to_json(event) == stored
    assert ev.from_json("task_failed", stored) == event
    assert ev.to_json(ev.from_json("task_failed", stored)) == stored


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        pytest.param("run_resumed", "{}", "run_resumed", id="unknown type"),
        pytest.param("landing_lost", '{"task": "a", "attempt": 1, "colour": 1}', "colour", id="unknown key"),
        pytest.param("landing_lost", '{"task": "a"}', "attempt", id="missing key"),
        pytest.param("landing_lost", '{"task": "a", "attempt": "1"}', "attempt", id="wrong type"),
        pytest.param("run_finished", '{"outcome": "splendid"}', "splendid", id="unknown outcome"),
        pytest.param(
            "task_failed",
            '{"task": "a", "reason": {"kind": "conflict", "message": "", "paths": [1]}}',
            "a path is text",
            id="path that is no text",
        ),
        pytest.param("landing_lost", "{", "cannot be read", id="no JSON"),
        pytest.param("landing_lost", "[]", "cannot be read", id="no object"),
    ],
)
def test_r_g7_a_body_that_this_version_did_not_write_is_refused(kind: str, body: str, said: str) -> None:
    with pytest.raises(RepositoryUnusable, match=said) as refused:
        ev.from_json(kind, body)
    assert "wrote it" in refused.value.hint


def test_appends_survive_a_power_cut_as_far_as_the_disk_allows(store: Path) -> None:
    with Journal.open(store) as journal:
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_run_is_unfinished_until_its_end_is_journalled(store: Path) -> None:
    with Journal.open(store) as journal:
        run = open_run(journal)
        assert journal.unfinished() == [run.id]
        for name in ("a", "b"):
            outcome = journal.append(run, [failed(name)])
            run = outcome.run
        run = journal.append(run, [ev.RunFinished(outcome=Outcome.FAILED)]).run
        assert journal.unfinished() == []
        journal.append(run, [ev.Shown(target="", target_commit=None, commit=None)])
        assert journal.unfinished() == []
