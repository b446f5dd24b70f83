"""A run of many tasks that is killed at random moments until it is done, again and again: `make soak`.

Each task writes a file of its own and a line of a registry that all of them extend, then says in a ledger
outside of Git what it wrote; some fail at first, some leave processes behind. SIGKILL goes to `otto` at
random moments, its start and its recovery included; then it is resumed. When a run is done, the ledger, Git,
the journal and the machine are compared.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from otto_core import events as ev
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome, TaskStatus
from otto_core.refnames import run_ref, task_ref
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.killed_runs import carriers

_OTTO = (sys.executable, "-m", "otto_core.cli.main")
_MEAN_S = 1.0
"""How long `otto` lives on average."""

_DONE = (0, 1)
"""Exit codes of a run that came to its end."""

_TASK = """\
mkdir -p out && echo "$OTTO_TASK $OTTO_ATTEMPT" > out/$OTTO_TASK.txt
echo $OTTO_TASK >> list.txt
echo "$OTTO_TASK $OTTO_ATTEMPT" >> {ledger}
{orphan}
sleep {pause:.2f}
{end}
"""


@dataclass(slots=True)
class Tally:
    """What happened, and what must not have: the last six are to be 0."""

    runs: int = 0
    tasks: int = 0
    kills: int = 0
    attempts: int = 0
    lost_with_driver: int = 0
    salvaged: int = 0
    duplicate_landings: int = 0
    lost_attempts: int = 0
    leftover_processes: int = 0
    unlanded_tasks: int = 0
    differing_trees: int = 0
    faults_of_git: int = 0

    @property
    def failed(self) -> bool:
        """Whether anything happened that must not."""
        return any(getattr(self, field.name) for field in fields(self)[6:])

    def add(self, other: "Tally") -> None:
        """Add what another run came to."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def table(self) -> str:
        """Write it as a table."""
        rows = (f"| {field.name.replace('_', ' ')} | {getattr(self, field.name)} |" for field in fields(self))
        return "\n".join(["| | |", "|---|---|", *rows])


def plan_of(count: int, ledger: Path, chance: random.Random) -> dict[str, object]:
    """Make a plan of so many tasks that stand on some of those before them."""
    tasks: list[dict[str, object]] = [
        {
            "id": "base",
            "role": "foundation",
            "owns": ["list.txt"],
            "provides": ["list"],
            "run": "echo begin > list.txt",
        }
    ]
    for number in range(count - 1):
        before = [f"t{other:03}" for other in range(number)]
        fails_first = chance.random() < 0.05
        tasks.append(
            {
                "id": f"t{number:03}",
                "owns": [f"out/t{number:03}.txt"],
                "extends": ["list"],
                "depends_on": chance.sample(before, min(len(before), chance.choice([0, 0, 1, 2]))),
                "run": _TASK.format(
                    ledger=ledger,
                    orphan="(setsid sleep 600 > /dev/null 2>&1 &)" if chance.random() < 0.2 else "",
                    pause=chance.uniform(0, 0.4),
                    end="test $OTTO_ATTEMPT -gt 1" if fails_first else "",
                ),
                "max_attempts": 3,
            }
        )
    return {
        "version": 1,
        "intent": "Soak",
        "contracts": [{"id": "list", "paths": ["list.txt"], "merge": "union"}],
        "verify": {"each": ["test -s list.txt"]},
        "tasks": tasks,
    }


def soak_once(place: Path, count: int, chance: random.Random, sandbox: str) -> Tally:
    """Drive one run to its end through random kills, and tally it."""
    repo = make_repo(place)
    ledger = place / "ledger"
    ledger.touch()
    plan = place / "plan.yaml"
    plan.write_text(yaml.safe_dump(plan_of(count, ledger, chance)))
    environ = {**os.environ, "OTTO_SANDBOX": sandbox, "PYTHONPATH": str(Path(__file__).parents[1])}
    kills = 0
    args = ["build", "--plan", str(plan), "--concurrency", "8"]
    with (place / "output").open("wb") as output:
        while True:
            process = subprocess.Popen([*_OTTO, *args], cwd=repo, env=environ, stdout=output, stderr=output)
            try:
                code = process.wait(chance.expovariate(1 / _MEAN_S) + 0.02)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            else:
                if code not in _DONE:
                    raise RuntimeError(f"otto {args[0]} ended with {code}: see {output.name}")
                if run_ids(repo):
                    break
            args = ["resume", "--json"] if run_ids(repo) else args
    tally = examine(repo, place / "ledger")
    tally.kills = kills
    return tally


