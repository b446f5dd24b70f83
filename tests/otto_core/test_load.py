"""Many at once: every task that finishes lands, whatever the order in which they finish."""

from pathlib import Path

import pytest

from otto_core.model import Outcome
from tests.builders import git, make_repo
from tests.otto_core.runs import content, feature, files, run_plan

BARRIER = "touch {place}/$OTTO_TASK; while [ $(ls {place} | wc -l) -lt {count} ]; do sleep 0.05; done"
"""Holds every task until all have come this far, so that they finish at once."""


def land_all(repo: Path, count: int) -> None:
    """Build a plan whose tasks all finish at once and extend one registry; check that nothing is lost."""
    names = [f"t{n:03}" for n in range(count)]
    place = repo.parent / f"barrier-of-{repo.name}"
    place.mkdir()
    wait = BARRIER.format(place=place, count=count)
    run = run_plan(
        repo,
        feature("base", "echo begin > list.txt", owns=["list.txt"], role="foundation", provides=["list"]),
        *(feature(n, f"echo {n} > {n}.txt; echo {n} >> list.txt; {wait}", extends=["list"]) for n in names),
        contracts=[{"id": "list", "paths": ["list.txt"], "merge": "union"}],
        overrides={"concurrency": count},
    )
    assert run.outcome is Outcome.LANDED
    assert sorted(content(repo, run, "list.txt").split()) == sorted(["begin", *names])
    assert set(files(repo, run)) == {"README.md", "list.txt", *(f"{n}.txt" for n in names)}
    landed = git(
        repo, "log", "--first-parent", "--format=%(trailers:key=Otto-Task,valueonly)", run.tip
    ).split()
    assert sorted(landed) == sorted(["base", *names]), "I2: each exactly once"


def test_i2_r_m1_20_tasks_that_finish_at_once_all_land(tmp_path: Path) -> None:
    land_all(make_repo(tmp_path), 20)


@pytest.mark.slow
@pytest.mark.parametrize("repetition", range(20))
def test_i2_r_m1_100_tasks_that_finish_at_once_all_land(tmp_path: Path, repetition: int) -> None:
    land_all(make_repo(tmp_path, name=f"repo-{repetition}"), 100)
