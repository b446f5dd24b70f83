"""What the system tells of processes: who they are, what descends from whom, what is left of them.

A process id alone names nothing for long: ids are used again. So a process is known by the boot it lives
in, its id and its start time (proc(5), field 22 of `stat`), and is held by a pidfd (pidfd_open(2)) where one
is at hand. On systems without `/proc`, psutil answers.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

_PROC = Path("/proc")
_LOOKS = 5
"""How often, at most, the descendants of a process are looked for."""

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2), Linux


@cache
def become_subreaper() -> bool:
    """Have orphans of all descendants become this process's children; False where the system cannot.

    Then whatever an execution leaves behind still descends from this process, and a look at its descendants
    finds all of it.
    """
    if not sys.platform.startswith("linux"):
        return False
    return int(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


_M_ARENA_MAX = -8  # mallopt(3), glibc


def spare_memory() -> None:
    """Have all threads share one heap, and give back what is free of it; for a process that is Otto's own.

    Threads that each keep a heap hold several megabytes that none of them uses (mallopt(3), malloc_trim(3)).
    Nothing happens where the C library has no such calls.
    """
    library = ctypes.CDLL(None)
    with suppress(AttributeError):
        library.mallopt(_M_ARENA_MAX, 1)
        library.malloc_trim(0)


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of one boot: never another's, whatever becomes of its id."""

    boot: str
    pid: int
    started: str
    """Start time in the system's own unit, compared as text and nothing else."""


@cache
def boot_id() -> str:
    """Name the present boot of this machine."""
    with suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{psutil.boot_time():.0f}"


def identity_of(pid: int) -> Identity | None:
    """Identify a living process; None where there is none.

    A zombie is not alive, unless it is only the first thread that has ended and others go on.
    """
    with suppress(OSError, IndexError, ProcessLookupError):
        state, *rest = _stat(pid)
        over = state == "X" or (state == "Z" and rest[16] in ("0", "1"))
        return None if over else Identity(boot_id(), pid, rest[18])
    if not _PROC.is_dir():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                return Identity(boot_id(), pid, f"{process.create_time():.2f}")
    return None


def descendants(pid: int, *, beside: Collection[int] = ()) -> tuple[int, ...]:
    """List the living descendants of a process, less those in `beside` and all that descends from them.

    The kernel's list of children may miss one while others of them end (proc(5), `children`), so two looks
    are put together. Who forks and ends between two steps of a look hides its child from it: where a look met
    somebody new, there is another.
    """
    found: set[int] = set()
    met: set[int] = set()
    for number in range(_LOOKS):
        before = len(met)
        found.update(_descend(pid, beside, met))
        if number > 0 and len(met) == before:
            break
    return tuple(sorted(found))


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    return identity_of(pid) is not None


def ancestors(pid: int) -> tuple[int, ...]:
    """List what a process descends from, its parent first."""
    with suppress(psutil.Error):
        return tuple(parent.pid for parent in psutil.Process(pid).parents())
    return ()


def entries_of(pid: int) -> list[bytes]:
    """Give the entries of the environment that a process was started with, `NAME=value`.

    An empty list where it may not be read, and in the midst of execve(2): see `is_starting`.
    """
    if not _PROC.is_dir():
        with suppress(psutil.Error, OSError):
            pairs = psutil.Process(pid).environ().items()
            return [os.fsencode(f"{name}={value}") for name, value in pairs]
        return []
    process = _PROC / str(pid)
    try:
        if entries := _entries(process):
            return entries
    except ProcessLookupError:
        pass
    except OSError:  # gone, or not to be read
        return []
    with suppress(OSError):  # where its first thread has ended, others may go on, and have it still
        for thread in (process / "task").iterdir():
            with suppress(OSError):
                if entries := _entries(thread):
                    return entries
    return []


def is_starting(pid: int) -> bool:
    """Tell of a process that showed no environment whether to look again: it is in the midst of execve(2).

    Between the old program's memory and the new one's there is none to be read, and the place where it ends
    is 0 (proc(5), `env_end` of `stat`). That of a program started without any is where it begins; so is that
    of one which is being told of its own, but that has no heap yet (`start_brk`).
    """
    with suppress(OSError, IndexError):
        if _entries(_PROC / str(pid)):  # who may not read it is told 0 below, too
            return True
        _, *rest = _stat(pid)
        size, heap, begin, end = rest[19], rest[43], rest[46], rest[47]
        return size != "0" and (end == "0" or begin != end or heap == "0")
    return False


def environment_of(pid: int) -> dict[str, str]:
    """Give the environment that a process was started with; nothing where it may not be read."""
    pairs = (os.fsdecode(entry).partition("=") for entry in entries_of(pid))
    return {name: value for name, equals, value in pairs if equals}


def directory_of(pid: int) -> Path | None:
    """Give a process's working directory; None where it may not be read."""
    with suppress(psutil.Error, OSError):
        return Path(psutil.Process(pid).cwd())
    return None


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that is gone, or another user's, is left alone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_to(process: Identity, number: signal.Signals) -> bool:
    """Signal exactly this process, whatever has become of its id; False where it is not ours to signal.

    Correctness depends on the order: while a pidfd leads to a process that can be signalled, its id is no
    other's. So who has the identity after the pidfd was opened is who gets the signal.
    """
    try:
        pidfd = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return True
    except OSError:  # a kernel without pidfd_open(2), or no descriptor left: the look before has to do
        pidfd = None
    try:
        if identity_of(process.pid) == process:
            if pidfd is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        if pidfd is not None:
            os.close(pidfd)
    return True


def reap(pid: int) -> None:
    """Take away the zombie of an adopted orphan, or of all in group `-pid`.

    Who is not this process's child is left alone. Never for a child that someone else waits for.
    """
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] > 0 and pid < 0:
            pass


def _entries(place: Path) -> list[bytes]:
    content = (place / "environ").read_bytes()
    return content.split(b"\0") if content else []


def _stat(pid: int) -> list[str]:
    """Read the fields after the command's name, which may itself hold spaces and brackets."""
    return (_PROC / str(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()


def _descend(pid: int, beside: Collection[int], met: set[int]) -> Iterator[int]:
    """Give the living; note in `met` also those that end meanwhile."""
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            if child in beside:
                continue
            waiting.append(child)
            met.add(child)
            if is_running(child):
                yield child


def _children(pid: int) -> list[int]:
    """Read whom the threads of a process have forked."""
    found: list[int] = []
    try:
        for thread in (_PROC / str(pid) / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        if not (_PROC / "self/task").is_dir():
            with suppress(psutil.Error):
                return [process.pid for process in psutil.Process(pid).children()]
    return found
