"""What a power cut may not take: the order in which a build's objects, refs and journal reach the disk.

Only the system calls tell; strace(1) records them.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import which

import pytest

from otto_core.journal import STORE, Journal
from tests.builders import git, make_repo
from tests.otto_core.runs import feature, write_plan, writes

_CALLS = "fsync,fdatasync,link,linkat,rename,renameat,renameat2"
_STRACE = ("strace", "-f", "-y", "-s", "4096", "-e", f"trace={_CALLS}", "-e", "signal=none")


def _why_not() -> str:
    if which("strace") is None:
        return "strace is not installed"
    done = subprocess.run([*_STRACE, "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {done.stderr.strip()}" if done.returncode else ""


_WHY_NOT = _why_not()


class Trace:
    """The calls that succeeded, in the order in which they ended, told by the paths they were about."""

    def __init__(self, text: str) -> None:
        self._calls: list[tuple[str, tuple[str, ...]]] = []
        begun: dict[str, str] = {}
        for line in text.splitlines():
            thread, _, call = line.partition(" ")
            call = call.strip()
            if call.endswith("<unfinished ...>"):
                begun[thread] = call.removesuffix("<unfinished ...>")
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>", call):
                call = begun.pop(thread) + call[resumed.end() :]
            if re.search(r"\)\s+= 0$", call):
                name, _, arguments = call.partition("(")
                told = re.findall(r'^\d+<(/[^>]*)>|"([^"]*)"', arguments)
                self._calls.append((name, tuple(opened or named for opened, named in told)))

    def synced(self, path: Path) -> list[int]:
        """Tell when a file or directory was synced."""
        return [
            at for at, (name, told) in enumerate(self._calls) if "sync" in name and told[0] == os.fspath(path)
        ]

    def all_synced(self) -> set[Path]:
        """Name everything that was synced."""
        return {Path(told[0]) for name, told in self._calls if "sync" in name}

    def named(self, below: Path) -> list[tuple[int, Path, Path]]:
        """Tell when files got their names below a directory: the moment, the name before, the name."""
        found = [(at, told) for at, (name, told) in enumerate(self._calls) if "sync" not in name]
        moves = [(at, Path(told[-2]), Path(told[-1])) for at, told in found]
        return [move for move in moves if move[2].is_relative_to(below)]


def _within(moments: Sequence[int], after: int, before: int) -> bool:
    return any(after < moment < before for moment in moments)


def _trace(repo: Path, *arguments: str) -> Trace:
    """Let the program do something in a repository; gives which files it synced and named."""
    record = repo.parent / "record"
    otto = (sys.executable, "-m", "otto_core.cli.main", *arguments)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([*_STRACE, "-o", record, *otto], cwd=repo, env=environ, check=True, capture_output=True)
    return Trace(record.read_text())


def _repo(tmp_path: Path, durability: str) -> Path:
    configured = f"sandbox: subreaper\ndurability: {durability}\n"
    return make_repo(tmp_path.resolve(), {"a.txt": "a\n", "otto.yaml": configured})


def _tip(repo: Path) -> str:
    return git(repo, "for-each-ref", "--format=%(refname)", "refs/otto/runs/*/tip")


@pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)
def test_fast_syncs_no_object_and_no_ref_and_the_journal_only_at_its_checkpoints(tmp_path: Path) -> None:
    repo = _repo(tmp_path, "fast")
    git_dir, plan = repo / ".git", write_plan(repo, writes("one"))
    Journal.open(git_dir / "otto" / STORE).close()
    trace = _trace(repo, "build", "--plan", str(plan))

    assert git(repo, "show", f"{_tip(repo)}:one.txt") == "one"
    journal, log = git_dir / "otto" / STORE, git_dir / "otto" / f"{STORE}-wal"
    of_sqlite = {journal, log, journal.parent}
    assert {path for path in trace.all_synced() if path.is_relative_to(git_dir)} <= of_sqlite
    moves = [at for at, _, name in trace.named(git_dir / "refs") if name == git_dir / _tip(repo)]
    assert len(moves) == 2, "the base, then what landed"
    between = [at for at in trace.synced(log) if moves[0] < at < moves[1]]
    assert len(between) <= 1, "no append is synced; the log is, where it begins"

    git(repo, "checkout", "--quiet", "--detach")
    landed = _trace(repo, "land", "--into", "main")
    assert git(repo, "rev-parse", "main") == git(repo, "rev-parse", _tip(repo))
    assert {path for path in landed.all_synced() if path.is_relative_to(git_dir)} <= of_sqlite


@pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)
def test_a_run_that_goes_on_keeps_its_durability(tmp_path: Path) -> None:
    repo = _repo(tmp_path, "fast")
    otto = (sys.executable, "-m", "otto_core.cli.main")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    flag = tmp_path / "flag"
    plan = write_plan(repo, feature("one", f"test -e {flag} && echo 1 > one.txt", max_attempts=1))
    assert (
        subprocess.run([*otto, "build", "--plan", plan], cwd=repo, env=environ, check=False).returncode == 1
    )
    flag.touch()
    subprocess.run([*otto, "retry", "one"], cwd=repo, env=environ, check=True)
    git_dir, trace = repo / ".git", _trace(repo, "resume")
    assert git(repo, "show", f"{_tip(repo)}:one.txt") == "1"
    store = git_dir / "otto"
    of_sqlite = {store / STORE, store / f"{STORE}-wal", store}
    assert {path for path in trace.all_synced() if path.is_relative_to(git_dir)} <= of_sqlite


@pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)
def test_a_landing_syncs_objects_before_the_ref_and_the_ref_before_the_journal(tmp_path: Path) -> None:
    repo = _repo(tmp_path, "full")
    git_dir, plan = repo / ".git", write_plan(repo, writes("one"))
    trace = _trace(repo, "build", "--plan", str(plan))

    objects, refs = trace.named(git_dir / "objects"), trace.named(git_dir / "refs")
    assert {name.parent.name for _, _, name in refs} >= {"otto", "one"}
    tip = _tip(repo)
    landed = git(repo, "rev-parse", tip)
    candidate = git_dir / "objects" / landed[:2] / landed[2:]
    assert candidate in {name for _, _, name in objects}

    last: dict[Path, int] = {}
    for at, before, name in (*objects, *refs):
        content = trace.synced(before)
        assert _within(content, last.get(name, -1), at), f"{name} had its name before its content was synced"
        last[name] = at
    swapped = max(at for at, _, name in refs if name == git_dir / tip)
    for at, _, name in objects:
        assert _within(trace.synced(name.parent), at, swapped), f"{name} may be lost though the tip is not"
    kept = min(moment for moment in trace.synced((git_dir / tip).parent) if moment > swapped)
    assert max(trace.synced(git_dir / "otto/otto.db-wal")) > kept
