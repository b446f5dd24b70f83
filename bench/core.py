"""What the scheduler and the journal cost a task: the core alone, beside synced commits of SQLite.

Inside: a real plan, compiled from a file; the real `decide` and `apply`; the real session and journal, one
database on the disk that is measured, `synchronous=FULL`; four tasks at a time; the events of a landed task
as the driver, an attempt and the lander append them (started, produced, landing started, landing applied with
the branch published: four appends). The agent is a function that writes one file.

Outside: worktrees, snapshots, child processes, merges, refs and the event loop, which is why ids of commits
and trees are made up. Beside it stands a loop that inserts rows of an event's usual size, one a commit, into
a database with the same settings in the same directory.
"""

import sqlite3
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Final

from bench.report import Figure, Section
from bench.repositories import environment, make_repository, run, workplace, write_plan
from bench.timing import Side, Sizes, Times, in_turn, rounds_of, timed
from otto_core import events as ev
from otto_core.compose import compose, run_settings
from otto_core.driver import create_run
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome, Telemetry
from otto_core.scheduler import Finish, Land, StartAttempt, decide
from otto_core.session import Session

FULL: Final = Sizes(files=(200,), tasks=1_000, rounds=3)
QUICK: Final = Sizes(files=(200,), tasks=100, rounds=1)

_COMMITS_A_TASK: Final = 8
_GROWTH: Final = 2.0
_ROW_BYTES: Final = 400
_RUN: Final = "r-20261121-aaaa"
_TELEMETRY: Final = Telemetry(duration_s=0.001, missing="command agent")


def measure(sizes: Sizes, scratch: Path) -> Section:
    """Measure runs of N and of N / 10 tasks, and commits of SQLite, in turn."""
    many, few = sizes.tasks, max(sizes.tasks // 10, 1)
    with workplace(scratch) as place:
        template = make_repository(place, sizes.files[0])
        sides: dict[str, Side] = {
            "commits": partial(_commit_rows, place, many),
            "few": partial(_run_tasks, template, few),
            "many": partial(_run_tasks, template, many),
        }
        sides["few"]()  # what the first run alone pays for is no cost of a task
        times = in_turn(sides, sizes.rounds)
    commit = _each(times["commits"], many)
    small, large = _each(times["few"], few), _each(times["many"], many)
    whole = many == FULL.tasks
    return Section(
        title="Scheduler and journal, with an agent inside the process",
        beside="beside it",
        figures=(
            Figure(
                f"a task of {few:,}",
                str(small),
                f"{commit} a synced SQLite commit",
                small.median / commit.median,
                _COMMITS_A_TASK if whole else None,
            ),
            Figure(
                f"a task of {many:,}",
                str(large),
                f"{commit} a synced SQLite commit",
                large.median / commit.median,
                _COMMITS_A_TASK if whole else None,
            ),
            Figure(
                f"a task of {many:,} beside one of {few:,}",
                str(large),
                f"{small} (Otto)",
                large.median / small.median,
                _GROWTH if whole else None,
            ),
        ),
        how=f"""
            A run of independent tasks, four at a time, from its first decision to its end, divided by its
            tasks, in {rounds_of(sizes.rounds)}. Inside: `decide`, `apply`, the session and the journal with
            its synced appends (four a task), and an agent that is a function writing one file. Outside:
            worktrees, processes, snapshots, merges and refs; the ids of commits are made up. Beside it:
            {many:,} commits of one row of {_ROW_BYTES} bytes each, `journal_mode=WAL`, `synchronous=FULL`,
            in the same directory, divided by their number.
            """,
    )


def _each(times: Times, count: int) -> Times:
    return Times(tuple(seconds / count for seconds in times.seconds))


def _commit_rows(place: Path, count: int) -> float:
    """Commit rows one by one to a new database; gives the seconds."""
    path = place / "commits.db"
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        body = "x" * _ROW_BYTES

        def commit_all() -> None:
            for _ in range(count):
                db.execute("INSERT INTO rows (body) VALUES (?)", (body,))  # commits by itself

        return timed(commit_all)
    finally:
        db.close()


def _run_tasks(template: Path, tasks: int) -> float:
    """Take a run of so many tasks to its end; gives the seconds."""
    _forget_runs(template)
    repository = GitRepository.discover(template)
    composed = compose(repository, write_plan(template, dict.fromkeys(range(1, tasks + 1), ())))
    settings = run_settings(composed.settings, composed.plan, sandbox="subreaper", keep_worktrees=False)
    with Journal.open(repository.store / STORE) as journal:
        begun = create_run(
            repository, journal, composed.plan, settings, run_id=_RUN, prefix="otto", slug="bench"
        )
        session = Session(begun, journal, repository, composed.settings, template.parent)
        seconds = timed(partial(_drive, session, template.parent / "written"))
    if session.run.outcome is not Outcome.LANDED:
        raise RuntimeError(f"the run ended as {session.run.outcome}")
    return seconds


def _forget_runs(template: Path) -> None:
    """Take away what an earlier round left: the journal and the refs."""
    for path in (template / ".git/otto").glob(f"{STORE}*"):
        path.unlink()
    environ = environment(template.parent)
    refs = run(["git", "for-each-ref", "--format=delete %(refname)", "refs/otto"], environ, cwd=template)
    run(["git", "update-ref", "--stdin"], environ, cwd=template, stdin=refs.encode())


def _drive(session: Session, written: Path) -> None:
    """Do what `decide` names, as the driver would, with everything between the events made up."""
    written.mkdir(exist_ok=True)
    running: list[str] = []
    while session.run.outcome is Outcome.RUNNING:
        for action in decide(session.run, session.elapsed_s):
            match action:
                case StartAttempt(task):
                    session.append(started(session, task))
                    running.append(task)
                case Land(task):
                    _land(session, task)
                case Finish(outcome):
                    session.append(ev.RunFinished(outcome=outcome))
                case _:
                    raise RuntimeError(f"nothing here should lead to {action}")
        if running:
            task = running.pop(0)
            (written / f"{task}.txt").write_text(task)
            session.append(produced(task))


def started(session: Session, task: str) -> ev.AttemptStarted:
    """Give the start of a task's first attempt, as the driver journals it."""
    stored = session.run.stored[0]
    return ev.AttemptStarted(
        task=task,
        attempt=1,
        revision=stored.revision,
        plan_id=stored.plan_id,
        base=session.run.tip,
        contracts=dict(session.run.contracts),
        prompt_digest="0" * 64,
        agent="command",
        log=f"{task}.1.log",
    )


def produced(task: str) -> ev.AttemptProduced:
    """Give its good end, with ids that are made up."""
    return ev.AttemptProduced(
        task=task,
        attempt=1,
        snapshot=_made_up("snapshot", task),
        tree=_made_up("tree", task),
        changed=1,
        telemetry=_TELEMETRY,
    )


def _land(session: Session, task: str) -> None:
    candidate = _made_up("candidate", task)
    session.append(
        ev.LandingStarted(
            task=task,
            attempt=1,
            expected_tip=session.run.tip,
            candidate=candidate,
            tree=_made_up("merged", task),
            strategy="tree",
        )
    )
    applied = ev.LandingApplied(task=task, attempt=1, commit=candidate, contracts=dict(session.run.contracts))
    session.append(applied, ev.BranchPublished(branch=session.run.branch, commit=candidate))


def _made_up(*parts: str) -> str:
    """Give an id that no object has."""
    return sha1("\0".join(parts).encode(), usedforsecurity=False).hexdigest()
