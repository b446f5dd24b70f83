"""Whom the search for leftovers ends, and whom it must not touch: real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from otto_core import kernel, leftovers
from otto_core.kernel import Identity
from otto_core.leftovers import end_marked
from otto_core.process import MARKER
from tests.waiting import until, until_marked

SOURCES = Path(__file__).parents[2]

Start = Callable[..., "subprocess.Popen[bytes]"]
"""Starts a process with a marker; it is ended with the test."""


@pytest.fixture
def marker(tmp_path: Path) -> str:
    """Give a marker that only one test uses."""
    return f"r-20261120-test/{tmp_path}/1"


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*argv: str, marked: str | None = None) -> "subprocess.Popen[bytes]":
            env = {name: value for name, value in os.environ.items() if name != MARKER}
            env |= {"PYTHONPATH": str(SOURCES)} | ({MARKER: marked} if marked is not None else {})
            child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE)
            stack.callback(child.communicate)
            stack.callback(child.kill)
            return child

        yield begin


def python(code: str, *args: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *args)


def line(child: "subprocess.Popen[bytes]") -> bytes:
    """Read a line that a child prints."""
    assert child.stdout is not None
    return child.stdout.readline()


def test_r_s4_i13_what_carries_one_of_the_markers_is_ended_in_one_look(start: Start, marker: str) -> None:
    first = start("sleep", "600", marked=f"{marker}/1")
    second = start(
        "sh",
        "-c",
        "trap '' TERM HUP INT; setsid sleep 600 & echo $!; while :; do sleep 600; done",
        marked=f"{marker}/2",
    )
    daemon = int(line(second))
    until(lambda: psutil.Process(daemon).name() == "sleep")
    for pid, number in ((first.pid, 1), (daemon, 2)):
        until_marked(pid, f"{marker}/{number}")
    assert end_marked({f"{marker}/1", f"{marker}/2", f"{marker}/3"}) == ()
    assert (first.wait(), second.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
    assert not kernel.is_running(daemon)


def test_r_s4_who_does_not_carry_exactly_the_marker_is_left_alone(start: Start, marker: str) -> None:
    spared = [
        start("sleep", "600", marked=f"{marker}0"),
        start("sleep", "600", marked=marker[:-1]),
        start("sleep", "600", marked=""),
        start(*python("import time; time.sleep(600)", f"{MARKER}={marker}")),
        start("env", f"NOT_{MARKER}={marker}", "sleep", "600"),
    ]
    shed = start("env", "-i", "sleep", "600", marked=marker)
    until(lambda: psutil.Process(shed.pid).name() == "sleep")
    until(lambda: f"NOT_{MARKER}" in kernel.environment_of(spared[-1].pid))
    ended = start("sleep", "600", marked=marker)
    until_marked(ended.pid, marker)
    assert end_marked({marker, ""}) == ()
    assert ended.wait() == -signal.SIGKILL
    assert [child.poll() for child in (*spared, shed)] == [None] * 6


def test_r_s4_a_first_entry_that_is_empty_does_not_hide_the_marker(start: Start, marker: str) -> None:
    code = (
        "import ctypes, sys; libc = ctypes.CDLL(None)\n"
        "argv = (ctypes.c_char_p * 3)(b'sleep', b'600', None)\n"
        "env = (ctypes.c_char_p * 3)(b'', sys.argv[1].encode(), None)\n"
        "libc.execve(b'/bin/sleep', argv, env)"
    )
    hidden = start(*python(code, f"{MARKER}={marker}"))
    until(lambda: MARKER in kernel.environment_of(hidden.pid))
    assert end_marked({marker}) == ()
    assert hidden.wait() == -signal.SIGKILL


def test_i13_a_zombie_is_not_waited_for_and_not_told(start: Start, marker: str) -> None:
    zombie = start("true", marked=marker)
    until(lambda: not kernel.is_running(zombie.pid))
    assert end_marked({marker}) == ()


FAMILY = """
import os, subprocess, sys
from otto_core.leftovers import end_marked
from tests.waiting import until_marked
child = subprocess.Popen(["sleep", "600"])
until_marked(child.pid, os.environ["OTTO_MARKER"])
print(os.getppid(), os.getpid(), *end_marked({os.environ["OTTO_MARKER"]}), child.wait())
"""


def test_r_s4_who_looks_and_what_it_descends_from_are_told_and_never_ended(start: Start, marker: str) -> None:
    script = f'{sys.executable} -c "$0"; exit 7'
    parent = start("sh", "-c", script, FAMILY, marked=marker)
    one, two, *told, child = map(int, line(parent).split())
    assert sorted(told) == sorted([one, two])
    assert child == -signal.SIGKILL
    assert parent.wait() == 7


def test_r_s4_an_id_that_became_anothers_is_not_signalled(start: Start) -> None:
    child = start("sleep", "600")
    now = kernel.identity_of(child.pid)
    assert now is not None
    for former in (replace(now, started="1"), replace(now, boot="another")):
        assert kernel.send_to(former, signal.SIGKILL)
        assert kernel.identity_of(child.pid) == now
    assert kernel.send_to(now, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert kernel.send_to(now, signal.SIGKILL), "who is gone is no one to be refused"


def test_r_s4_a_process_that_took_the_id_between_two_looks_is_left_alone(
    start: Start, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is handed on where it would hurt most: after the marker was seen, before the identity is."""
    marked, stranger = start("sleep", "600", marked=marker), start("sleep", "600")
    until_marked(marked.pid, marker)
    looks: list[int] = []

    def entries_of(pid: int) -> list[bytes]:
        looks.append(pid)
        seen_first = looks.count(pid) == 1 and pid == stranger.pid
        return kernel_entries(marked.pid if seen_first else pid)

    kernel_entries = kernel.entries_of
    monkeypatch.setattr(kernel, "entries_of", entries_of)
    assert end_marked({marker}) == ()
    assert looks.count(stranger.pid) > 1
    assert stranger.poll() is None


