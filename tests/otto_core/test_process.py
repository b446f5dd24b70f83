"""What spawning itself promises; executions are tested in test_execution."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from otto_core.process import spawn

OUTLIVED = """
import ctypes, os, sys, threading, time
from pathlib import Path
from otto_core.process import spawn
code = (
    "import ctypes, time; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); print('up', flush=True); time.sleep(60)"
)
def start():
    with open(os.devnull, 'rb') as nothing:
        argv = [sys.executable, '-c', code]
        found.append(spawn(argv, cwd=Path('/'), env=dict(os.environ), stdin=nothing, output=1).result())
found = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(0.5)
assert found[0].poll() is None, 'it ended with the thread that asked for it'
found[0].kill()
found[0].wait()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signals are a thing of Linux")
def test_i13_a_parent_death_signal_does_not_follow_the_thread_that_asked_for_the_child() -> None:
    done = subprocess.run([sys.executable, "-c", OUTLIVED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_all_children_are_spawned_by_one_thread(tmp_path: Path) -> None:
    names = []
    with Path(os.devnull).open("rb") as nothing, (tmp_path / "out").open("wb") as out:
        for _ in range(3):
            future = spawn(["true"], cwd=tmp_path, env=os.environ, stdin=nothing, output=out.fileno())
            future.result().wait()
            names.append([t.ident for t in threading.enumerate() if t.name.startswith("otto-spawn")])
    assert names[0] == names[1] == names[2]
    assert len(names[0]) == 1
