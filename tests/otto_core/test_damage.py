"""A damaged store stops Otto with what to do. It never shows, and never leads to, another state.

The store is that of a real run that is over, and of one that is under way in the write-ahead log. Bits are
flipped and files cut at many places. Whatever is then read, and whatever an append says, has to be true.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.errors import RepositoryUnusable
from otto_core.git.repository import GitRepository
from otto_core.journal import Appended, Journal, Outdated
from otto_core.state import Run
from otto_core.store import STORE
from tests.builders import RunBuilder, make_repo, task
from tests.otto_core.runs import feature, run_plan, writes

MARK = ev.Shown(target="refs/heads/test", target_commit=None, commit="appended to a damaged store")


@dataclass(frozen=True)
class Truth:
    """All that a journal says."""

    runs: tuple[Run, ...]
    unfinished: tuple[str, ...]
    undelivered: tuple[str, ...]

    @classmethod
    def of(cls, journal: Journal) -> "Truth":
        runs = tuple(journal.load(name) for name in journal.run_ids())
        return cls(runs, tuple(journal.unfinished()), tuple(journal.undelivered()))

    @classmethod
    def at(cls, store: Path) -> "Truth":
        journal = Journal.read(store)
        assert journal is not None
        with journal:
            return cls.of(journal)


@dataclass
class Sample:
    """The files of a store, and what may be read of them: the last truth, and those before it in the log."""

    content: bytes
    log: bytes = b""
    truths: list[Truth] = field(default_factory=list)


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Give the store of a real run that is over, with what it stands beside: a run left by its driver."""
    repo = make_repo(tmp_path_factory.mktemp("over"))
    left = RunBuilder(repo, task("users"), run_id="r-20261120-left")
    left.start("users")
    left.journal.close()
    run_plan(
        repo, writes("one"), feature("two", "exit 1", max_attempts=2), verify={"each": ["test -e README.md"]}
    )
    store = repo / ".git/otto" / STORE
    return Sample(store.read_bytes(), truths=[Truth.at(store)])


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Give the store of a second real run: the first one is in the store, all of the second in its log."""
    repo = make_repo(tmp_path_factory.mktemp("under-way"))
    run_plan(repo, writes("zero"))
    store = GitRepository.discover(repo).store / STORE
    sample = Sample(store.read_bytes(), truths=[Truth.at(store)])
    copy = tmp_path_factory.mktemp("copy") / STORE

    append = Journal.append

    def append_and_look(journal: Journal, run: Run, events: Sequence[ev.Event]) -> Appended | Outdated:
        outcome = append(journal, run, events)
        sample.content, sample.log = store.read_bytes(), log_of(store).read_bytes()
        put(sample, copy)
        sample.truths.append(Truth.at(copy))
        return outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", append_and_look)
        run_plan(repo, writes("one"))
    assert len(sample.truths) > 5, "each append is a state of its own"
    return sample


def log_of(store: Path) -> Path:
    return store.with_name(f"{STORE}-wal")


def put(sample: Sample, store: Path) -> None:
    """Have exactly the files of a sample in a directory."""
    shutil.rmtree(store.parent, ignore_errors=True)
    store.parent.mkdir()
    store.write_bytes(sample.content)
    if sample.log:
        log_of(store).write_bytes(sample.log)


def require_true(sample: Sample, store: Path, allowed: Sequence[Truth], where: str) -> tuple[bool, bool]:
    """Read a damaged store, then append to it: each gives the truth or refuses; tells which of them did."""
    put(sample, store)
    read = _read_truly(store, allowed, where)
    put(sample, store)
    return read, _append_truly(store, allowed, where)


def _read_truly(store: Path, allowed: Sequence[Truth], where: str) -> bool:
    try:
        journal = Journal.read(store)
        assert journal is not None, where
        with journal:
            assert Truth.of(journal) in allowed, f"another state: {where}"
    except RepositoryUnusable as refusal:
        require_words(refusal)
        return False
    return True


def _append_truly(store: Path, allowed: Sequence[Truth], where: str) -> bool:
    try:
        with Journal.open(store) as journal:
            before = Truth.of(journal)
            assert before in allowed, f"another state: {where}"
            assert isinstance(journal.append(before.runs[-1], [MARK]), Appended)
    except RepositoryUnusable as refusal:
        require_words(refusal)
        return False
    after = Truth.at(store)
    assert after.runs[:-1] == before.runs[:-1], f"an append changed another run: {where}"
    assert (after.unfinished, after.undelivered) == (before.unfinished, before.undelivered), where
    assert after.runs[-1].shown == MARK, where
    assert after.runs[-1].stored == before.runs[-1].stored, where
    assert after.runs[-1].tasks == before.runs[-1].tasks, where
    return True


def require_words(refusal: RepositoryUnusable) -> None:
    """Make sure that a refusal says what to do."""
    if "newer Otto" not in refusal.hint:
        assert "is damaged" in refusal.message
        assert "`otto doctor`" in refusal.hint
        assert "in Git" in refusal.hint
        assert "mv " in refusal.hint


def flips(content: bytes, step: int) -> Iterator[tuple[str, bytes]]:
    """Flip one bit after the other: each of the file's head, then one every `step` bytes."""
    head = [(offset, bit) for offset in range(100) for bit in range(8)][:: max(1, step // 29)]
    for offset, bit in [*head, *((n, n // step % 8) for n in range(100, len(content), step))]:
        damaged = bytearray(content)
        damaged[offset] ^= 1 << bit
        yield f"bit {bit} of byte {offset}", bytes(damaged)


def cuts(content: bytes, step: int) -> Iterator[tuple[str, bytes]]:
    """Cut a file at its beginning, within its head, at and beside every page, and every `step` bytes."""
    pages = (n + beside for n in range(0, len(content), 4096) for beside in (-1, 0, 1))
    for length in sorted({0, 1, 16, 99, 100, *pages, *range(0, len(content), step)}):
        if 0 <= length < len(content):
            yield f"cut to {length} bytes", content[:length]


STEPS = [pytest.param(251, id="sampled"), pytest.param(5, id="dense", marks=pytest.mark.slow)]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("damage", [flips, cuts])
def test_r_g7_a_damaged_store_gives_the_truth_or_stops(
    over: Sample,
    tmp_path: Path,
    damage: Callable[[bytes, int], Iterator[tuple[str, bytes]]],
    step: int,
) -> None:
    refused = 0
    for where, content in damage(over.content, step):
        read, _ = require_true(Sample(content), tmp_path / "otto" / STORE, over.truths, where)
        refused += not read
    assert refused, "most of a store matters"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("damage", [flips, cuts])
def test_r_g7_a_damaged_log_gives_what_was_true_once_or_stops(
    under_way: Sample,
    tmp_path: Path,
    damage: Callable[[bytes, int], Iterator[tuple[str, bytes]]],
    step: int,
) -> None:
    for where, log in damage(under_way.log, step * 4):
        sample = Sample(under_way.content, log)
        require_true(sample, tmp_path / "otto" / STORE, under_way.truths, where)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("damage", [flips, cuts])
def test_r_g7_a_store_that_is_damaged_below_its_log_gives_the_truth_or_stops(
    under_way: Sample,
    tmp_path: Path,
    damage: Callable[[bytes, int], Iterator[tuple[str, bytes]]],
    step: int,
) -> None:
    for where, content in damage(under_way.content, step):
        sample = Sample(content, under_way.log)
        require_true(sample, tmp_path / "otto" / STORE, under_way.truths[-1:], where)


def test_r_g7_a_log_of_an_earlier_moment_gives_what_was_true_once_or_stops(
    under_way: Sample, tmp_path: Path
) -> None:
    """The pages of the log are in the store already, and the log is cut after that."""
    store = tmp_path / "otto" / STORE
    put(under_way, store)
    Journal.open(store).close()  # the last one to close the store brings the log into it
    after = store.read_bytes()
    for where, log in cuts(under_way.log, 997):
        require_true(Sample(after, log), store, under_way.truths, where)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param("UPDATE events SET body = replace(body, 'one.txt', 'two.txt')", "as it was", id="body"),
        pytest.param("UPDATE events SET type = 'attempt_unchanged' WHERE seq = 6", "as it was", id="type"),
        pytest.param("UPDATE events SET at = '2026' WHERE seq = 5", "as it was", id="time"),
        pytest.param("DELETE FROM events WHERE seq = 5", "as it was", id="a row is lost"),
        pytest.param("UPDATE events SET seq = 1000 WHERE seq = 5", "as it was", id="a row is moved"),
        pytest.param("DELETE FROM events WHERE seq > 8", "events", id="the last rows are lost"),
        pytest.param("DELETE FROM events", "runs", id="all rows are lost"),
        pytest.param("DELETE FROM heads", "runs", id="the ends are lost"),
        pytest.param("DROP TABLE heads", "no such table", id="the table of ends is lost"),
        pytest.param("DELETE FROM events WHERE run_id = 'r-20261120-left'", "runs", id="a run is lost"),
        pytest.param("UPDATE events SET sum = x'' WHERE seq = 6", "as it was", id="sum"),
        pytest.param("UPDATE events SET sum = 'text' WHERE seq > 5", "as it was", id="sums that are text"),
        pytest.param("UPDATE events SET body = CAST(body AS BLOB)", "as it was", id="bodies that are bytes"),
        pytest.param("UPDATE events SET body = 1 WHERE seq = 7", "as it was", id="a body that is a number"),
    ],
)
def test_r_g7_rows_that_are_not_as_they_were_written_are_found(
    over: Sample, tmp_path: Path, change: str, told: str
) -> None:
    store = tmp_path / "otto" / STORE
    put(over, store)
    with closing(sqlite3.connect(store)) as db, db:
        db.execute(change)
    with pytest.raises(RepositoryUnusable, match=f"damaged: .*{told}") as refused:
        Truth.at(store)
    require_words(refused.value)
    with pytest.raises(RepositoryUnusable), Journal.open(store) as journal:
        Truth.of(journal)


def test_what_landed_is_decided_on_no_row_that_was_changed(over: Sample, tmp_path: Path) -> None:
    """A run that is over must not be taken for one that is not, nor the other way round."""
    store = tmp_path / "otto" / STORE
    put(over, store)
    with closing(sqlite3.connect(store)) as db, db:
        db.execute("UPDATE events SET type = 'run_paused' WHERE type = 'run_finished'")
    with Journal.open(store) as journal:
        for question in (journal.unfinished, journal.undelivered):
            with pytest.raises(RepositoryUnusable, match="not as it was written"):
                question()
