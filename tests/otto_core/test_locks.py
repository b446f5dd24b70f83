"""The lock table between real processes: taken whole, held while the holder lives and no longer."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from zlib import crc32

import pytest

from otto_core.errors import ExitCode, Locked, RepositoryUnusable
from otto_core.lockfile import COPIES, GivenUp, read
from otto_core.locks import LockTable, contentions, holders
from otto_core.runlock import hold
from otto_core.writesets import WriteSet, refusal

SRC = WriteSet(("src/**",))
API = WriteSet(("docs/api.md", "src/api/**"))
APART = WriteSet(("docs/**",))

DRIVER = """
import json, sys
from pathlib import Path
from otto_core.locks import LockTable
from otto_core.runlock import hold
from otto_core.writesets import WriteSet
store, run = Path(sys.argv[1]), sys.argv[2]
with hold(store, run):
    locks = LockTable(store, run)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, task, *patterns = line.split()
        if verb == "take":
            print(locks.acquire(task, WriteSet(tuple(patterns))), flush=True)
        else:
            locks.release(task)
            print("released", flush=True)
"""

GUARDIAN = """
import sys, time
import portalocker
with portalocker.Lock(sys.argv[1], mode="a+", timeout=0) as file:
    file.write(str(__import__("os").getpid()))
    file.flush()
    print("held", flush=True)
    time.sleep(600)
