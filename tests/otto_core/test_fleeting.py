"""What processes are in the midst of when they are looked at: of execve(2), of handing on to a child."""

import subprocess
import sys
from pathlib import Path

import pytest

from otto_core import kernel
from tests.waiting import until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells in /proc")

EXECUTES_ON = '[ $1 = 0 ] || exec sh -c "$0" "$0" $(($1 - 1))'


def test_a_process_in_the_midst_of_execve_shows_no_environment_and_is_told_to_be_starting() -> None:
    argv = ["sh", "-c", EXECUTES_ON, EXECUTES_ON, "100000"]
    with subprocess.Popen(argv, env={"MARK": "it"}) as child:

        def is_caught() -> bool:
            looks = range(200)
            return any(kernel.entries_of(child.pid) == [] and kernel.is_starting(child.pid) for _ in looks)

        try:
            until(is_caught)
            until(lambda: b"MARK=it" in kernel.entries_of(child.pid))
        finally:
            child.kill()


def test_a_program_that_was_started_without_an_environment_is_not_starting() -> None:
    with subprocess.Popen(["/bin/sleep", "600"], env={}) as child:
        try:
            until(lambda: not kernel.is_starting(child.pid))
            assert kernel.entries_of(child.pid) == []
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("environ", "size", "heap", "begin", "end", "starting"),
    [
        (b"", 4096, 0, 0, 0, True),
        (b"", 4096, 900, 700, 713, True),
        (b"A=b\0", 4096, 900, 700, 713, True),
        (b"", 4096, 0, 700, 700, True),
        (b"", 4096, 900, 700, 700, False),
        (b"", 0, 0, 0, 0, False),
        (None, 4096, 0, 0, 0, False),
    ],
    ids=[
        "no place yet",
        "it has one by now",
        "it shows one by now",
        "its place is being filled",
        "without any",
        "zombie",
        "another's",
    ],
)
def test_what_shows_no_environment_is_looked_at_again_only_where_it_may_come_to_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: bytes | None,
    size: int,
    heap: int,
    begin: int,
    end: int,
    starting: bool,
) -> None:
    (tmp_path / "7").mkdir()
    fields = ["0"] * 49
    fields[19], fields[43], fields[46], fields[47] = map(str, (size, heap, begin, end))
    (tmp_path / "7/stat").write_text(f"7 (a (b) c) S {' '.join(fields)}\n")
    if environ is not None:
        (tmp_path / "7/environ").write_bytes(environ)
    monkeypatch.setattr(kernel, "_PROC", tmp_path)
    assert kernel.is_starting(7) is starting


def test_i13_who_is_handed_on_from_parent_to_child_between_two_steps_of_a_look_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is looked at has forked and ended; its child is this process's by then, which was read before."""
    last, now = 14, [10]

    def children(pid: int) -> list[int]:
        if pid == 1:
            return list(now)
        if pid == now[0] < last:
            now[0] += 1
        return []

    monkeypatch.setattr(kernel, "_children", children)
    monkeypatch.setattr(kernel, "is_running", lambda pid: pid == now[0] == last)
    assert kernel.descendants(1) == (last,)
