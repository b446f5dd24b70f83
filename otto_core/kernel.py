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
    are put together.
    """
    return tuple(sorted({*_descend(pid, beside), *_descend(pid, beside)}))


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

    An empty list where it may not be read, and for the moment in which a process starts another program.
    """
    if not _PROC.is_dir():
        with suppress(psutil.Error, OSError):
            pairs = psutil.Process(pid).environ().items()
            return [os.fsencode(f"{name}={value}") for name, value in pairs]
        return []
    process = _PROC / str(pid)
    try:
        return _entries(process)
    except ProcessLookupError:  # its first thread has ended; others may go on, and have the environment still
        with suppress(OSError):
            for thread in (process / "task").iterdir():
                with suppress(OSError):
                    return _entries(thread)
    except OSError:
        pass  # gone, or not to be read
    return []


def is_program(pid: int) -> bool:
    """Tell whether a process executes a file that this user may know: no thread of the kernel, no zombie."""
    with suppress(psutil.Error, OSError):
        return bool(psutil.Process(pid).exe())
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
    return (place / "environ").read_bytes().split(b"\0")


def _stat(pid: int) -> list[str]:
    """Read the fields after the command's name, which may itself hold spaces and brackets."""
    return (_PROC / str(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()


def _descend(pid: int, beside: Collection[int]) -> Iterator[int]:
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            if child in beside:
                continue
            waiting.append(child)
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
