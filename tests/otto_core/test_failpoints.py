"""A run killed at every named point, before and after, ends as if nothing had been; so does its recovery.

`POINTS` is the table: what an undisturbed run of `killed_runs` passes, and how often at least. Each test
kills the driver alone: what it started lives on until a resume finds it.
"""

import ast
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from merge import candidate
from otto_core import events as ev
from otto_core.git import repository
from tests.otto_core.failpoints import EFFECTS, Ended, Kill, Moment, Otto
from tests.otto_core.killed_runs import Scene, carriers, require_still, require_whole
from tests.otto_core.test_one_way_in import SOURCES, module_of, users_of

POINTS: Mapping[str, int] = {
    "aside.set_aside": 1,
    "attempts.leave": 7,
    "attempts.occupy": 7,
    "attempts.overlay": 2,
    "capture.start": 12,
    "checks.leave": 7,
    "checks.occupy": 7,
    "journal.attempt_failed": 1,
    "journal.attempt_produced": 5,
    "journal.attempt_started": 7,
    "journal.attempt_unchanged": 1,
    "journal.branch_published": 4,
    "journal.checked": 7,
    "journal.final_checked": 1,
    "journal.landing_applied": 4,
    "journal.landing_rejected": 1,
    "journal.landing_started": 4,
    "journal.plan_stored": 3,
    "journal.run_finished": 1,
    "journal.run_started": 1,
    "journal.setup_ended": 5,
    "journal.shown": 1,
    "keeping.commit_tree": 7,
    "landing.commit": 5,
    "linked.unregister": 7,
    "locks.write": 10,
    "made.forget": 5,
    "process.start": 19,
    "ref.attempt": 7,
    "ref.base": 1,
    "ref.branch": 4,
    "ref.candidate": 5,
    "ref.evidence": 1,
    "ref.tip": 5,
    "salvage.end_all": 5,
    "salvage.leave": 5,
    "setup.bring_back": 14,
    "setup.note_down": 5,
    "setup.occupy": 5,
    "setup.reset": 19,
    "setup.set_apart": 19,
    "setup.unregister": 19,
}
"""What a build passes, and how often at least: setup runs again in a slot now and then."""

UNBORN = {"capture.start", "journal.plan_stored", "journal.run_started", "ref.base", "ref.tip"}
"""Points before the journal knows of the run: there is nothing to go on with, and the next build is the
first."""

BESIDE = {
    *(
        "attempts.overlay",
        "capture.start",
        "checks.leave",
        "checks.occupy",
        "linked.unregister",
        "made.forget",
    ),
    *("journal.branch_published", "journal.plan_stored", "salvage.unregister"),
    *("setup.bring_back", "setup.note_down", "setup.occupy", "setup.set_apart", "setup.unregister"),
}
"""Points right beside others, such as in the same append; the ordinary suite leaves them out."""

LANDED = Kill("ref.tip", "after", 3)
NOT_LANDED = Kill("ref.tip", "before", 3)
LOCKED = Kill("ref.tip", "within", 3)
"""Three ways to die in a landing, beside an attempt under way: the third leaves the lock file of the ref."""

GOES_ON = Kill("journal.run_resumed", "after")
SETTLES = ("ref.salvage", "salvage.commit_tree", "aside.set_aside")
RECOVERIES: Mapping[Kill, Sequence[str]] = {
    LANDED: (
        *SETTLES,
        "capture.start",
        "journal.attempt_interrupted",
        "journal.branch_published",
        "journal.landing_applied",
        "journal.run_resumed",
        "recover.end_all",
        "ref.branch",
        "ref.evidence",
        "salvage.end_all",
        "salvage.leave",
        "salvage.unregister",
    ),
    NOT_LANDED: ("journal.landing_lost",),
    LOCKED: ("recover.unlock_refs",),
}
"""What a resume passes before it goes on, by what it is killed at after each way to die."""

RECOVERED = [point for points in RECOVERIES.values() for point in points]

ONE_APPEND = "a person's verb appends it, and nothing follows but what a driver does"
IN_LAND = "`otto land` journals it: test_transfer_killed.py kills that at each of its steps"
IN_CLEAN = "`otto clean` does it: test_clean_disturbed.py kills that before each of its steps"
BY_A_PERSON = "`otto doctor --fix` does it, alone: what was not mended is found by the next one"
ELSEWHERE: Mapping[str, str] = {
    "journal.run_cleaned": IN_CLEAN,
    "clean.unpin": IN_CLEAN,
    "clean.unlock_refs": IN_CLEAN,
    "delivery.unlock_refs": "`otto land` begins with it: test_transfer_killed.py",
    "vacate.unregister": IN_CLEAN,
    "mending.end_all": BY_A_PERSON,
    "mending.unlock_refs": BY_A_PERSON,
    "mending.unregister": BY_A_PERSON,
    "journal.task_failed": "no task of this run fails; it is one append, between two others of the driver",
    "journal.task_skipped": ONE_APPEND,
    "journal.task_reopened": ONE_APPEND,
    "journal.run_cancelled": ONE_APPEND,
    "journal.landing_decided": ONE_APPEND,
    "journal.landing_undetermined": "only where somebody else moved the tip; a person goes on",
    "journal.branch_withheld": "where somebody else has the branch, in the place of branch_published",
    "journal.lock_contended": "only beside another run; it changes no state",
    "journal.lock_freed": "only beside another run; it changes no state",
    "journal.run_paused": "nothing follows it: the driver ends",
    "journal.delivery_started": IN_LAND,
    "journal.delivery_writing": IN_LAND,
    "journal.delivery_applied": IN_LAND,
    "journal.delivery_undone": IN_LAND,
    "proposal.commit_tree": "`otto land` makes it before anything moves: test_transfer_killed.py",
    "ref.delivery": "`otto land` writes it: test_transfer_killed.py",
    "setup.forget": "only where what setup made cannot be kept",
    "recover.unregister": "only with `isolation: linked`",
    "setup.register": "only with `isolation: linked`",
    "worktrees.set_aside": "only where a worktree cannot be emptied or filled: test_worktrees.py",
}
"""Points that this run does not pass, and why."""


