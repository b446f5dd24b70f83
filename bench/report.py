"""What a part found, as a table in Markdown, and the page of all parts."""

import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from textwrap import fill

import psutil


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table: Otto, what stands beside it, and the one value that is judged.

    `value` and `limit` are in `unit`; no limit is a figure that nobody promised.
    """

    name: str
    otto: str
    beside: str
    value: float | None
    limit: float | None = None
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """Whether the target is met; nothing where there is none."""
        if self.limit is None or self.value is None:
            return ""
        return "met" if self.value <= self.limit else "**missed**"

    def row(self) -> str:
        """Write the line."""
        value = "" if self.value is None else _with_unit(self.value, self.unit)
        limit = "" if self.limit is None else f"at most {_with_unit(self.limit, self.unit)}"
        return _row((self.name, self.otto, self.beside, value, limit, self.verdict))


@dataclass(frozen=True, slots=True)
class Section:
    """What one part found: its table, what was left out and why, and how it was measured."""

    title: str
    beside: str
    figures: tuple[Figure, ...]
    how: str
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        paragraphs = [*(f"Not measured: {what}." for what in self.skipped), self.how]
        words = "\n\n".join(map(_filled, filter(None, paragraphs)))
        if not self.figures:
            return f"## {self.title}\n\n{words}\n"
        head = [_row(("figure", "otto", self.beside, "value", "target", "")), "|---|---|---|---|---|---|"]
        table = "\n".join([*head, *(figure.row() for figure in self.figures)])
        return f"## {self.title}\n\n{table}\n\n{words}\n"


def failed_section(part: str) -> Section:
    """Stand in for a part that failed; why is on standard error, where it may name paths and hosts."""
    return Section(part, "", (), "", (f"{part}, because it failed when this was written",))


def page(sections: Iterable[Section], command: str, place: Path, begun: datetime) -> str:
    """Write the page of all parts, with machine, versions, command and date."""
    facts = "\n".join(f"| {name} | {value} |" for name, value in _facts(command, place, begun))
    return (
        "# What Otto costs\n\n"
        + _filled(
            f"Written by `{command}`; [how to read it](README.md). A figure is a median, in brackets the"
            " least and the most. A value in x is Otto's figure divided by the one beside it."
        )
        + f"\n\n| | |\n|---|---|\n{facts}\n\n"
        + "\n".join(map(str, sections))
    )


def _facts(command: str, place: Path, begun: datetime) -> Sequence[tuple[str, str]]:
    ended = datetime.now(UTC)
    memory = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return (
        ("date", f"{begun:%Y-%m-%d %H:%M} UTC, took {(ended - begun).total_seconds() / 60:.0f} minutes"),
        ("command", f"`{command}`"),
        ("otto", _own_version()),
        ("machine", f"{len(os.sched_getaffinity(0))} cores ({_processor()}), {memory:.0f} GiB of memory"),
        (
            "system",
            f"{platform.system()} {platform.release().partition('-')[0]}, files on {file_system(place)}",
        ),
        ("load at the end", f"{load} (1, 5, 15 minutes)"),
        ("programs", f"Python {platform.python_version()}, {_first_line('git', '--version')}"),
        ("libraries", f"pygit2 {version('pygit2')}, SQLite {sqlite3.sqlite_version}"),
    )


def file_system(place: Path) -> str:
    """Name the type of the file system that a directory lies on."""
    mounts = sorted(psutil.disk_partitions(all=True), key=lambda mount: len(mount.mountpoint))
    found = [mount.fstype for mount in mounts if place.resolve().is_relative_to(mount.mountpoint)]
    return found[-1] if found else "an unknown file system"


@cache
def _own_version() -> str:
    """Name version and commit as they were before the page itself changed the checkout."""
    here = str(Path(__file__).parent)
    commit = _first_line("git", "-C", here, "describe", "--always", "--dirty", "--exclude=*")
    return f"{version('otto-core')}, commit {commit}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _first_line(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return next(iter(done.stdout.splitlines()), "unknown")


def _filled(paragraph: str) -> str:
    return fill(" ".join(paragraph.split()), width=110, break_long_words=False, break_on_hyphens=False)


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.3g}{unit}" if unit == "x" else f"{value:.3g} {unit}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
