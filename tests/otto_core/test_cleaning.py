"""What may go and what stays, decided from facts alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from otto_core import events as ev
from otto_core.cleaning import (
    Kept,
    KeptFacts,
    RunFacts,
    RunGoes,
    Salvage,
    SlotFacts,
    SlotGoes,
    WorktreeGoes,
    of_kept,
    of_run,
    of_slot,
)
from otto_core.model import Outcome
from otto_core.refnames import run_ref, task_ref
from otto_core.state import Run
from tests.builders import git, make_repo, shop_run

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, str]]:
    """Give a run in which `coupons` did not land, and its refs."""
    repo: Path = make_repo(tmp_path_factory.mktemp("cleaning"))
    built = shop_run(repo)
    built.journal.close()
    rows = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", "refs/otto").splitlines()
    return built.run, dict(row.split(" ") for row in rows)


Shop = tuple[Run, dict[str, str]]


def facts(
    run: Run,
    refs: dict[str, str],
    *,
    on_branch: frozenset[str] = frozenset(),
    ended_s: float | None = DAY_S,
    files: bool = True,
) -> RunFacts:
    return RunFacts(run, ended_s, refs, on_branch, frozenset(), files)


def landed(run: Run) -> frozenset[str]:
    """Give the commits that the published branch reaches."""
    return frozenset({run.tip, run.start.base, *(t.commit for t in run.tasks.values() if t.commit)})


def test_r_s3_what_did_not_land_stays_alone_and_keeps_its_run(shop: Shop) -> None:
    run, refs = shop
    decided = of_run(facts(run, refs, on_branch=landed(run)))
    assert isinstance(decided, tuple)
    ref = task_ref(run.id, "coupons", "attempt-1")
    assert [one.what for one in decided] == [ref]
    assert decided[0].hint.startswith(f"otto retry coupons --run {run.id}; or ")
    rest = {name: at for name, at in refs.items() if name != ref}
    assert of_run(facts(run, rest, on_branch=landed(run))) == RunGoes(rest)


@given(data=st.data())
def test_r_s3_whatever_branches_reach_nothing_goes_that_is_neither_there_nor_superseded(
    shop: Shop, data: st.DataObject
) -> None:
    run, refs = shop
    known = sorted({*refs.values(), *landed(run)})
    on_branch = frozenset(data.draw(st.sets(st.sampled_from(known))))
    decided = of_run(facts(run, refs, on_branch=on_branch))
    if isinstance(decided, RunGoes):
        assert run.tip in on_branch
        for ref, at in decided.refs.items():
            task = ref.split("/")[5] if "/tasks/" in ref else None
            superseded = task is not None and run.tasks[task].commit in on_branch
            assert at in on_branch or superseded
    else:
        assert decided, "what stays has a reason"


@pytest.mark.parametrize(
    ("outcome", "stays"),
    [(outcome, not outcome.is_final) for outcome in Outcome],
    ids=[outcome.value for outcome in Outcome],
)
def test_only_a_run_that_is_over_goes(shop: Shop, outcome: Outcome, stays: bool) -> None:
    run = replace(shop[0], outcome=outcome)
    decided = of_run(facts(run, {}, on_branch=landed(run)))
    assert isinstance(decided, tuple) is stays


def test_a_run_whose_landing_was_cut_off_stays(shop: Shop) -> None:
    run = shop[0]
    delivery = ev.DeliveryStarted(
        target="refs/heads/main", before=run.start.base, after=run.tip, result=run.tip
    )
    [stays] = of_run(facts(replace(run, delivery=delivery), {}, on_branch=landed(run)))  # type: ignore[misc]
    assert stays == Kept(run.id, "its landing on main was cut off", f"otto land {run.id}")


@pytest.mark.parametrize(
    ("ended_s", "goes"), [(DAY_S + 1, True), (DAY_S, False), (-5.0, False), (None, False)]
)
def test_with_an_age_only_what_is_known_to_be_older_goes(
    shop: Shop, ended_s: float | None, goes: bool
) -> None:
    run = shop[0]
    decided = of_run(facts(run, {}, on_branch=landed(run), ended_s=ended_s), older_than_s=DAY_S)
    assert isinstance(decided, RunGoes) is goes


def test_of_a_run_of_which_nothing_is_left_nothing_is_said(shop: Shop) -> None:
    assert of_run(facts(shop[0], {}, files=False)) == ()


def test_what_an_interrupted_clean_left_goes_and_what_is_new_stays(shop: Shop) -> None:
    run, tip = shop[0], run_ref(shop[0].id, "tip")
    marked = replace(run, cleaned=ev.RunCleaned(by="ada", refs={tip: run.tip}))
    assert of_run(facts(marked, {tip: run.tip})) == RunGoes({tip: run.tip})
    assert of_run(facts(marked, {}, files=True)) == RunGoes({})
    assert of_run(facts(marked, {}, files=False)) == ()
    [stays] = of_run(facts(marked, {tip: run.start.base}))  # type: ignore[misc]
    assert stays.what == tip


SLOT = SlotFacts("slot-0", unused_s=2 * DAY_S)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"borrower": "r-1/one/1", "unfinished": "r-1/one/1"}, "it is in use by r-1/one/1"),
        ({"ours": False}, "Otto did not make it"),
        ({"unreadable": "slot-0.occupant"}, "the note of who worked there cannot be read"),
        ({"unused_s": 60.0, "unfinished": "r-1/one/1"}, "it was used 1m ago"),
        ({"bystander": "process 7 (sh), by an open file,"}, "process 7 (sh), by an open file, is in it"),
        ({"aside": "slot-0/unclean"}, "a worktree that was moved out of the way lies there"),
    ],
    ids=["borrowed", "foreign", "unreadable", "young", "bystander", "aside"],
)
def test_r_s3_a_slot_stays_for_a_reason(changed: dict[str, object], says: str) -> None:
    told = {"name": SLOT.name, "unused_s": SLOT.unused_s, **changed}
    decided = of_slot(SlotFacts(**told), older_than_s=DAY_S)  # type: ignore[arg-type]
    assert isinstance(decided, Kept)
    assert decided.why == says


def test_r_s3_unfinished_work_is_kept_before_its_slot_goes() -> None:
    assert of_slot(SlotFacts("slot-0", unfinished="r-1/one/1", unused_s=0.0)) == Salvage()
    assert of_slot(SLOT, older_than_s=DAY_S) == SlotGoes()


@pytest.mark.parametrize(
    ("changed", "goes"),
    [({}, True), ({"held": False}, False), ({"bystander": "process 7"}, False), ({"ended_s": 60.0}, False)],
    ids=["held", "not held", "bystander", "young"],
)
def test_r_s3_a_worktree_set_aside_goes_only_if_a_commit_holds_it(
    shop: Shop, changed: dict[str, object], goes: bool
) -> None:
    told = {"name": "one.1", "run": shop[0], "ended_s": 2 * DAY_S, "bystander": None, "held": True, **changed}
    decided = of_kept(KeptFacts(**told), older_than_s=DAY_S)  # type: ignore[arg-type]
    assert isinstance(decided, WorktreeGoes) is goes
