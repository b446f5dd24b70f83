"""The proof that nothing of an execution is left, where a process cannot be looked at for a moment."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from otto_core import kernel
from otto_core.process import MARKER
from otto_core.process_tree import Swept
from tests.waiting import until_marked


def tree_of_an_ended(place: Path) -> Swept:
    """Give the tree of a command that has ended itself."""
    leader = subprocess.Popen(["true"], start_new_session=True)
    leader.wait()
    return Swept(group=leader.pid, marker="mine", place=place)


@pytest.mark.parametrize(("whose", "gone"), [("mine", False), ("another's", True)])
def test_i13_a_tree_is_not_gone_while_a_process_may_be_of_it_that_is_in_the_midst_of_execve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str, gone: bool
) -> None:
    """It has a session of its own and works elsewhere: nothing but its marker tells whose it is."""
    tree = tree_of_an_ended(tmp_path)
    env = {**os.environ, MARKER: whose}
    with subprocess.Popen(["sleep", "600"], env=env, cwd="/", start_new_session=True) as daemon:
        try:
            until_marked(daemon.pid, whose)
            with monkeypatch.context() as held:
                held.setattr(kernel, "entries_of", lambda _: [])
                held.setattr(kernel, "is_starting", lambda pid: pid == daemon.pid)
                assert tree.members() == (), "whose it is cannot be told"
                assert asyncio.run(tree.is_gone(0.0)) is False
            assert asyncio.run(tree.is_gone(0.0)) is gone
        finally:
            daemon.kill()


def test_i13_what_a_child_of_another_kind_starts_at_this_moment_keeps_no_tree_from_being_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["sleep", "600"], cwd="/", start_new_session=True) as git:
        try:
            monkeypatch.setattr("otto_core.children._own", {git.pid})
            monkeypatch.setattr(kernel, "entries_of", lambda _: [])
            monkeypatch.setattr(kernel, "is_starting", lambda _: True)
            assert asyncio.run(tree_of_an_ended(tmp_path).is_gone(0.0)) is True
        finally:
            git.kill()
