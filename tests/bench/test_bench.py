"""The bench at its smallest: each part runs to its end, and none believes a side that did not do its work."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import core, durability, isolation, merging, noop, peers, recovery, start
from bench.__main__ import PARTS
from bench.report import Figure, Section, page
from bench.repositories import environment, make_repository, require_landed, run, workplace
from bench.timing import Sizes, Times, in_turn, timed_process
from tests.builders import git

SMALLEST = Sizes(files=(20,), tasks=2, rounds=1)


def test_both_sides_of_the_no_op_tasks_do_the_work(tmp_path: Path) -> None:
    (figure,) = noop.measure(SMALLEST, tmp_path).figures
    assert figure.value is not None
    assert figure.value > 0
    assert figure.limit is None, "no target is judged at another size than it was set for"


def test_merges_are_those_of_git_at_every_size(tmp_path: Path) -> None:
    sizes = Sizes(files=(20, 120), tasks=2, rounds=2)
    names = [figure.name for figure in merging.measure(sizes, tmp_path).figures]
    assert names == ["change of 1 file, 20 files", "change of 1 file, 120 files", "120 files beside 20"]


def test_the_core_takes_runs_of_both_sizes_to_their_end(tmp_path: Path) -> None:
    names = [figure.name for figure in core.measure(Sizes((5,), tasks=20, rounds=1), tmp_path).figures]
    assert names == ["a task of 2", "a task of 20", "a task of 20 beside one of 2"]


def test_starts_and_memory_are_measured(tmp_path: Path) -> None:
    figures = {figure.name: figure for figure in start.measure(SMALLEST, tmp_path).figures}
    assert {"`otto --help`", "`otto status`"} <= figures.keys()
    if Path("/proc/self/status").exists():
        assert "peak memory of 2 tasks" in figures
        assert start._high_water(os.getpid()) > 10 * 1024, "a Python program takes more than 10 MB"


def test_isolation_measures_a_mode_or_names_what_is_missing(tmp_path: Path) -> None:
    section = isolation.measure(SMALLEST, tmp_path)
    assert len(section.figures) + len(section.skipped) == 2


def test_syncing_is_measured_beside_not_syncing(tmp_path: Path) -> None:
    (figure,) = durability.measure(SMALLEST, tmp_path).figures
    assert (figure.value or 0) > 0


def test_the_recovery_of_a_killed_run_is_measured(tmp_path: Path) -> None:
    (figure,) = recovery.measure(Sizes((5,), tasks=4, rounds=1), tmp_path).figures
    assert (figure.value or 0) > 0


def test_otto_does_the_graph_of_the_peers_without_them(tmp_path: Path) -> None:
    (figure,) = peers.measure(Sizes((5,), tasks=6, rounds=1), tmp_path, peers=()).figures
    assert figure.name == "6 tasks"


@pytest.mark.parametrize("tasks", [1, 2, 3, 6, 100])
def test_in_the_graph_every_task_comes_after_those_it_stands_on(tasks: int) -> None:
    made = peers.graph(tasks)
    assert list(made) == list(range(1, tasks + 1))
    assert all(before < number for number, befores in made.items() for before in befores)
    assert [number for number, befores in made.items() if not befores] == [1]


@pytest.mark.parametrize("peer", peers.PROGRAMS)
def test_every_peer_is_told_every_file_of_the_graph(peer: str, tmp_path: Path) -> None:
    peers.write_input(peer, tmp_path, {1: [], 2: [1], 3: [1]})
    (written,) = tmp_path.iterdir()
    graph = "{1: [], 2: [1], 3: [1]}"
    content = written.read_text()
    assert graph in content or content.count('input: "task-1.txt"\n') == 2
    if written.suffix == ".py":
        compile(content, written.name, "exec")


def test_the_peers_are_pinned_with_hashes_and_name_no_host() -> None:
    content = Path(peers.__file__).with_name("requirements.txt").read_text()
    pinned = re.findall(r"^(\S+)==", content, flags=re.MULTILINE)
    assert set(peers.PROGRAMS) <= set(pinned)
    assert len(re.findall(r"== *\S+.*\\\n +--hash=sha256:", content)) == len(pinned)
    assert "://" not in content


def test_a_side_that_did_not_do_its_work_is_not_believed(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        repo = make_repository(place, 3)
        with pytest.raises(RuntimeError, match="0 merges and 0 files of 1 tasks"):
            require_landed(repo, "main", 1, environment(place))


def test_a_program_that_fails_is_not_timed(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    with pytest.raises(RuntimeError, match="exited with 3"):
        run(["sh", "-c", "exit 3"], environ, cwd=tmp_path)
    with pytest.raises(RuntimeError, match="said so"):
        timed_process(["sh", "-c", "echo said so; exit 3"], environ, tmp_path / "out")


def test_no_directory_of_a_repository_has_more_than_fifty_entries(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        repo = make_repository(place, 130)
        names = git(repo, "ls-files").splitlines()
        assert len(names) == 130
        assert git(repo, "status", "--short") == ""
        assert max(len(list(directory.iterdir())) for directory in (repo / "d0").iterdir()) == 50


def test_sides_work_in_turn_and_none_always_goes_first() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    times = in_turn({"a": lambda: side("a"), "b": lambda: side("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert times == {"a": Times((1.0, 4.0, 5.0)), "b": Times((2.0, 3.0, 6.0))}
    assert times["a"].median == 4.0


@pytest.mark.parametrize(
    ("value", "limit", "verdict"),
    [(0.5, 0.7, "met"), (0.7, 0.7, "met"), (0.71, 0.7, "**missed**"), (9.0, None, "")],
)
def test_a_figure_is_judged_by_its_target_alone(value: float, limit: float | None, verdict: str) -> None:
    assert Figure("name", "otto", "beside", value, limit).verdict == verdict


def test_the_page_holds_every_part_with_machine_and_command(tmp_path: Path) -> None:
    sections = [
        Section("First", "loop", (Figure("one", "1 s", "2 s", 0.5, 0.7),), "How it was done."),
        Section("Second", "", (), "", ("a thing, because it is not there",)),
    ]
    text = page(sections, "python -m bench", tmp_path, datetime.now(UTC))
    assert "| one | 1 s | 2 s | 0.5x | at most 0.7x | met |" in text
    assert "Not measured: a thing, because it is not there." in text
    for told in ("| date |", "| machine |", "`python -m bench`", "UTC", "git version", "SQLite"):
        assert told in text


def test_every_part_can_be_tried_at_a_smaller_size() -> None:
    assert list(PARTS) == ["noop", "peers", "merge", "core", "start", "isolation", "durability", "recovery"]
    for part in PARTS.values():
        assert (max(part.quick.files), part.quick.tasks) <= (max(part.full.files), part.full.tasks)
        assert part.quick.rounds < part.full.rounds
