"""The store of the journal: how it comes to be, what becomes of older ones, and the numbers it gives."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import otto_core.store
from otto_core import events as ev
from otto_core.errors import RepositoryUnusable
from otto_core.journal import Appended, Journal, Outdated
from otto_core.model import Outcome, TaskStatus
from otto_core.state import Run
from otto_core.store import STORE_VERSION
from tests.otto_core.plans import a_plan, a_task
from tests.otto_core.simulation import begin
from tests.otto_core.test_mounts import mounted

VERSION_1 = Path(__file__).with_name("stores") / "v1.sql"
"""A store of version 1 with every event there was; its runs: over, cut off, and left by its driver."""

OVER, CUT_OFF, LEFT = "r-20261120-aaaa", "r-20261121-bbbb", "r-20261121-cccc"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "otto" / "otto.db"


@pytest.fixture
def version_1(store: Path) -> Path:
    """Give a store as the Otto of version 1 left it."""
    store.parent.mkdir()
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(VERSION_1.read_text())
    return store


def runs(journal: Journal) -> dict[str, Run]:
    return {name: journal.load(name) for name in journal.run_ids()}


def bodies(store: Path) -> list[tuple[int, str, str, str, str]]:
    with closing(sqlite3.connect(store)) as db:
        return db.execute("SELECT seq, run_id, at, type, body FROM events ORDER BY seq").fetchall()


# --- making


def test_a_store_that_was_cut_off_while_it_was_made_is_made_anew(store: Path) -> None:
    store.parent.mkdir()
    half = store.with_name("otto.db.new")
    with closing(sqlite3.connect(half)) as db:
        db.execute("CREATE TABLE events (seq INTEGER)")
    Journal.open(store).close()
    with Journal.open(store) as journal:
        assert journal.version == STORE_VERSION
        assert journal.run_ids() == []
    assert not half.exists()


def test_a_store_is_complete_in_one_file_before_it_gets_its_name(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its content had yet to be copied from a log, a disk that fails just then would not be noticed."""
    without_log = b"\x01\x01"  # the read and write versions of SQLite's file format
    begun: list[bytes] = []
    commit = otto_core.store.transaction

    @contextmanager
    def looking(db: sqlite3.Connection) -> Iterator[None]:
        with commit(db):
            yield
        begun.append(store.with_name("otto.db.new").read_bytes()[18:20])

    monkeypatch.setattr(otto_core.store, "transaction", looking)
    Journal.open(store).close()
    assert begun == [without_log]
    assert store.read_bytes()[18:20] == b"\x02\x02", "the log comes when all is there"


@pytest.mark.parametrize("content", [b"", b"\0" * 4096], ids=["empty", "zeroes"])
def test_a_file_of_its_name_that_is_no_store_is_refused_and_left(store: Path, content: bytes) -> None:
    store.parent.mkdir()
    store.write_bytes(content)
    for opening in (Journal.open, Journal.read):
        with pytest.raises(RepositoryUnusable, match="damaged") as refused:
            opening(store)
        assert "move it away" in refused.value.hint
    assert store.read_bytes() == content


def test_nothing_is_begun_beside_the_log_of_a_store_that_is_gone(store: Path) -> None:
    journal = Journal.open(store)
    journal.append(begin_in(journal), [ev.BranchWithheld(branch="b", why="w")])
    log = store.with_name("otto.db-wal")
    kept = log.read_bytes()
    journal.close()
    store.unlink()
    log.write_bytes(kept)
    for opening in (Journal.open, Journal.read):
        with pytest.raises(RepositoryUnusable, match="it is gone, but its log"):
            opening(store)
    assert log.read_bytes() == kept