@pytest.fixture(scope="module")
def otto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otto]:
    with Otto(tmp_path_factory.mktemp("otto")) as process:
        yield process


# --- the list is complete


def test_the_table_names_every_type_of_event() -> None:
    tags = {f"journal.{kind.__struct_config__.tag}" for kind in get_args(ev.Event)}
    named = {p for p in (*POINTS, *RECOVERED, *ELSEWHERE) if p.startswith("journal.")}
    assert named == tags


def test_the_table_names_every_kind_of_ref_that_is_written() -> None:
    kinds = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
                last = node.args[-1]
                if node.func.id in ("run_ref", "task_ref") and not isinstance(last, ast.Name):
                    text = last.values[0] if isinstance(last, ast.JoinedStr) else last
                    assert isinstance(text, ast.Constant), f"{module_of(path)} names a ref in another way"
                    kinds.add("ref." + str(text.value).removesuffix("-"))
    named = {p for p in (*POINTS, *RECOVERED, *ELSEWHERE) if p.startswith("ref.")}
    assert named - {"ref.branch"} == kinds


def test_r_x1_refs_are_written_under_a_lock_that_one_function_takes() -> None:
    assert users_of("merge.swap._locked") == set()
    ways = (".transaction(", "references.create", "create_reference", "lookup_reference", '"update-ref"')
    writers = {module_of(p) for p in SOURCES if any(way in p.read_text() for way in ways)}
    assert writers == {"merge.swap", "otto_core.refs"}, "the latter has git delete what it pinned"


def test_commits_are_made_by_functions_that_are_points() -> None:
    """What `merge.strategies` makes is for one merge in memory, and a demo's repository is no run's."""
    makers = {module_of(p) for p in SOURCES if "create_commit(" in p.read_text()}
    assert makers == {"merge.objects", "otto_core.git.repository"}
    writers = {candidate.__name__, repository.__name__, "merge.strategies"}
    assert users_of("merge.objects.write_commit") == writers


def test_the_table_names_every_caller_of_a_function_with_an_effect() -> None:
    callers = set()
    for module, names in EFFECTS.items():
        for name in names:
            own = [p for p in SOURCES if module_of(p) == module.__name__ and calls(p, name)]
            users = users_of(f"{module.__name__}.{name}") | {module_of(p) for p in own}
            callers |= {f"{user.rpartition('.')[2]}.{name}" for user in users}
    named = {p for p in (*POINTS, *RECOVERED, *ELSEWHERE) if not p.startswith(("journal.", "ref."))}
    assert named == callers


def calls(path: Path, name: str) -> bool:
    nodes = ast.walk(ast.parse(path.read_text()))
    return any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name for n in nodes)


# --- kills of a build


def test_the_undisturbed_run_passes_every_point_of_the_table(otto: Otto, tmp_path: Path) -> None:
    scene = Scene.make(otto, tmp_path)
    built = scene.build()
    assert built.code == 0, built.printed
    passed = Counter(point for moment, point in built.passed if moment == "after")
    assert passed.keys() == POINTS.keys()
    assert [point for point, n in POINTS.items() if passed[point] < n] == []
    [run] = scene.runs()
    require_whole(scene, run)
    require_still(scene, run)


def die(ended: Ended, kill: Kill) -> None:
    assert ended.code == -signal.SIGKILL, f"not reached: {kill}\n{ended.printed}"


def finish(scene: Scene, run_id: str) -> None:
    """Go on with a run until it is done, and demand of it what has to hold of any."""
    scene.let_go()
    resumed = scene.resume(run=run_id)
    assert resumed.code == 0, resumed.printed
    require_whole(scene, scene.run(run_id))
    require_still(scene, scene.run(run_id))


def builds_killed() -> Iterator[Any]:
    """Give the whole table; in the ordinary suite, most points before the first time and after the last."""
    for point, times in POINTS.items():
        for moment, nth in product(moments_of(point), sorted({1, times})):
            ordinary = (moment, nth) in {("before", 1), ("after", times)} and point not in BESIDE
            yield case(ordinary, Kill(point, moment, nth))


