"""Builds on a disk that fills up, in a process of their own: `HOW WHERE DISK OTHER SIZE...`.

`DISK` holds the repository (`repo`), the worktrees (`worktrees`) or `both`, `OTHER` what it does not. For
each size there is a build with so much room: no file may grow beyond it (`limit`), so much is free (`tmpfs`),
or an attempt fills the disk and leaves so much (`attempt`). Then there is room again, and what the build left
behind is looked at, and gone on with. Prints one JSON document: what happened each time.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from otto_core.cli.main import main as otto
from otto_core.git.repository import GitRepository
from otto_core.inventory import kept_worktrees
from otto_core.journal import Journal
from otto_core.model import TaskStatus
from otto_core.presence import landed_in_git
from otto_core.refnames import run_ref
from otto_core.store import STORE
from tests.builders import git, make_repo
from tests.otto_core.runs import feature, write_plan, writes

_PAGE = 4096


@contextmanager
def little_room(how: str, disk: Path, size: int) -> Iterator[None]:
    """Leave so much room while the block runs."""
    if how == "limit":
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        return
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(_PAGE))
        except OSError:
            file.truncate(max(0, file.tell() - size))
    try:
        yield
    finally:
        filler.unlink()


def run(repo: Path, *args: str) -> Result:
    with chdir(repo):
        return CliRunner().invoke(otto, list(args))


def main(how: str, where: str, disk: Path, other: Path, sizes: list[int]) -> None:
    """Build at each size."""
    at = {"repo": (disk, other), "worktrees": (other, disk), "both": (disk, disk)}[where]
    repo = make_repo(at[0], {"README.md": "A shop.\n", "base.bin": os.urandom(150_000)})
    os.environ["OTTO_WORKTREES_ROOT"] = str(at[1] / "worktrees")
    if how == "attempt":
        told = [filled(repo, disk, other, size) for size in sizes]
    else:
        told = built(how, where, repo, at[1] / "worktrees", disk, sizes)
    sys.stdout.write(json.dumps(told))


def filled(repo: Path, disk: Path, other: Path, size: int) -> dict[str, object]:
    """Build what fills the disk up to so much, and resume it: while it is full, and when there is room."""
    filler, copy = disk / "filler", other / f"copy.{size}"
    fills = f"cat /dev/zero > {filler} 2> /dev/null; truncate -s -{size} {filler}"
    first = f"head -c 300000 /dev/urandom > {copy}; cat {copy} > one.txt; {fills}"
    again = "[ $OTTO_ATTEMPT = 1 ] || { echo again > one.txt; exit 0; }"
    plan = write_plan(repo, feature("one", f"{again}; {first}", max_attempts=1))
    done = run(repo, "build", "--plan", str(plan))
    meanwhile = [run(repo, "resume", name).exit_code for name in unfinished(repo)]
    filler.unlink()
    resumed = [run(repo, "resume", name).exit_code for name in unfinished(repo)]
    problems = looked_at(repo)
    blob = git(repo, "hash-object", str(copy))
    if blob not in git(repo, "rev-list", "--objects", "--all") and not is_aside(repo, copy):
        problems.append("what the attempt wrote is lost")
    with Journal.open(repo / ".git/otto" / STORE) as journal:
        if journal.load(journal.run_ids()[-1]).tasks["one"].counted != 1:
            problems.append("an attempt was blamed for the disk")
    codes = {"code": done.exit_code, "meanwhile": meanwhile, "resumed": resumed}
    return {"size": size, "said": done.stderr, "problems": problems, **codes}


def is_aside(repo: Path, copy: Path) -> bool:
    """Tell whether a worktree with this as its file was set aside, and whether the journal says where."""
    with Journal.open(repo / ".git/otto" / STORE) as journal:
        ends = [one.end for one in journal.load(journal.run_ids()[-1]).tasks["one"].attempts if one.end]
    roots = Path(os.environ["OTTO_WORKTREES_ROOT"]).iterdir()
    every = [place for root in roots for place in kept_worktrees(root)]
    whole = [place for place in every if (place / "one.txt").read_bytes() == copy.read_bytes()]
    return any(f"is kept at {place};" in (end.telemetry.missing or "") for place in whole for end in ends)


def built(
    how: str, where: str, repo: Path, worktrees: Path, disk: Path, sizes: list[int]
) -> list[dict[str, object]]:
    """Build with so much room, and resume with more."""
    tasks = writes("one"), writes("two"), feature("big", "head -c 60000 /dev/urandom > big.txt")
    plan = str(write_plan(repo, *tasks, verify={"each": ["test -e base.bin"]}))
    assert run(repo, "build", "--plan", plan).exit_code == 0
    landed = tips(repo)
    told: list[dict[str, object]] = []
    for size in sizes:
        if where == "worktrees":
            shutil.rmtree(worktrees)  # what is filled already would need no room
        with little_room(how, disk, size):
            done = run(repo, "build", "--plan", plan)
        kept = {name: tip for name, tip in tips(repo).items() if name in landed}
        problems = [] if kept == landed else ["what had landed is not there"]
        resumed = [run(repo, "resume", name).exit_code for name in unfinished(repo)]
        problems += looked_at(repo)
        landed = tips(repo)
        told.append(
            {
                "size": size,
                "code": done.exit_code,
                "said": done.stderr,
                "resumed": resumed,
                "problems": problems,
            }
        )
    return told


def tips(repo: Path) -> dict[str, str]:
    """Give the tip of every run."""
    rows = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", "refs/otto/runs/*/tip").split()
    return dict(zip(rows[::2], rows[1::2], strict=True))


def unfinished(repo: Path) -> list[str]:
    with Journal.open(repo / ".git/otto" / STORE) as journal:
        return journal.unfinished()


def looked_at(repo: Path) -> list[str]:
    """Compare journal and Git, and have Git look at its objects; gives in words what is wrong."""
    found = []
    repository = GitRepository.discover(repo)
    with Journal.open(repo / ".git/otto" / STORE) as journal:
        runs = [journal.load(name) for name in journal.run_ids()]
        found += [f"{name} is not over" for name in journal.unfinished()]
    for one in runs:
        told = {task.id for task in one.tasks.values() if task.status is TaskStatus.LANDED}
        if told != (landed_in_git(repository, one) or set()):
            found.append(f"{one.id}: journal and Git differ")
        trailer = "--format=%(trailers:key=Otto-Task,valueonly,separator=)"
        names = git(repo, "log", "--first-parent", trailer, f"{one.start.base}..{run_ref(one.id, 'tip')}")
        found += [f"{one.id}: {name} twice" for name, count in Counter(names.split()).items() if count > 1]
    fsck = subprocess.run(
        ["git", "fsck", "--strict", "--no-dangling"], cwd=repo, capture_output=True, text=True, check=False
    )
    return [*found, *([fsck.stderr] if fsck.returncode else [])]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), [int(size) for size in sys.argv[5:]])