def test_a_store_on_a_network_file_system_is_not_made(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otto_core.mounts.MOUNTS", mounted(tmp_path, "nfs4"))
    with pytest.raises(RepositoryUnusable, match="network file system"):
        Journal.open(store)
    assert not store.parent.exists()


def test_a_store_that_another_process_does_not_let_go_of_is_not_called_damaged(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otto_core.store.LOCK_WAIT_S", 0.01)
    with Journal.open(store) as journal, closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RepositoryUnusable, match="in use by another process") as refused:
            begin_in(journal)
        assert "do this again" in refused.value.hint
        other.execute("ROLLBACK")
        assert begin_in(journal).seq == 2


# --- versions


def test_r_g7_a_store_of_version_1_is_read_as_it_is(version_1: Path) -> None:
    before = version_1.read_bytes()
    journal = Journal.read(version_1)
    assert journal is not None
    with journal:
        found = runs(journal)
        assert journal.version == 1
        assert journal.unfinished() == [CUT_OFF, LEFT]
        assert journal.undelivered() == [CUT_OFF]
    assert version_1.read_bytes() == before
    assert {name: run.outcome for name, run in found.items()} == {
        OVER: Outcome.PARTIAL,
        CUT_OFF: Outcome.BUDGET,
        LEFT: Outcome.RUNNING,
    }
    assert {name: task.status for name, task in found[OVER].tasks.items()} == {
        **dict.fromkeys(("models", "routes", "accounts", "billing"), TaskStatus.LANDED),
        **dict.fromkeys(("coupons", "changelog"), TaskStatus.FAILED),
    }
    assert found[CUT_OFF].tasks["orders"].interrupted == 1
    assert found[LEFT].landing == "late"
    assert all(run.start.settings.durability == "full" for run in found.values())


def test_r_g7_a_store_of_version_1_is_brought_up_with_the_same_runs(version_1: Path) -> None:
    reading = Journal.read(version_1)
    assert reading is not None
    with reading:
        expected = runs(reading)
    rows = bodies(version_1)
    with Journal.open(version_1) as journal:
        assert journal.version == STORE_VERSION
        assert runs(journal) == expected
        assert journal.unfinished() == [CUT_OFF, LEFT]
        assert journal.undelivered() == [CUT_OFF]
        assert journal.quick_check() == []
        after = journal.append(expected[LEFT], [ev.LandingLost(task="late", attempt=1)])
        assert isinstance(after, Appended)
        assert after.run.seq == rows[-1][0] + 1, "I11: numbers go on"
    assert bodies(version_1)[:-1] == rows


def test_r_g7_a_copy_of_the_older_store_stays_beside_it(version_1: Path) -> None:
    rows = bodies(version_1)
    Journal.open(version_1).close()
    kept = version_1.with_name("otto.db.v1")
    assert sorted(path.name for path in version_1.parent.iterdir()) == ["otto.db", "otto.db.v1"]
    assert bodies(kept) == rows
    reading = Journal.read(kept)
    assert reading is not None
    with reading:
        assert reading.version == 1


def test_r_g7_a_migration_that_is_cut_off_leaves_the_older_store(
    version_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bodies(version_1)
    monkeypatch.setattr("otto_core.store.sum_of", _cut)
    with pytest.raises(KeyboardInterrupt):
        Journal.open(version_1)
    monkeypatch.undo()
    assert bodies(version_1) == rows
    with Journal.open(version_1) as journal:
        assert journal.version == STORE_VERSION
        assert len(runs(journal)) == 3
    assert bodies(version_1) == rows


def _cut(*_: object) -> bytes:
    raise KeyboardInterrupt


KILLED = """
import os, signal, sys
from pathlib import Path
from otto_core import store
point, calls = sys.argv[2], int(sys.argv[3])
whole = getattr(store, point)
def dying(*args):
    global calls
    calls -= 1
    if not calls:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*args)
setattr(store, point, dying)
store.open_store(Path(sys.argv[1]), "full")
"""
POINTS = [("_publish", 1), ("_sync", 1), ("_sync", 2)]


def kill_at(store: Path, point: str, call: int) -> None:
    """Open a store in a process that is killed at one call of a step."""
    argv = [sys.executable, "-c", KILLED, str(store), point, str(call)]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("point", "call"), [*POINTS, ("sum_of", 1), ("sum_of", 40)])
def test_r_g7_a_migration_that_is_killed_is_made_by_the_next_one(
    version_1: Path, point: str, call: int
) -> None:
    reading = Journal.read(version_1)
    assert reading is not None
    with reading:
        expected = runs(reading)
    kill_at(version_1, point, call)
    with Journal.open(version_1) as journal:
        assert journal.version == STORE_VERSION
        assert runs(journal) == expected
        assert journal.quick_check() == []
    kept = Journal.read(version_1.with_name("otto.db.v1"))
    assert kept is not None
    with kept:
        assert runs(kept) == expected


@pytest.mark.parametrize(("point", "call"), POINTS)
def test_a_store_whose_maker_is_killed_is_made_by_the_next_one(store: Path, point: str, call: int) -> None:
    kill_at(store, point, call)
    with Journal.open(store) as journal:
        assert journal.load(begin_in(journal).id).revision == 1
    assert [path.name for path in store.parent.iterdir()] == ["otto.db"]


def test_r_g7_an_older_otto_that_has_the_store_open_cannot_write_what_would_be_misread(
    version_1: Path,
) -> None:
    with closing(sqlite3.connect(version_1, isolation_level=None)) as older:
        older.execute("SELECT * FROM events").fetchall()
        Journal.open(version_1).close()
        with pytest.raises(sqlite3.IntegrityError, match="sum"):
            older.execute("INSERT INTO events (run_id, at, type, body) VALUES ('r', '', 'shown', '{}')")
    with Journal.open(version_1) as journal:
        assert len(runs(journal)) == 3


def test_r_g7_a_reader_goes_on_while_the_store_is_brought_up(version_1: Path) -> None:
    reading = Journal.read(version_1)
    assert reading is not None
    with reading:
        before = reading.load(LEFT)
        with Journal.open(version_1) as journal:
            journal.append(before, [ev.LandingLost(task="late", attempt=1)])
            assert reading.refresh(before) == journal.load(LEFT)


@pytest.mark.parametrize("version", [0, -1])
def test_r_g7_a_store_older_than_any_that_is_known_is_refused_with_what_to_do(
    version_1: Path, version: int
) -> None:
    with closing(sqlite3.connect(version_1)) as db:
        db.execute(f"PRAGMA user_version={version}")
    for opening in (Journal.open, Journal.read):
        with pytest.raises(
            RepositoryUnusable, match=f"it has version {version}; this Otto reads 1"
        ) as refused:
            opening(version_1)
        assert "mv " in refused.value.hint


def test_r_g7_a_damaged_store_is_not_brought_up(version_1: Path) -> None:
    with closing(sqlite3.connect(version_1)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    content = bytearray(version_1.read_bytes())
    content[4096:4104] = b"\xff" * 8  # the head of the page after the schema
    version_1.write_bytes(content)
    with pytest.raises(RepositoryUnusable, match="damaged"):
        Journal.open(version_1)
    assert not version_1.with_name("otto.db.v1").exists()


def test_a_delivery_that_version_1_began_may_have_written(version_1: Path) -> None:
    with Journal.open(version_1) as journal:
        assert journal.load(CUT_OFF).delivery_writes, "it does not say that it would mark the moment"
        run = begin_in(journal)
        before, after = "1" * 40, "2" * 40
        started = ev.DeliveryStarted(
            target="refs/heads/main", before=before, after=after, result=after, marks_writing=True
        )
        outcome = journal.append(run, [started])
        assert not outcome.run.delivery_writes
        outcome = journal.append(outcome.run, [ev.DeliveryWriting(target="refs/heads/main")])
        assert outcome.run.delivery_writes


# --- numbers


def begin_in(journal: Journal, run_id: str = "r-20261122-test") -> Run:
    run = begin(a_plan(a_task("a"), a_task("b")))
    stored = run.stored[0]
    first = ev.PlanStored(revision=1, plan_id=stored.plan_id, plan=stored.plan)
    outcome = journal.append(Run(run_id), [run.start, first])
    assert isinstance(outcome, Appended)
    return outcome.run


def next_plan(run: Run) -> ev.PlanStored:
    stored = run.stored[0]
    return ev.PlanStored(revision=run.revision + 1, plan_id=stored.plan_id, plan=stored.plan)


def test_r_g5_revisions_grow_by_one_over_every_opening_of_the_store(store: Path) -> None:
    with Journal.open(store) as journal:
        run_id = begin_in(journal).id
    for expected in (2, 3, 4):
        with Journal.open(store) as journal:
            run = journal.load(run_id)
            assert journal.append(run, [next_plan(run)]).run.revision == expected
    with Journal.open(store) as journal:
        assert [plan.revision for plan in journal.load(run_id).stored] == [1, 2, 3, 4]


def test_r_g5_of_two_who_take_the_same_revision_one_is_told_and_takes_the_next(store: Path) -> None:
    with Journal.open(store) as one, Journal.open(store) as other:
        run = begin_in(one)
        assert isinstance(one.append(run, [next_plan(run)]), Appended)
        match other.append(run, [next_plan(run)]):
            case Outdated(head, tasks):
                assert (head.revision, tasks) == (2, ())
            case outcome:
                pytest.fail(f"{outcome}")
        assert other.append(head, [next_plan(head)]).run.revision == 3
        assert [plan.revision for plan in one.load(run.id).stored] == [1, 2, 3]


def test_r_g5_a_store_from_before_goes_on_above_what_it_contains(version_1: Path) -> None:
    with Journal.open(version_1) as journal:
        for run_id, highest in ((OVER, 1), (CUT_OFF, 2), (LEFT, 1)):
            run = journal.load(run_id)
            assert run.revision == highest
            assert journal.append(run, [next_plan(run)]).run.revision == highest + 1


def test_a_name_that_is_taken_is_not_begun_again(store: Path) -> None:
    with Journal.open(store) as journal:
        run = begin_in(journal)
        stored = run.stored[0]
        again = ev.PlanStored(revision=1, plan_id=stored.plan_id, plan=stored.plan)
        assert isinstance(journal.append(Run(run.id), [run.start, again]), Outdated)


APPENDERS = """
import os, sys
from pathlib import Path
import otto_core.store
from otto_core import events as ev
from otto_core.journal import Appended, Journal
otto_core.store.LOCK_WAIT_S = 600.0  # SQLite lets nobody queue: on a busy machine one may lose for long
store, writers, each = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
begin, go = os.pipe()
for writer in range(writers):
    if os.fork() == 0:
        os.close(go)
        os.read(begin, 1)  # until the parent has made them all
        with Journal.open(store) as journal:
            run = journal.load("r-20261122-test")
            for n in range(each):
                match journal.append(run, [ev.BranchWithheld(branch=str(writer), why=str(n))]):
                    case Appended(run): pass
                    case other: os._exit(1)
        os._exit(0)
os.close(go)
sys.exit(sum(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(writers)))
"""


def test_i11_32_processes_that_append_to_one_journal_lose_nothing(store: Path) -> None:
    with Journal.open(store) as journal:
        run = begin_in(journal)
    subprocess.run([sys.executable, "-c", APPENDERS, str(store), "32", "8"], check=True)
    with Journal.open(store) as journal:
        stored = list(journal.events(run.id, after=run.seq))
        assert journal.quick_check() == []
    assert [one.seq for one in stored] == list(range(run.seq + 1, run.seq + 1 + 32 * 8)), "unique, no gap"
    said = [
        (one.event.branch, int(one.event.why)) for one in stored if isinstance(one.event, ev.BranchWithheld)
    ]
    for writer in range(32):
        assert [n for branch, n in said if branch == str(writer)] == list(range(8)), "each in its own order"


def test_i11_32_processes_that_open_a_new_store_at_once_make_one(store: Path) -> None:
    opener = (
        "import os, sys; from pathlib import Path; from otto_core.journal import Journal\n"
        "import otto_core.store; otto_core.store.LOCK_WAIT_S = 600.0\n"
        "for _ in range(32):\n"
        "    if os.fork() == 0:\n"
        "        Journal.open(Path(sys.argv[1])).close(); os._exit(0)\n"
        "sys.exit(sum(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(32)))\n"
    )
    subprocess.run([sys.executable, "-c", opener, str(store)], check=True)
    with Journal.open(store) as journal:
        assert journal.version == STORE_VERSION
    assert [path.name for path in store.parent.iterdir()] == ["otto.db"]
