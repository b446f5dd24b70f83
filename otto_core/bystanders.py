"""Who is in a directory: a living process that works there, or has something there open or executes it.

Read from proc(5), where a link of each process leads to each such thing. Another user's processes may not be
looked at; they cannot enter a directory that only this user may either. Elsewhere, psutil answers.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Bystander:
    """A process, and what it has in the directory."""

    pid: int
    name: str
    what: str

    def __str__(self) -> str:
        """Say who it is."""
        return f"process {self.pid} ({self.name}), by {self.what},"


def bystander(places: Collection[Path], *, less: Collection[int] = ()) -> Bystander | None:
    """Find a process that is in one of some directories, or below; those in `less` do not count."""
    roots = tuple(os.fsencode(os.path.realpath(place)) for place in places)
    for pid in sorted(set(psutil.pids()) - set(less)):
        for what, target in _leads(pid):
            if any(target == root or target.startswith(root + b"/") for root in roots):
                return Bystander(pid, _name(pid), what)
    return None


def _leads(pid: int) -> Iterator[tuple[str, bytes]]:
    """Give what a process uses, in words and as a path."""
    if not _PROC.is_dir():
        yield from _told(pid)
        return
    process = b"/proc/%d" % pid
    for link, what in ((b"cwd", "its working directory"), (b"root", "its root"), (b"exe", "its program")):
        with suppress(OSError):
            yield what, os.readlink(b"%s/%s" % (process, link))  # noqa: PTH115 - bytes
    with suppress(OSError):
        for descriptor in os.listdir(b"%s/fd" % process):  # noqa: PTH208 - bytes
            with suppress(OSError):  # closed meanwhile
                yield "an open file", os.readlink(b"%s/fd/%s" % (process, descriptor))  # noqa: PTH115


def _told(pid: int) -> Iterator[tuple[str, bytes]]:
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        yield "its working directory", os.fsencode(process.cwd())
        yield from (("an open file", os.fsencode(file.path)) for file in process.open_files())


def _name(pid: int) -> str:
    with suppress(psutil.Error):
        return psutil.Process(pid).name()
    return "gone"
