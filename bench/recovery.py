"""How soon a run with a long journal can go on after its driver was killed.

The journal and the commits are made here: every task of a run has landed but two. One of these was being
executed, the other landing, its swap done and not journalled, when the driver died. What is measured is what
`otto resume` does before the next driver begins: open the store, fold the run, find in Git what landed,
settle the landing, give the lost attempt its end, publish.
"""

from functools import partial
from pathlib import Path
from typing import Final

import pygit2
from msgspec import structs

from bench.core import produced, started
from bench.report import Figure, Section
from bench.repositories import copy_of, make_repository, workplace, write_plan
from bench.timing import Sizes, in_turn, rounds_of, timed
from merge.objects import Oid
from merge.swap import swap
from merge.trailers import Trailers, message
from otto_core import events as ev
from otto_core.compose import compose, run_settings
from otto_core.driver import create_run
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import TaskStatus
from otto_core.recover import recover
from otto_core.refnames import run_ref
from otto_core.session import Session

FULL: Final = Sizes(files=(200,), tasks=2_000, rounds=5)
QUICK: Final = Sizes(files=(200,), tasks=100, rounds=2)

_EVENTS_A_TASK: Final = 5
_LIMIT_S: Final = 1.0
_RUN: Final = "r-20261121-aaaa"


def measure(sizes: Sizes, scratch: Path) -> Section:
    """Measure the recovery of a run of so many tasks."""
    with workplace(scratch) as place:
        template = make_repository(place, sizes.files[0])
        events = _leave_run(template, sizes.tasks)
        taken = in_turn({"recovery": partial(_recover, template)}, sizes.rounds)["recovery"]
    whole = sizes.tasks == FULL.tasks
    return Section(
        title="Recovery",
        beside="",
        figures=(
            Figure(
                f"recovery of a run with {events:,} events",
                str(taken),
                "",
                taken.median,
                _LIMIT_S if whole else None,
                unit="s",
            ),
        ),
        how=f"""
            A run of {sizes.tasks:,} tasks whose driver was killed when all but two had landed, one was being
            executed and one landing, in {rounds_of(sizes.rounds)}, each on a copy of the repository: open the
            store, fold the run, find in Git what landed, settle the landing, give the lost attempt its end,
            publish. What an attempt would have left in a worktree is not part of it.
            """,
    )


def _recover(template: Path) -> float:
    """Recover the run in a copy; gives the seconds."""
    with copy_of(template) as repo:
        repository = GitRepository.discover(repo)

        def work() -> None:
            with Journal.open(repository.store / STORE) as journal:
                run = recover(repository, journal, journal.load(_RUN), ())
            left = [task.status for task in run.tasks.values() if task.status is not TaskStatus.LANDED]
            if left != [TaskStatus.PENDING]:
                raise RuntimeError(f"the run was not recovered: {left}")

        return timed(work)


def _leave_run(template: Path, tasks: int) -> int:
    """Make the run and what it landed; gives how many events its journal has."""
    repository = GitRepository.discover(template)
    composed = compose(repository, write_plan(template, dict.fromkeys(range(1, tasks + 1), ())))
    settings = run_settings(composed.settings, composed.plan, sandbox="subreaper", keep_worktrees=False)
    pygit2.settings.enable_fsync_gitdir(False)
    with Journal.open(repository.store / STORE, durability="fast") as journal:
        begun = create_run(
            repository, journal, composed.plan, settings, run_id=_RUN, prefix="otto", slug="bench"
        )
        session = Session(begun, journal, repository, composed.settings, template.parent)
        *landing, last, running = (task.id for task in composed.plan.tasks)
        for task in landing:
            _land(session, task, journalled=True)
        _land(session, last, journalled=False)
        session.append(started(session, running))
        swap(repository.repo, run_ref(_RUN, "tip"), Oid(hex=begun.tip), _candidate(session, last))
        return sum(1 for _ in journal.events(_RUN))


def _candidate(session: Session, task: str) -> Oid:
    landing = session.run.tasks[task].landing
    if landing is None:
        raise RuntimeError(f"{task} is not landing")
    return Oid(hex=landing.candidate)


def _land(session: Session, task: str, *, journalled: bool) -> None:
    """Journal a task's life until it has landed, or until its landing has begun."""
    run, repo = session.run, session.repository.repo
    session.append(started(session, task))
    tree, tip = session.repository.tree_of(Oid(hex=run.tip)), Oid(hex=run.tip)
    person = session.repository.author()
    snapshot = repo.create_commit(None, person, person, "snapshot", tree, [tip])
    trailers = Trailers(run.id, task, 1, run.stored[0].plan_id)
    candidate = repo.create_commit(None, person, person, message(task, "", trailers), tree, [tip, snapshot])
    session.append(structs.replace(produced(task), snapshot=str(snapshot), tree=str(tree)))
    session.append(
        ev.LandingStarted(
            task=task,
            attempt=1,
            expected_tip=str(tip),
            candidate=str(candidate),
            tree=str(tree),
            strategy="tree",
        )
    )
    if journalled:
        session.append(
            ev.LandingApplied(task=task, attempt=1, commit=str(candidate), contracts={}),
            ev.BranchPublished(branch=run.branch, commit=str(candidate)),
        )