def run_ids(repo: Path) -> list[str]:
    """Name the runs that the journal knows."""
    journal = Journal.read(GitRepository.discover(repo).store / STORE)
    if journal is None:
        return []
    with journal:
        return journal.run_ids()


def examine(repo: Path, ledger: Path) -> Tally:
    """Compare what tasks say that they wrote with what Git, the journal and the machine have."""
    with Journal.open(GitRepository.discover(repo).store / STORE) as journal:
        [run_id] = journal.run_ids()
        run = journal.load(run_id)
    ends = [attempt.end for task in run.tasks.values() for attempt in task.attempts]
    lost = [end for end in ends if isinstance(end, ev.AttemptInterrupted) and end.lost]
    landed = git(
        repo,
        "log",
        "--first-parent",
        "--format=%(trailers:key=Otto-Task,valueonly,separator=)",
        f"{run.start.base}..{run_ref(run.id, 'tip')}",
    ).split()
    registry = git(repo, "show", f"{run.tip}:list.txt").split()
    expected = ["begin", *(name for name in run.tasks if name != "base")]
    return Tally(
        runs=1,
        tasks=len(run.tasks),
        attempts=len(ends),
        lost_with_driver=len(lost),
        salvaged=sum(end.snapshot is not None for end in lost),
        duplicate_landings=len(landed) - len(set(landed)),
        lost_attempts=sum(not _is_kept(repo, run, *line.split()) for line in ledger.read_text().splitlines()),
        leftover_processes=len(carriers(run)),
        unlanded_tasks=sum(task.status is not TaskStatus.LANDED for task in run.tasks.values())
        + len(set(run.tasks) ^ set(landed))
        + (run.outcome is not Outcome.LANDED),
        differing_trees=sorted(registry) != sorted(expected),
        faults_of_git=bool(git(repo, "fsck", "--strict", "--no-dangling")),
    )


def _is_kept(repo: Path, run: Run, task: str, attempt: str) -> bool:
    """Tell whether what an attempt says that it wrote is reachable from a ref of its own."""
    for kind in ("attempt", "salvage"):
        ref = task_ref(run.id, task, f"{kind}-{attempt}")
        shown = subprocess.run(
            ["git", "-C", str(repo), "show", f"{ref}:out/{task}.txt"],
            capture_output=True,
            text=True,
            check=False,
        )
        if shown.returncode == 0 and shown.stdout == f"{task} {attempt}\n":
            return True
    return False


def main() -> int:
    """Soak for as long as the command line says; 1 if anything happened that must not."""
    options = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--tasks", type=int, default=200)
    options.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    asked = options.parse_args()
    chance = random.Random(asked.seed)
    total, deadline = Tally(), time.monotonic() + 60 * asked.minutes
    sys.stderr.write(f"seed {asked.seed}\n")
    while time.monotonic() < deadline:
        sandbox = ("subreaper", "auto")[total.runs % 2]
        with tempfile.TemporaryDirectory(prefix="otto-soak-") as scratch:
            place = Path(scratch).resolve()
            os.environ["XDG_CACHE_HOME"] = str(place / "cache")
            tally = soak_once(place, asked.tasks, chance, sandbox)
            total.add(tally)
            told = {field.name: getattr(tally, field.name) for field in fields(tally)}
            sys.stderr.write(f"{sandbox}: {json.dumps(told)}\n")
            if tally.failed:
                break
    sys.stdout.write(f"{total.table()}\n")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
