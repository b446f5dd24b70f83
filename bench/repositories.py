"""Repositories to work on, the environment of all that is measured, and `otto build` itself."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory

from bench.timing import PROGRAM_LIMIT_S

_GITCONFIG = """\
[user]
\tname = Bench
\temail = bench@example.com
[init]
\tdefaultBranch = main
[gc]
\tauto = 0
[maintenance]
\tauto = false
"""
"""No side pays for collecting garbage in the middle."""

OTTO = (str(Path(sys.executable).with_name("otto")),)
"""The program as it is installed beside this Python."""


@contextmanager
def workplace(scratch: Path) -> Iterator[Path]:
    """Give an empty directory on the disk that is measured, with a home of its own in it."""
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch.resolve()) as place:
        home = Path(place) / "home"
        home.mkdir()
        (home / ".gitconfig").write_text(_GITCONFIG)
        yield Path(place)


def environment(place: Path, **more: str) -> dict[str, str]:
    """Give the environment of every program that is measured: no configuration but the workplace's own."""
    home = place / "home"
    own = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "OTTO_WORKTREES_ROOT": str(place / "worktrees"),
        "LC_ALL": "C.UTF-8",
    }
    foreign = ("GIT_", "OTTO_", "XDG_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **own, **more}


def run(argv: Sequence[str], environ: Mapping[str, str], *, cwd: Path, stdin: bytes = b"") -> str:
    """Run a program and give what it prints.

    Raises:
        RuntimeError: it fails; the message carries the end of what it said.

    """
    process = subprocess.Popen(
        argv, cwd=cwd, env=environ, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        out, err = process.communicate(stdin, timeout=PROGRAM_LIMIT_S)
    except BaseException:  # a Ctrl-C too: nothing that was started stays behind
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        said = (out + err).decode("utf-8", "replace")[-1000:]
        raise RuntimeError(f"`{' '.join(argv)[:200]}` exited with {process.returncode}: {said}")
    return out.decode("utf-8", "replace")


def file_name(number: int) -> str:
    """Name the file of a number; no directory has more than 50 entries, up to 125,000 files."""
    return f"d{number // 2500}/e{number // 50 % 50}/f{number}.txt"


def make_repository(place: Path, files: int, more: Mapping[str, str] | None = None) -> Path:
    """Make a repository with one packed commit of small files, checked out; `more` are further files."""
    repo = place / "template"
    repo.mkdir()
    environ = environment(place)
    run(["git", "init", "--quiet"], environ, cwd=repo)
    contents = {file_name(number): f"{number}\n" * 20 for number in range(files)} | dict(more or {})
    write_commits(repo, {"refs/heads/main": (None, contents)}, environ)
    run(["git", "reset", "--quiet", "--hard"], environ, cwd=repo)
    return repo


Commits = Mapping[str, tuple[str | None, Mapping[str, str]]]
"""By the ref to make: the ref to stand on, or None, and the files to write there."""


def write_commits(repo: Path, commits: Commits, environ: Mapping[str, str]) -> None:
    """Write commits with their refs, packed, without a checkout (git-fast-import(1))."""
    stream = []
    for ref, (parent, files) in commits.items():
        stream += [f"commit {ref}", "committer Bench <bench@example.com> 1700000000 +0000", "data 0"]
        stream += [f"from {parent}"] if parent else []
        for name, content in files.items():
            stream += [f"M 100644 inline {name}", f"data {len(content.encode())}", content]
    run(["git", "fast-import", "--quiet"], environ, cwd=repo, stdin="\n".join([*stream, ""]).encode())
    run(["git", "repack", "-adq"], environ, cwd=repo)


@contextmanager
def copy_of(template: Path) -> Iterator[Path]:
    """Give a fresh copy of a repository beside it, its index refreshed and its files in the page cache."""
    with TemporaryDirectory(dir=template.parent, prefix="copy-") as beside:
        repo = Path(beside) / "repo"
        shutil.copytree(template, repo, symlinks=True)
        run(["git", "status", "--short"], environment(template.parent), cwd=repo)
        yield repo


def write_plan(repo: Path, tasks: Mapping[int, Sequence[int]]) -> Path:
    """Write a plan of tasks that each write one file; gives its place, beside the repository."""
    rows = [
        f"  - {{id: t{n}, owns: [task-{n}.txt], depends_on: [{', '.join(f't{b}' for b in before)}],"
        f" run: 'echo {n} > task-{n}.txt'}}"
        for n, before in tasks.items()
    ]
    plan = repo.parent / "plan.yaml"
    plan.write_text("\n".join(["version: 1", "intent: bench", "tasks:", *rows, ""]))
    return plan


def build(repo: Path, plan: Path, environ: Mapping[str, str], *options: str) -> None:
    """Do a plan with `otto build`, four tasks at a time."""
    run([*OTTO, "build", "--plan", str(plan), "--concurrency", "4", *options], environ, cwd=repo)


def require_landed(repo: Path, ref: str, tasks: int, environ: Mapping[str, str]) -> None:
    """Make sure that a side did its work: so many merges on the first-parent chain, and so many files.

    Raises:
        RuntimeError: it did not.

    """
    merges = run(["git", "rev-list", "--count", "--first-parent", "--merges", ref], environ, cwd=repo)
    names = run(["git", "ls-tree", "--name-only", ref], environ, cwd=repo).split()
    written = sum(name.startswith("task-") for name in names)
    if (int(merges), written) != (tasks, tasks):
        raise RuntimeError(f"{ref} has {merges.strip()} merges and {written} files of {tasks} tasks")