"""


class Driver:
    """Another process that drives a run and takes locks when told."""

    def __init__(self, store: Path, run: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(store), run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    @property
    def pid(self) -> int:
        return self.process.pid

    def take(self, task: str, *patterns: str) -> str:
        return self._tell(f"take {task} {' '.join(patterns)}")

    def release(self, task: str) -> str:
        return self._tell(f"release {task}")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _tell(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "otto").mkdir()
    return tmp_path / "otto"


@pytest.fixture
def other(store: Path) -> Iterator[Driver]:
    """Give a driver in a process of its own, which holds `src/**` for its task `theirs`."""
    driver = Driver(store, "r-other")
    try:
        assert driver.take("theirs", "src/**") == "None"
        yield driver
    finally:
        driver.kill()


@pytest.fixture
def mine(store: Path) -> Iterator[LockTable]:
    with hold(store, "r-mine"):
        yield LockTable(store, "r-mine")


def listed(store: Path) -> list[str]:
    """Name the tasks in the table, dead or alive."""
    table = read(store / "locks")
    return [holder.task for holder in table.entries] if table else []


def copies(store: Path) -> list[Path]:
    return [store / "locks" / name for name in COPIES]


def names(store: Path) -> list[str]:
    return [f"{holder.run} {holder.task}" for holder in holders(store)]


def test_r_g3_contention_says_who_holds_what_and_takes_nothing(
    store: Path, other: Driver, mine: LockTable
) -> None:
    found = mine.acquire("mine", API)
    assert found is not None
    assert (found.task, found.pattern, found.holder_pattern) == ("mine", "src/api/**", "src/**")
    assert (found.holder.run, found.holder.task, found.holder.who.pid) == ("r-other", "theirs", other.pid)
    assert str(found).startswith(f"'theirs' of r-other ({other.pid}@")
    assert not mine.holds("mine", API)
    assert names(store) == ["r-other theirs"]


def test_g2_the_whole_write_set_is_held_until_it_is_released(
    store: Path, other: Driver, mine: LockTable
) -> None:
    assert mine.acquire("mine", APART) is None
    assert mine.holds("mine", APART)
    assert not mine.holds("mine", SRC)
    assert "'mine' of r-mine" in other.take("second", "README.md", "docs/a.md")
    assert other.take("third", "README.md") == "None", "nothing of a refused set is kept"
    mine.release("mine")
    assert not mine.holds("mine", APART)
    assert other.take("second", "docs/a.md") == "None"
    assert names(store) == ["r-other theirs", "r-other third", "r-other second"]


def test_a_registry_is_shared_by_those_who_extend_it_and_by_nobody_else(store: Path, mine: LockTable) -> None:
    assert mine.acquire("mine", WriteSet(("a",), ("routes.py",))) is None
    with hold(store, "r-2"):
        second = LockTable(store, "r-2")
        assert second.acquire("extends it too", WriteSet(("b",), ("routes.py",))) is None
        assert second.acquire("owns it", WriteSet(("routes.py",))) is not None


def test_tasks_of_one_run_are_not_in_each_others_way(mine: LockTable) -> None:
    assert mine.acquire("one", SRC) is None
    assert mine.acquire("two", API) is None


def test_g2_the_kernel_frees_the_locks_of_a_killed_driver(
    store: Path, other: Driver, mine: LockTable
) -> None:
    other.kill()
    assert listed(store) == ["theirs"]
    assert holders(store) == ()
    assert mine.acquire("mine", SRC) is None
    assert names(store) == ["r-mine mine"]
    assert listed(store) == ["mine"], "what is dead is dropped"


def test_a_stopped_driver_lives_and_holds(other: Driver, mine: LockTable) -> None:
    os.kill(other.pid, signal.SIGSTOP)
    assert mine.acquire("mine", SRC) is not None


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
@pytest.mark.parametrize("file", ["runs/r-other.lock", "locks/r-other.driver"])
def test_where_a_lock_file_of_a_run_was_deleted_its_driver_still_holds(
    store: Path, other: Driver, mine: LockTable, file: str, *, replaced: bool
) -> None:
    (store / file).unlink()
    if replaced:
        (store / file).write_text("")
    assert mine.acquire("mine", SRC) is not None
    other.kill()
    assert mine.acquire("mine", SRC) is None


def whole(body: bytes) -> bytes:
    """Give a copy whose checksum is right."""
    return b"9 %d\n%b" % (crc32(body), body)


def test_a_writer_that_is_killed_half_way_leaves_the_table_as_it_was(store: Path, mine: LockTable) -> None:
    assert mine.acquire("one", SRC) is None
    assert mine.acquire("two", APART) is None
    newer = copies(store)[0]
    content = newer.read_bytes()
    for end in range(len(content)):
        newer.write_bytes(content[:end])
        assert listed(store) == ["one"]
    newer.write_bytes(content)
    assert listed(store) == ["one", "two"]


@pytest.mark.parametrize(
    "damage",
    [None, b"", b"[]", b"9 0\n[]", b"9 223132457\n[]x", b"9 1\n", b"\xff\x00\n", whole(b"[7]"), whole(b"{")],
    ids=repr,
)
def test_a_deleted_or_damaged_table_heals_with_the_next_change_of_each_driver(
    store: Path, other: Driver, mine: LockTable, damage: bytes | None
) -> None:
    assert mine.acquire("mine", APART) is None
    for copy in copies(store):
        if damage is None:
            copy.unlink(missing_ok=True)
        else:
            copy.write_bytes(damage)
    assert holders(store) == ()
    assert mine.acquire("more", WriteSet(("more",))) is None
    assert names(store) == ["r-mine mine", "r-mine more"]
    assert other.release("nothing") == "released"
    assert sorted(names(store)) == ["r-mine mine", "r-mine more", "r-other theirs"]


def test_a_deleted_directory_of_locks_heals_too(store: Path, mine: LockTable) -> None:
    assert mine.acquire("mine", SRC) is None
    (store / "locks/guard").unlink()
    assert mine.acquire("more", APART) is None
    for file in (store / "locks").iterdir():
        file.unlink()
    (store / "locks").rmdir()
    mine.release("more")
    assert names(store) == ["r-mine mine"]


def test_a_driver_that_starts_clears_what_an_earlier_one_of_its_run_left(store: Path, other: Driver) -> None:
    other.kill()
    with hold(store, "r-other"):
        assert names(store) == ["r-other theirs"], "the lock of the run is held again"
        LockTable(store, "r-other").clear()
        assert holders(store) == ()


def test_looking_writes_nothing(store: Path, other: Driver) -> None:
    def files() -> dict[str, tuple[bytes, int]]:
        found = (path for path in store.rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}

    assert other.take("more", "more") == "None"
    before = files()
    assert names(store) == ["r-other theirs", "r-other more"]
    found = contentions(store, {"mine": API, "apart": APART})
    assert list(found) == ["mine"]
    assert contentions(store, {"mine": API}, run="r-other") == {}
    assert files() == before


def test_a_table_that_cannot_be_used_is_told_with_its_name_and_a_way_out(
    store: Path, mine: LockTable
) -> None:
    copies(store)[1].mkdir(parents=True)
    for use in (lambda: holders(store), lambda: mine.acquire("mine", SRC)):
        with pytest.raises(RepositoryUnusable, match="cannot be used") as refused:
            use()
        assert "--no-locks" in refused.value.hint
    assert not mine.holds("mine", SRC)


def test_looking_at_a_repository_without_locks_finds_none(tmp_path: Path) -> None:
    assert holders(tmp_path / "otto") == ()
    assert not (tmp_path / "otto").exists()


def test_a_refusal_names_the_task_the_holder_and_what_to_type(store: Path, other: Driver) -> None:
    error = refusal(contentions(store, {"mine": API, "also": SRC}).values())
    assert "'mine' has to wait" in error.message
    assert f"{other.pid}@" in error.message
    assert "1 more" in error.message
    assert "--wait" in error.hint
    assert "r-other" in error.hint
    assert error.exit_code is ExitCode.LOCKED


@pytest.fixture
def stopped_guardian(store: Path) -> Iterator[int]:
    """Stop a process while it holds the guard of the table; gives its id."""
    guard = store / "locks" / "guard"
    guard.parent.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", GUARDIAN, str(guard)], stdout=subprocess.PIPE) as guardian:
        assert guardian.stdout is not None
        assert guardian.stdout.readline() == b"held\n"
        guardian.send_signal(signal.SIGSTOP)
        yield guardian.pid
        guardian.kill()


def test_a_stopped_holder_of_the_guard_is_named_and_hangs_nobody(store: Path, stopped_guardian: int) -> None:
    with hold(store, "r-mine"):
        locks = LockTable(store, "r-mine", patience_s=0.05)
        with pytest.raises(Locked, match=f"by process {stopped_guardian}") as refused:
            locks.acquire("mine", SRC)
        assert f"kill -CONT {stopped_guardian}" in refused.value.hint
        assert not locks.holds("mine", SRC)
        locks.release("mine")


def test_whoever_waits_for_the_guard_can_be_asked_to_stop(store: Path, stopped_guardian: int) -> None:
    assert stopped_guardian
    with hold(store, "r-mine"), pytest.raises(GivenUp):
        LockTable(store, "r-mine", patience_s=600).acquire("mine", SRC, given_up=lambda: True)


def test_of_many_at_once_exactly_one_gets_the_lock(store: Path) -> None:
    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(hold(store, f"r-{number}"))
        tables = [LockTable(store, f"r-{number}") for number in range(8)]
        got: list[bool] = []
        threads = [
            threading.Thread(target=lambda t=t: got.append(t.acquire("task", SRC) is None)) for t in tables
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(got) == [False] * 7 + [True]
        assert len(holders(store)) == 1
