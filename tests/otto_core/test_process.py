"""What spawning itself promises; executions are tested in test_execution."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from otto_core.process import spawn

OUTLIVED = """
import os, sys, threading, time
from pathlib import Path
from otto_core.process import spawn
code = "import ctypes; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); print('up', flush=True); print(input())"
(question, ask), (answer, give) = os.pipe(), os.pipe()
answers, said = open(answer, 'rb'), []
def start():
    argv = [sys.executable, '-c', code]
    with open(question, 'rb') as stdin:
        spawn(argv, cwd=Path('/'), env=dict(os.environ), stdin=stdin, output=give).result()
    os.close(give)
    said.append(answers.readline())
thread = threading.Thread(target=start)
thread.start()
thread.join()
assert said == [b'up\\n'], 'the signal was not asked for while the thread lived'
while os.path.exists(f'/proc/self/task/{thread.native_id}'):
    time.sleep(0.01)
os.write(ask, b'alive\\n')
assert answers.readline() == b'alive\\n', 'it ended with the thread that asked for it'
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
