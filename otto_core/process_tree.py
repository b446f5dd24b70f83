"""The processes of one execution, in the ways that a machine can hold them together.

In a *namespace* (bubblewrap's) they are all that lives in it. The kernel ends the rest when the namespace's
first process ends, and that process's end proves it. *Swept*, they are the process group and those
descendants of this process (which adopts orphans) that carry the marker, or shed it but work in the command's
directory. Nothing else is ever signalled.
"""

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from otto_core import kernel
from otto_core.children import own
from otto_core.process import MARKER

POLL_S = 0.02
"""How often, in seconds, a tree that has to end is looked at."""


class Tree(Protocol):
    """All processes of one execution."""

    def members(self) -> tuple[int, ...]:
        """List those that are alive; what only serves a namespace is no member."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each member once."""
        ...

    def kill(self) -> None:
        """End what can be ended without a look at the members: the last resort, which may not fail."""
        ...

    async def is_gone(self, limit_s: float) -> bool:
        """Wait at most `limit_s` for nothing of the tree to be alive; let nothing of it stay a zombie."""
        ...

    def began(self) -> bool:
        """Tell of a tree that is gone whether the command itself was ever executed."""
        ...

    def close(self) -> None:
        """Let go of what was held open to watch the tree."""
        ...


@dataclass(slots=True)
class Namespace:
    """The processes of a PID namespace, by its first one: when that ends, the kernel has ended them all.

    `told` is where bubblewrap reports, one JSON document a line (bwrap(1), `--json-status-fd`): first the
    process it made, in the end how the command exited, unless it never got as far as executing it.
    """

    outer: int
    told: int
    said: bytes
    first: int | None = None
    pidfd: int | None = None

    @classmethod
    def of(cls, outer: int, told: int) -> "Namespace":
        """Hold the first process of the namespace; waits until bubblewrap has made it, or failed to."""
        said = b""
        while b"\n" not in said and (more := os.read(told, 4096)):
            said += more
        made = cls(outer, told, said)
        with suppress(ValueError, KeyError, ProcessLookupError):  # none was made, or it is over already
            made.first = int(json.loads(said.partition(b"\n")[0])["child-pid"])
            made.pidfd = os.pidfd_open(made.first)
        return made

    def members(self) -> tuple[int, ...]:
        """List what lives in the namespace beside its first process."""
        return () if self.first is None else kernel.descendants(self.first)

    def signal(self, number: signal.Signals) -> None:
        """Ask each member to end; to kill them all, kill the first."""
        if number is signal.SIGKILL:
            self.kill()
            return
        for pid in self.members():
            kernel.send(pid, number)

    def kill(self) -> None:
        """End the namespace."""
        kernel.send(self.outer, signal.SIGKILL)
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    async def is_gone(self, limit_s: float) -> bool:
        """Wait for the first process to end."""
        if self.pidfd is not None and self.first is not None:
            if not await readable(self.pidfd, limit_s):
                return False
            kernel.reap(self.first)
            os.close(self.pidfd)
            self.pidfd = None
        return True

    def began(self) -> bool:
        """Tell whether bubblewrap reported an exit code."""
        while more := os.read(self.told, 4096):  # nobody holds the other end any more
            self.said += more
        return b'"exit-code"' in self.said

    def close(self) -> None:
        """Close the report, and the pidfd of a namespace that would not end."""
        os.close(self.told)
        if self.pidfd is not None:
            os.close(self.pidfd)


def end_unheld(outer: int) -> tuple[int, ...]:
    """End a bubblewrap whose namespace cannot be held, and what it has made so far; gives the latter.

    What it made waits for it first, and binds its life to it only then: left alone, it would wait for good.
    `outer` is a child that nobody has waited for. It is stopped before, so that it makes no more.
    """
    os.kill(outer, signal.SIGSTOP)
    os.waitid(os.P_PID, outer, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    made = kernel.descendants(outer)
    for pid in (*made, outer):
        kernel.send(pid, signal.SIGKILL)
    return made


@dataclass(frozen=True, slots=True)
class Swept:
    """The processes of one execution: its group, and of this process's descendants those that are its."""

    group: int
    marker: str
    place: Path
    seen: set[int] = field(default_factory=set)

    def members(self) -> tuple[int, ...]:
        """List the living members. One that shed its marker is known by its working directory."""
        found, _ = self._look()
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each member once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, number)
        for pid in self.members():
            if _group_of(pid) != self.group:
                kernel.send(pid, number)

    def kill(self) -> None:
        """End the process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)

    def began(self) -> bool:
        """Tell that the command was executed: it would not be a child otherwise."""
        return True

    def close(self) -> None:
        """Nothing is held open."""

    async def is_gone(self, limit_s: float) -> bool:
        """Look until no member is left; the leader, which its parent waits for, has ended before."""
        deadline, pause = time.monotonic() + limit_s, 0.001
        while any(self._look()):
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, POLL_S)
        for pid in self.seen - {self.group}:
            kernel.reap(pid)
        kernel.reap(-self.group)
        return True

    def _look(self) -> tuple[tuple[int, ...], frozenset[int]]:
        """List the living members, and who may be one: nobody can tell in the midst of execve(2).

        What another child of this process has started, such as a git of Otto's, is none, whoever executes.
        """
        known = {pid: self._holds(pid) for pid in kernel.descendants(os.getpid())}
        found = tuple(pid for pid, holds in known.items() if holds)
        self.seen.update(found)
        unclear = frozenset(pid for pid, holds in known.items() if holds is None)
        return found, unclear and unclear & set(kernel.descendants(os.getpid(), beside=own()))

    def _holds(self, pid: int) -> bool | None:
        if _group_of(pid) == self.group:
            return True
        environment = kernel.environment_of(pid)
        if not environment and kernel.is_starting(pid):
            return None
        marker = environment.get(MARKER)
        if marker is not None:
            return marker == self.marker  # another execution's is not ours, wherever it works
        place = kernel.directory_of(pid)
        return place is not None and place.is_relative_to(self.place)


def _group_of(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


async def readable(file: int, limit_s: float | None) -> bool:
    """Wait for a descriptor to be readable; False when the time is up."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(file, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), limit_s)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(file)
    return True
