"""Tasks that each write one file, four at a time: `otto build` beside a loop of git commands.

The loop is what people write by hand: `git worktree add`, edit, `git commit`, `git merge --no-ff` under a
lock, `git worktree remove`, by `xargs -P4`. It tries again where `git worktree` trips over one that another
task adds or removes. It does less than Otto: nothing is checked, synced to the disk, or known after a crash.
"""

from functools import partial
from pathlib import Path
from typing import Final

from bench.report import Figure, Section
from bench.repositories import (
    build,
    copy_of,
    environment,
    make_repository,
    require_landed,
    run,
    workplace,
    write_plan,
)
from bench.timing import Side, Sizes, in_turn, rounds_of, timed

FULL: Final = Sizes(files=(200, 5_000), tasks=100, rounds=3, rounds_if_large=2)
QUICK: Final = Sizes(files=(200,), tasks=20, rounds=1)

_LARGE: Final = 1_000
_TARGETS: Final = {200: 0.7, 5_000: 0.25}
_LOOP: Final = """
set -eu
seq "$2" | xargs -P4 -I{} sh -ec '
  until git -C "$0" worktree add -q --force -B topic-{} "$1/wt-{}" main \
    2>>"$1/said"; do rm -rf "$1/wt-{}"; done
  echo {} > "$1/wt-{}/task-{}.txt"
  git -C "$1/wt-{}" add -A
  git -C "$1/wt-{}" commit -qm "task {}"
  flock "$1/lock" git -C "$0" merge -q --no-ff -m "merge {}" topic-{}
  until git -C "$0" worktree remove --force "$1/wt-{}" 2>>"$1/said"; do test -e "$1/wt-{}" || break; done
' "$1" "$3"
"""


def measure(sizes: Sizes, scratch: Path) -> Section:
    """Measure both sides at each size of the repository."""
    return Section(
        title="No-op tasks: Otto beside a loop of git commands",
        beside="git loop",
        figures=tuple(_compare(files, sizes, scratch) for files in sizes.files),
        how=f"""
            {sizes.tasks} tasks that each write one file, four at a time; wall time of the whole, the sides
            in turn: {_told(sizes)}. Both start from copies of one packed repository on the same disk, in
            the page cache and synced. The loop is `git worktree add`, edit, `git commit`, `git merge
            --no-ff` under a lock, `git worktree remove`, by `xargs -P4`. Otto runs as by default.
            Afterwards the merges and the files of either side are counted. Otto also gates, audits and
            journals, and syncs what it lands to the disk, which git by default does not.
            """,
    )


def _compare(files: int, sizes: Sizes, scratch: Path) -> Figure:
    with workplace(scratch) as place:
        template = make_repository(place, files)
        sides: dict[str, Side] = {
            "loop": partial(by_loop, template, sizes.tasks),
            "otto": partial(by_otto, template, sizes.tasks),
        }
        times = in_turn(sides, _rounds(sizes, files))
    otto, loop = times["otto"], times["loop"]
    each = f"{otto.median / sizes.tasks * 1000:.0f} ms a task"
    return Figure(
        f"{sizes.tasks} tasks on {files:,} files",
        f"{otto}, {each}",
        str(loop),
        otto.median / loop.median,
        _TARGETS.get(files) if sizes.tasks == FULL.tasks else None,
    )


def _told(sizes: Sizes) -> str:
    return ", ".join(f"{rounds_of(_rounds(sizes, files))} on {files:,} files" for files in sizes.files)


def _rounds(sizes: Sizes, files: int) -> int:
    return sizes.rounds_if_large or sizes.rounds if files > _LARGE else sizes.rounds


def by_loop(template: Path, tasks: int) -> float:
    """Do the work with worktrees, commits and merges under a lock; gives its seconds."""
    environ = environment(template.parent)
    with copy_of(template) as repo:
        side = repo.parent / "side"
        side.mkdir()
        seconds = timed(
            lambda: run(["sh", "-c", _LOOP, "loop", str(repo), str(tasks), str(side)], environ, cwd=repo)
        )
        require_landed(repo, "main", tasks, environ)
    return seconds


def by_otto(template: Path, tasks: int, *options: str) -> float:
    """Do the work with `otto build`; gives its seconds."""
    with copy_of(template) as repo:
        environ = environment(template.parent, OTTO_WORKTREES_ROOT=str(repo.parent / "worktrees"))
        plan = write_plan(repo, dict.fromkeys(range(1, tasks + 1), ()))
        seconds = timed(lambda: build(repo, plan, environ, *options))
        require_landed(repo, "otto/bench", tasks, environ)
    return seconds
