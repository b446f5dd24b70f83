"""What orchestration costs: 100 tasks that each write one file, by Otto and by a loop of git commands.

Both run here, one after the other, on equal repositories, four at a time. The figure that counts is the ratio
of the medians. The loop tries again where `git worktree` trips over one that another task adds or removes.

    python bench/noop.py [--tasks 100] [--files 200 2000] [--repeat 3]
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOOP = """
set -eu
cd "$1"
for n in $(seq "$2"); do echo "$n"; done | xargs -P4 -I{} sh -c '
  until git worktree add -q --force -B topic-{} "$0/wt-{}" main 2>/dev/null; do rm -rf "$0/wt-{}"; done
  echo {} > "$0/wt-{}/task-{}.txt"
  git -C "$0/wt-{}" add -A && git -C "$0/wt-{}" commit -qm "task {}"
  flock "$0/lock" git -C "$0/main" merge -q --no-ff -m "merge {}" topic-{}
  until git worktree remove --force "$0/wt-{}" 2>/dev/null; do test -e "$0/wt-{}" || break; done
' "$3"
"""


def make_repository(place: Path, files: int) -> None:
    """Make a repository with one commit of small files, at most 50 in a directory."""
    place.mkdir(parents=True)
    git(place, "init", "-q", "-b", "main")
    for number in range(files):
        path = place / f"d{number // 2500}" / f"e{number // 50 % 50}" / f"f{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * 20)
    git(place, "add", "-A")
    git(place, "commit", "-qm", "start")


def git(place: Path, *args: str) -> None:
    """Run git (CalledProcessError if it fails)."""
    subprocess.run(["git", "-C", str(place), *args], check=True, stdout=subprocess.DEVNULL)


def by_loop(repo: Path, tasks: int) -> None:
    """Do the work with worktrees, commits and merges under a lock."""
    side = repo.parent / "side"
    side.mkdir()
    git(repo, "checkout", "-q", "--detach")
    git(repo, "worktree", "add", "-q", str(side / "main"), "main")
    subprocess.run(
        ["sh", "-c", LOOP, "loop", str(repo), str(tasks), str(side)], check=True, stdout=subprocess.DEVNULL
    )


def by_otto(repo: Path, tasks: int) -> None:
    """Do the work with `otto build`."""
    plan = repo.parent / "plan.yaml"
    items = "".join(
        f"  - {{id: t{n}, owns: [task-{n}.txt], run: 'echo {n} > task-{n}.txt'}}\n"
        for n in range(1, tasks + 1)
    )
    plan.write_text(f"version: 1\nintent: bench\ntasks:\n{items}")
    environ = {**os.environ, "OTTO_WORKTREES_ROOT": str(repo.parent / "worktrees")}
    otto = [sys.executable, "-m", "otto_core.cli.main", "-C", str(repo)]
    command = [*otto, "build", "--plan", str(plan), "--concurrency", "4"]
    subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(way: Callable[[Path, int], None], template: Path, tasks: int, repeat: int) -> float:
    """Give the median wall time in seconds, each time on a fresh copy of the template."""
    times = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as scratch:
            repo = Path(scratch) / "repo"
            shutil.copytree(template, repo, symlinks=True)
            git(repo, "status", "-s")
            started = time.perf_counter()
            way(repo, tasks)
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Measure and print a table in Markdown."""
    options = argparse.ArgumentParser()
    options.add_argument("--tasks", type=int, default=100)
    options.add_argument("--files", type=int, nargs="+", default=[200, 2000])
    options.add_argument("--repeat", type=int, default=3)
    asked = options.parse_args()
    machine = f"{os.cpu_count()} cores, {platform.system()}"
    print(f"{asked.tasks} tasks, four at a time, median of {asked.repeat}; {machine}\n")
    print("| files | git loop, s | otto, s | ratio | otto, ms a task |\n|---|---|---|---|---|")
    for files in asked.files:
        with tempfile.TemporaryDirectory() as scratch:
            template = Path(scratch) / "template"
            make_repository(template, files)
            loop = measure(by_loop, template, asked.tasks, asked.repeat)
            otto = measure(by_otto, template, asked.tasks, asked.repeat)
        print(
            f"| {files:,} | {loop:.2f} | {otto:.2f} | {otto / loop:.2f} | {otto / asked.tasks * 1000:.0f} |"
        )


if __name__ == "__main__":
    main()