def moments_of(point: str) -> tuple[Moment, ...]:
    return ("before", "within", "after") if point.startswith(("journal.", "ref.")) else ("before", "after")


def case(ordinary: bool, *kills: Kill) -> Any:
    name = ", then ".join(map(str, kills))
    return pytest.param(*kills, id=name, marks=() if ordinary else pytest.mark.slow)


@pytest.mark.parametrize("kill", list(builds_killed()))
def test_i2_i7_i9_a_build_killed_at_any_point_ends_as_an_undisturbed_one(
    otto: Otto, tmp_path: Path, kill: Kill
) -> None:
    scene = Scene.make(otto, tmp_path)
    die(scene.build(kill), kill)
    if not scene.runs():
        assert kill.point in UNBORN
        built = scene.build()
        assert built.code == 0, built.printed
    finish(scene, scene.runs()[-1].id)


LINKED = [Kill("setup.register", "after", 2), Kill("linked.unregister", "before", 2)]
"""With the worktree of the last attempt linked: before it begins, and when it has ended."""


@pytest.mark.parametrize("pool", ["there", "removed by hand"])
@pytest.mark.parametrize("kill", LINKED, ids=str)
def test_i8_a_linked_worktree_whose_driver_was_killed_is_not_linked_for_good(
    otto: Otto, tmp_path: Path, kill: Kill, pool: str
) -> None:
    scene = Scene.make(otto, tmp_path, brief=True, files={"otto.yaml": "worktrees: {isolation: linked}\n"})
    die(scene.build(kill), kill)
    assert list((scene.repo / ".git/worktrees").iterdir()) != []
    if pool == "removed by hand":
        shutil.rmtree(scene.runs()[0].settings.worktrees)
    finish(scene, scene.runs()[0].id)


# --- kills of a recovery


def passed_by_recovery(otto: Otto, place: Path, start: Kill) -> set[str]:
    scene = Scene.make(otto, place, held=True)
    die(scene.build(start), start)
    assert carriers(scene.runs()[0]) != [], "what the driver left is alive"
    resumed = scene.resume(GOES_ON)
    die(resumed, GOES_ON)
    finish(scene, scene.runs()[0].id)
    return {point for _, point in resumed.passed}


def test_the_undisturbed_recoveries_pass_every_point_of_the_table(otto: Otto, tmp_path: Path) -> None:
    passed = {start: passed_by_recovery(otto, tmp_path / str(start.moment), start) for start in RECOVERIES}
    assert set().union(*passed.values()) == {point for points in RECOVERIES.values() for point in points}
    assert [start for start, points in RECOVERIES.items() if not passed[start].issuperset(points)] == []


def recoveries_killed() -> Iterator[Any]:
    for start, points in RECOVERIES.items():
        for point in points:
            for moment in moments_of(point):
                yield case(moment != "within" and point not in BESIDE, start, Kill(point, moment))


@pytest.mark.parametrize(("start", "kill"), list(recoveries_killed()))
def test_i7_i9_i13_a_recovery_killed_at_any_point_is_gone_on_with(
    otto: Otto, tmp_path: Path, start: Kill, kill: Kill
) -> None:
    scene = Scene.make(otto, tmp_path, held=True)
    die(scene.build(start), start)
    die(scene.resume(kill), kill)
    finish(scene, scene.runs()[0].id)


TWICE = [
    (LANDED, Kill("ref.salvage", "within"), Kill("ref.salvage", "after")),
    (LANDED, Kill("aside.set_aside", "after"), Kill("journal.attempt_interrupted", "before")),
    (LANDED, Kill("attempts.occupy", "after"), Kill("journal.attempt_interrupted", "within")),
    (NOT_LANDED, Kill("journal.landing_lost", "after"), Kill("salvage.leave", "before")),
    (LOCKED, Kill("recover.unlock_refs", "before"), Kill("recover.unlock_refs", "after")),
]
"""A sample: the recovery is killed, and the recovery of that."""


@pytest.mark.parametrize(("start", "first", "second"), [case(True, *kills) for kills in TWICE])
def test_i7_i9_a_recovery_of_a_recovery_is_killed_too(
    otto: Otto, tmp_path: Path, start: Kill, first: Kill, second: Kill
) -> None:
    scene = Scene.make(otto, tmp_path, held=True)
    die(scene.build(start), start)
    die(scene.resume(first), first)
    die(scene.resume(second), second)
    finish(scene, scene.runs()[0].id)


@pytest.mark.parametrize(
    "kill",
    [case(moment == "after", Kill(point, moment)) for point in SETTLES for moment in ("before", "after")],
)
def test_s3_another_run_that_dies_while_it_keeps_what_it_found_in_a_slot_loses_nothing(
    otto: Otto, tmp_path: Path, kill: Kill
) -> None:
    scene = Scene.make(otto, tmp_path, held=True)
    die(scene.build(LANDED), LANDED)
    die(scene.build(kill), kill)
    first, second = scene.runs()
    finish(scene, first.id)
    finish(scene, second.id)