def test_i13_a_process_in_the_midst_of_execve_is_looked_at_again(
    start: Start, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment it shows no environment; that moment is held here for many looks."""
    child = start("sleep", "600", marked=marker)
    until_marked(child.pid, marker)
    looks: list[int] = []

    def is_held(pid: int) -> bool:
        return pid == child.pid and looks.count(pid) < 30

    def entries_of(pid: int) -> list[bytes]:
        looks.append(pid)
        return [] if is_held(pid) else kernel_entries(pid)

    kernel_entries, kernel_starting = kernel.entries_of, kernel.is_starting
    monkeypatch.setattr(kernel, "entries_of", entries_of)
    monkeypatch.setattr(kernel, "is_starting", lambda pid: is_held(pid) or kernel_starting(pid))
    assert end_marked({marker}) == ()
    assert not kernel.is_running(child.pid)


def test_i13_who_is_found_in_a_look_that_took_long_is_ended_and_not_given_up(
    start: Start, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine, or a person, may stop Otto in the midst of it, for longer than an end may take."""
    child = start("sleep", "600", marked=marker)
    until_marked(child.pid, marker)
    late_s, carriers, monotonic = [0.0], leftovers._carriers, time.monotonic

    def look(wanted: AbstractSet[bytes]) -> Iterator[Identity]:
        yield from carriers(wanted)
        late_s[0] = 1000.0

    monkeypatch.setattr(leftovers, "_carriers", look)
    clock = SimpleNamespace(sleep=time.sleep, monotonic=lambda: monotonic() + late_s[0])
    monkeypatch.setattr(leftovers, "time", clock)
    assert end_marked({marker}) == ()
    assert child.wait() == -signal.SIGKILL


def test_i13_what_forks_on_while_it_is_looked_for_is_ended(start: Start, marker: str) -> None:
    code = (
        "import os, time\nprint('up', flush=True)\n"
        "while True:\n    time.sleep(0.05)\n    if os.fork(): os._exit(0)"
    )
    runner = start(*python(code), marked=marker)
    assert line(runner) == b"up\n"
    assert end_marked({marker}) == ()
    entry = os.fsencode(f"{MARKER}={marker}")
    assert not [pid for pid in psutil.pids() if entry in kernel.entries_of(pid)]


HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("up", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel tells of threads on Linux only")
def test_i13_a_process_whose_first_thread_has_ended_is_alive_and_is_ended(start: Start, marker: str) -> None:
    headless = start(*python(HEADLESS), marked=marker)
    assert line(headless) == b"up\n"
    until(lambda: Path(f"/proc/{headless.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    assert kernel.is_running(headless.pid)
    assert end_marked({marker}) == ()
    assert headless.wait() == -signal.SIGKILL


UNARMED = """
import ctypes, os, sys
from otto_core.leftovers import end_marked
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # capset(2), version 3
held = (ctypes.c_uint32 * 6)()
assert libc.capget(header, held) == 0
for kind in (0, 1):  # effective, permitted
    held[kind] &= ~(1 << 5)  # CAP_KILL
assert libc.capset(header, held) == 0
print(*end_marked({sys.argv[1]}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can see a process that it may not end")
def test_r_s4_another_users_process_is_told_and_not_waited_for(start: Start, marker: str) -> None:
    code = "import os, time; os.setgid(65534); os.setuid(65534); print('up', flush=True); time.sleep(600)"
    theirs = start(*python(code), marked=marker)
    assert line(theirs) == b"up\n"
    looker = start(*python(UNARMED, marker))
    assert line(looker).split() == [b"%d" % theirs.pid]
    assert theirs.poll() is None


def test_to_look_for_nothing_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def processes() -> list[int]:
        raise AssertionError

    monkeypatch.setattr(psutil, "pids", processes)
    assert end_marked(frozenset()) == ()
