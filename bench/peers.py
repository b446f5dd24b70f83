"""The same graph of no-op tasks by doit, luigi and snakemake.

They do less: their tasks run side by side in one directory, so nothing is isolated, gated, merged or
committed. The graph: one root, a fan of four fifths of the tasks that each stand on it, and a chain of the
rest from it. Every task is one `sh` that writes one file.

The three are installed into an environment of their own, from `requirements.txt` with its hashes, and only
when the environment does not hold exactly that.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
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

FULL: Final = Sizes(files=(200,), tasks=100, rounds=3)
QUICK: Final = Sizes(files=(200,), tasks=20, rounds=1)

_REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")

_DODO: Final = """\
GRAPH = {graph!r}


def task_file():
    for number, before in GRAPH.items():
        yield {{
            "name": str(number),
            "actions": [f"echo {{number}} > task-{{number}}.txt"],
            "file_dep": [f"task-{{other}}.txt" for other in before],
            "targets": [f"task-{{number}}.txt"],
        }}
"""

_LUIGI: Final = """\
import subprocess

import luigi

GRAPH = {graph!r}


class File(luigi.Task):
    number = luigi.IntParameter()

    def requires(self):
        return [File(number=other) for other in GRAPH[self.number]]

    def output(self):
        return luigi.LocalTarget(f"task-{{self.number}}.txt")

    def run(self):
        subprocess.run(["sh", "-c", f"echo {{self.number}} > task-{{self.number}}.txt"], check=True)


class All(luigi.WrapperTask):
    def requires(self):
        return [File(number=number) for number in GRAPH]
"""

_RULE: Final = """\
rule file_{number}:
    input: {inputs}
    output: "task-{number}.txt"
    shell: "echo {number} > task-{number}.txt"
"""

Graph = Mapping[int, Sequence[int]]
"""By each task those that it stands on; a task comes after them."""

PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "doit": ("doit", "-n", "4"),
    "luigi": ("luigi", "--module", "tasks", "All", "--local-scheduler", "--workers", "4"),
    "snakemake": ("snakemake", "--cores", "4", "--quiet", "all"),
}


def graph(tasks: int) -> Graph:
    """Make the graph: task 1 is the root."""
    fan = range(2, 2 + (tasks - 1) * 4 // 5)
    chain = range(fan.stop, tasks + 1)
    before = {number: [1] for number in fan} | {number: [number - 1] for number in chain}
    return {1: [], **before, **({chain.start: [1]} if chain else {})}


def measure(sizes: Sizes, scratch: Path, peers: Sequence[str] = tuple(PROGRAMS)) -> Section:
    """Measure Otto and the peers that are named, in turn."""
    made = graph(sizes.tasks)
    programs = install(scratch.resolve().parent / "bench-peers") if peers else Path()
    with workplace(scratch) as place:
        template = make_repository(place, sizes.files[0])
        sides: dict[str, Side] = {"otto": partial(_by_otto, template, made)}
        sides |= {name: partial(_by_peer, name, programs, place, made) for name in peers}
        times = in_turn(sides, sizes.rounds)
    otto = times.pop("otto")
    figures = [
        Figure(
            f"{sizes.tasks} tasks, beside {_named(name, programs)}",
            str(otto),
            str(peer),
            otto.median / peer.median,
        )
        for name, peer in times.items()
    ]
    return Section(
        title="The same graph by doit, luigi and snakemake",
        beside="peer",
        figures=tuple(figures) or (Figure(f"{sizes.tasks} tasks", str(otto), "", None),),
        how=f"""
            Task 1, then four fifths of the tasks that each stand on it and a chain of the rest, four at a
            time; every task is one `sh` that writes one file; wall time of the program,
            {rounds_of(sizes.rounds)}, in turn. Otto works on a repository of {sizes.files[0]:,} files. The
            others do less: all their tasks work in one directory, nothing is isolated, judged, merged,
            committed or known after a crash. There is no target.
            """,
    )


def install(venv: Path) -> Path:
    """Make the environment of the peers hold what `requirements.txt` says; gives its programs' directory.

    Raises:
        RuntimeError: pip fails, for want of a network say.

    """
    wanted = sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    stamp = venv / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        caller, here = dict(os.environ), Path.cwd()
        run([sys.executable, "-m", "venv", "--clear", str(venv)], caller, cwd=here)
        pip = [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "-r", str(_REQUIREMENTS)], caller, cwd=here)
        stamp.write_text(wanted)
    return venv / "bin"


def _named(name: str, programs: Path) -> str:
    """Give the name of a peer with its version."""
    asked = f"import importlib.metadata as m; print(m.version({name!r}))"
    python = str(programs / "python")
    return f"{name} {run([python, '-c', asked], dict(os.environ), cwd=Path.cwd()).strip()}"


def _by_otto(template: Path, made: Graph) -> float:
    environ = environment(template.parent)
    with copy_of(template) as repo:
        plan = write_plan(repo, made)
        seconds = timed(lambda: build(repo, plan, environ))
        require_landed(repo, "otto/bench", len(made), environ)
    return seconds


def _by_peer(name: str, programs: Path, place: Path, made: Graph) -> float:
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    program, *arguments = PROGRAMS[name]
    with TemporaryDirectory(dir=place) as scratch:
        directory = Path(scratch)
        environ = environment(place, PATH=path, PYTHONPATH=scratch)
        write_input(name, directory, made)
        argv = [str(programs / program), *arguments]
        seconds = timed(lambda: run(argv, environ, cwd=directory))
        missing = [number for number in made if not (directory / f"task-{number}.txt").exists()]
        if missing:
            raise RuntimeError(f"{name} did not do the tasks {missing}")
    return seconds


def write_input(name: str, directory: Path, made: Graph) -> None:
    """Write the graph in the language of a peer."""
    match name:
        case "doit":
            (directory / "dodo.py").write_text(_DODO.format(graph=dict(made)))
        case "luigi":
            (directory / "tasks.py").write_text(_LUIGI.format(graph=dict(made)))
        case "snakemake":
            (directory / "Snakefile").write_text("\n".join(_snake_rules(made)))
        case _:
            raise ValueError(f"{name} is no peer")


def _snake_rules(made: Graph) -> Iterator[str]:
    def names(numbers: Iterable[int]) -> str:
        return ", ".join(f'"task-{number}.txt"' for number in numbers)

    yield f"rule all:\n    input: {names(made)}\n"
    for number, before in made.items():
        yield _RULE.format(number=number, inputs=names(before))
