"""How soon `otto` answers, beside an empty Python program, and how much memory a large run takes."""

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.report import Figure, Section
from bench.repositories import (
    OTTO,
    build,
    copy_of,
    environment,
    make_repository,
    require_landed,
    workplace,
    write_plan,
)
from bench.timing import PROGRAM_LIMIT_S, Side, Sizes, in_turn, rounds_of, timed_process

FULL: Final = Sizes(files=(200,), tasks=1_000, rounds=20)
QUICK: Final = Sizes(files=(200,), tasks=20, rounds=5)

_STARTS: Final = 7.0
_MEGABYTES: Final = 80.0
_STATUS_TASKS: Final = 10
_GLANCE_S: Final = 0.02


def measure(sizes: Sizes, scratch: Path) -> Section:
    """Measure the start of `otto --help` and `otto status`, and the memory of `otto build`."""
    with workplace(scratch) as place:
        template = make_repository(place, sizes.files[0])
        told = min(_STATUS_TASKS, sizes.tasks)
        figures = [*_starts(template, told, sizes.rounds)]
        skipped = []
        if Path("/proc/self/status").exists():
            figures.append(_memory(template, sizes.tasks))
        else:
            skipped.append("the memory of `otto build`, which is read from /proc")
    return Section(
        title="Start and memory",
        beside="python -c pass",
        figures=tuple(figures),
        skipped=tuple(skipped),
        how=f"""
            Start: {rounds_of(sizes.rounds)} of one process each, in turn, of the same Python, output to a
            file; `otto status` of a finished run of {told} tasks. Memory: the peak of resident
            memory of the process of `otto build` itself (`VmHWM`), of independent no-op tasks, four at a
            time; those of its children do not count.
            """,
    )


def _starts(template: Path, tasks: int, rounds: int) -> Sequence[Figure]:
    environ = environment(template.parent)
    with copy_of(template) as repo:
        build(repo, write_plan(repo, dict.fromkeys(range(1, tasks + 1), ())), environ)
        out = repo.parent / "out"
        commands = {
            "python": (sys.executable, "-c", "pass"),
            "otto --help": (*OTTO, "--help"),
            "otto status": (*OTTO, "-C", str(repo), "status"),
        }
        sides: dict[str, Side] = {
            name: partial(timed_process, argv, environ, out) for name, argv in commands.items()
        }
        for side in sides.values():
            side()  # the first finds nothing in the page cache
        times = in_turn(sides, rounds)
    python = times.pop("python")
    return [
        Figure(f"`{name}`", str(otto), str(python), otto.median / python.median, _STARTS)
        for name, otto in times.items()
    ]


def _memory(template: Path, tasks: int) -> Figure:
    """Build a run of so many tasks and watch the peak of its process."""
    environ = environment(template.parent)
    with copy_of(template) as repo:
        plan = write_plan(repo, dict.fromkeys(range(1, tasks + 1), ()))
        begun = time.perf_counter()
        peak = _peak_of([*OTTO, "build", "--plan", str(plan), "--concurrency", "4"], repo, environ)
        seconds = time.perf_counter() - begun
        require_landed(repo, "otto/bench", tasks, environ)
    return Figure(
        f"peak memory of {tasks:,} tasks",
        f"{peak:.1f} MB, in {seconds:.0f} s",
        "",
        peak,
        _MEGABYTES if tasks == FULL.tasks else None,
        unit="MB",
    )


def _peak_of(argv: Sequence[str], repo: Path, environ: dict[str, str]) -> float:
    """Run a program to its end; gives the peak of its resident memory in megabytes (10**6 bytes).

    The kernel keeps the peak; it is looked at again and again because it goes with the process. Of what
    wait4(2) gives, the peak also counts children and whoever started the program.
    """
    kilobytes = 0
    with subprocess.Popen(
        argv, cwd=repo, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        limit = time.monotonic() + PROGRAM_LIMIT_S
        while process.poll() is None:
            kilobytes = max(kilobytes, _high_water(process.pid))
            if time.monotonic() > limit:
                process.terminate()
            time.sleep(_GLANCE_S)
    if process.returncode != 0:
        raise RuntimeError(f"`otto build` exited with {process.returncode}")
    return kilobytes * 1024 / 1e6


def _high_water(pid: int) -> int:
    """Read the peak in KiB; 0 where the process is just ending."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
