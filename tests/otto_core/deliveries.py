"""A finished run to land on a checkout that a person works in, by `otto`, also killed; how that looks."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from otto_core.cli.main import main
from otto_core.model import Outcome
from tests.builders import Files, RunBuilder, git, make_repo, plan, task

ROOT = Path(__file__).parents[2]
RUN = "r-20261120-aaaa"
FILES: dict[str | bytes, str | bytes] = {
    "README.md": "A shop.\n",
    "a/changed.txt": "old\n",
    "a/removed.txt": "old\n",
    "a/swapped": "a file\n",
    "a/tree/one.txt": "one\n",
    "a/tree/two.txt": "two\n",
    "notes.txt": "notes\n",
    "staged.txt": "as committed\n",
}
LANDS: Files = {
    "a/changed.txt": "new\n" * 2000,
    "a/removed.txt": None,
    "a/swapped": None,
    "a/swapped/now-a-directory.txt": "new\n",
    "a/tree/one.txt": None,
    "a/tree/two.txt": None,
    "a/tree": "now a file\n",
    "a/added/deep.txt": "new\n",
    b"a/caf\xe9.txt": "latin\n",
}


def make_template(place: Path, *, moved: bool) -> Path:
    """Make a repository with a finished run and a person's own work in the checkout; main moved on or not."""
    repo = make_repo(place, FILES)
    base = git(repo, "rev-parse", "HEAD")
    built = RunBuilder(repo, whole=plan(base, task("a", owns=["a/**"]), each=["test -e README.md"]))
    built.do("a", LANDS)
    built.finish(Outcome.LANDED)
    built.journal.close()
    if moved:
        (repo / "README.md").write_text("A shop that moved.\n")
        git(repo, "commit", "--quiet", "--all", "--message", "mine")
    (repo / "notes.txt").write_text("edited\n")
    (repo / "staged.txt").write_text("staged\n")
    git(repo, "add", "staged.txt")
    (repo / "staged.txt").write_text("edited after it was staged\n")
    (repo / "untracked.txt").write_text("mine\n")
    return repo


@dataclass(frozen=True)
class Looks:
    """All that a person could tell two checkouts apart by; commits by their trees and parents."""

    files: dict[str, bytes]
    status: str
    index: str
    tree: str
    branches: str
    leftovers: list[str]


def looks(repo: Path) -> Looks:
    """Give all that a checkout shows."""
    files = [path for path in repo.rglob("*") if path.is_file() and ".git" not in path.parts]
    tips = git(repo, "for-each-ref", "--format=%(refname) %(tree)", "refs/heads")
    return Looks(
        files={os.fsencode(path.relative_to(repo)).decode("latin-1"): path.read_bytes() for path in files},
        status=git(repo, "status", "--porcelain"),
        index=git(repo, "ls-files", "--stage"),
        tree=git(repo, "rev-parse", "HEAD^{tree}"),
        branches=tips + (repo / ".git/HEAD").read_text(),
        leftovers=[
            str(p.relative_to(repo)) for p in (repo / ".git").rglob("*.lock") if "otto" not in p.parts
        ],
    )


def otto(repo: Path, *args: str) -> Result:
    """Run `otto` in a checkout, in this process."""
    with contextlib.chdir(repo):
        return CliRunner().invoke(main, list(args))


def environment() -> dict[str, str]:
    """Give the environment of a process that imports from this tree."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def kill(repo: Path, step: str, number: int, when: str) -> None:
    """Run `otto land` in a process that is killed before or after the `number`th call of a step."""
    command = [sys.executable, "-m", "tests.otto_core.killed_landing", step, str(number), when, "land"]
    done = subprocess.run(
        command, cwd=repo, env=environment(), capture_output=True, start_new_session=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
