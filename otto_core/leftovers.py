"""What an earlier driver left running: found by the marker that its executions carry, and ended at once.

The driver that would have ended it gently is gone. Only a process that was started with exactly a marker in
its environment is ended: not one that has the marker's text elsewhere, nor a child that shed its environment.
Never this process, what it descends from, or the machine's first one.
"""

import math
import os
import signal
import time
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

import psutil

from otto_core import kernel
from otto_core.errors import RepositoryUnusable
from otto_core.kernel import Identity
from otto_core.process import MARKER

_POLL_S = 0.02
_PROOF_S = 10.0
_AGAIN_S = 0.2
"""How long what was killed is waited for before others are looked for."""

_PASSES = 10
"""How often, in one look, those are looked at who were not there before: one forks, and ends, meanwhile."""


def end_marked(markers: AbstractSet[str]) -> tuple[int, ...]:
    """End at once whatever still carries one of these markers, and prove it gone, in a few seconds at most.

    Gives the processes that carry one and would not go; those that may not be ended are not waited for.
    """
    wanted = {os.fsencode(f"{MARKER}={marker}") for marker in markers if marker}
    if not wanted:
        return ()
    me = os.getpid()
    spared = {1, me, *kernel.ancestors(me)}
    refused: set[Identity] = set()
    deadline, late = math.inf, False
    while True:
        found = set(_carriers(wanted))
        refused |= {process for process in found if process.pid in spared}
        left = found - refused
        if not left or late:
            return tuple(sorted(process.pid for process in found))
        refused |= {process for process in left if not kernel.send_to(process, signal.SIGKILL)}
        now = time.monotonic()  # what was looked at before does not count: a look may take long
        again, deadline = now + _AGAIN_S, min(deadline, now + _PROOF_S)
        while any(map(_is_alive, left - refused)) and time.monotonic() < again:
            time.sleep(_POLL_S)
        late = time.monotonic() > deadline


def end_all(markers: AbstractSet[str], whose: str, *, then: str = "") -> None:
    """End what carries one of these markers, of which `whose` says in words whose it is.

    Raises:
        RepositoryUnusable: something would not end; `then` is what to type once it has.

    """
    if left := end_marked(markers):
        end_them = f"kill -9 {' '.join(map(str, left))}"
        raise RepositoryUnusable(
            f"{whose} cannot be ended", hint=f"{end_them}, then `{then}`" if then else end_them
        )


def _carriers(wanted: AbstractSet[bytes]) -> Iterator[Identity]:
    """Find the living processes with one of these entries in their environment.

    Most are passed over after one small read. Who shows no environment in the midst of execve(2) is looked at
    until it shows one: on a busy machine that may take a while.
    """
    seen: set[int] = set()
    blank: set[int] = set()
    passes, deadline = 0, time.monotonic() + _PROOF_S
    while passes < _PASSES or blank:
        new = set(psutil.pids()) - seen
        if not new:
            return
        blank = set()
        for pid in new:
            entries = kernel.entries_of(pid)
            if not entries and kernel.is_starting(pid) and time.monotonic() < deadline:
                blank.add(pid)
            elif process := _carrier(pid, wanted, entries):
                yield process
        seen |= new - blank
        if new == blank:
            time.sleep(_POLL_S)
        else:
            passes += 1


def _carrier(pid: int, wanted: AbstractSet[bytes], entries: Iterable[bytes]) -> Identity | None:
    """Give the process that has this id and one of these entries.

    Its environment is read again once it is known who it is: an id may have become another's in between.
    """
    if wanted.isdisjoint(entries):
        return None
    process = kernel.identity_of(pid)
    return process if process is not None and not wanted.isdisjoint(kernel.entries_of(pid)) else None


def _is_alive(process: Identity) -> bool:
    return kernel.identity_of(process.pid) == process
