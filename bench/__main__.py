"""`python -m bench [PART ...]`: measures the parts that are named, or all of them.

The tables go to standard output; `--output FILE` writes the page of all that was measured.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import core, durability, isolation, merging, noop, peers, recovery, start
from bench.report import Section, failed_section, page
from bench.timing import Sizes


@dataclass(frozen=True, slots=True)
class Part:
    """One part: what it measures, how much of it, and how much in a trial."""

    measure: Callable[[Sizes, Path], Section]
    full: Sizes
    quick: Sizes


PARTS: Final[Mapping[str, Part]] = {
    "noop": Part(noop.measure, noop.FULL, noop.QUICK),
    "peers": Part(peers.measure, peers.FULL, peers.QUICK),
    "merge": Part(merging.measure, merging.FULL, merging.QUICK),
    "core": Part(core.measure, core.FULL, core.QUICK),
    "start": Part(start.measure, start.FULL, start.QUICK),
    "isolation": Part(isolation.measure, isolation.FULL, isolation.QUICK),
    "durability": Part(durability.measure, durability.FULL, durability.QUICK),
    "recovery": Part(recovery.measure, recovery.FULL, recovery.QUICK),
}


def main() -> int:
    """Measure what the command line asks for; 1 if a part could not be measured."""
    asked = _arguments()
    begun = datetime.now(UTC)
    sections, failed = [], False
    for name in asked.parts or PARTS:
        print(f"{datetime.now(UTC):%H:%M:%S} {name}", file=sys.stderr)
        part = PARTS[name]
        sizes = _sizes(part.quick if asked.quick else part.full, asked)
        try:
            section = part.measure(sizes, asked.scratch)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
            section = failed_section(name)
        sections.append(section)
        print(section, flush=True)
        if asked.output:
            command = " ".join(["python -m bench", *sys.argv[1:]])
            asked.output.write_text(page(sections, command, asked.scratch, begun))
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    options.add_argument("--quick", action="store_true", help="a trial: small sizes, one round")
    options.add_argument(
        "--files", type=int, nargs="+", help="sizes of the repository instead of the part's own"
    )
    options.add_argument("--tasks", type=int, help="tasks a run instead of the part's own")
    options.add_argument("--rounds", type=int, help="rounds instead of the part's own")
    options.add_argument("--output", type=Path, help="write the page of all that was measured")
    options.add_argument(
        "--scratch", type=Path, default=Path(".cache/bench"), help="where to work: on the disk to measure"
    )
    asked = options.parse_intermixed_args()
    unknown = [name for name in asked.parts if name not in PARTS]
    if unknown:
        options.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return asked


def _sizes(own: Sizes, asked: argparse.Namespace) -> Sizes:
    return replace(
        own,
        files=tuple(asked.files or own.files),
        tasks=asked.tasks or own.tasks,
        rounds=asked.rounds or own.rounds,
        rounds_if_large=asked.rounds or own.rounds_if_large,
    )


if __name__ == "__main__":
    sys.exit(main())
