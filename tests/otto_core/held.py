"""`otto build` in a process of its own, which a test can kill at a moment that a task names."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.state import Run
from tests.otto_core.runs import feature, write_plan
from tests.waiting import PATIENCE_S, until


class Otto:
    """`otto build` in a process of its own, which a test can kill at a moment that a task names."""

    def __init__(self, repo: Path, signals: Path) -> None:
        self.repo, self._signals = repo, signals
        self.process: subprocess.Popen[str] | None = None

    @classmethod
    @contextmanager
    def at(cls, repo: Path, signals: Path) -> "Iterator[Otto]":
        """Give one for a repository; whatever it started has ended afterwards."""
        signals.mkdir()
        made = cls(repo, signals)
        yield made
        for name in [place.stem for place in signals.glob("*.begun")]:
            made.let_go(name)
        if made.process is not None and made.process.poll() is None:
            made.kill()

    def holds(self, name: str, write: str = "", *, after: str = "", **more: object) -> dict[str, object]:
        """Describe a task that tells when it has come so far, and then holds until the test lets it go."""
        command = f"echo {name} > {name}.txt; {write}\n{self.hold(name)}; {after}"
        return feature(name, command, **more)  # type: ignore[arg-type]

    def hold(self, name: str) -> str:
        """Give a command that tells when it has begun, and then holds until the test lets it go."""
        begun, go = self._signals / f"{name}.begun", self._signals / f"{name}.go"
        return f"touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done"

    def let_go(self, name: str) -> None:
        (self._signals / f"{name}.go").touch()

    def build(self, *tasks: dict[str, object], until: str = "", **top: object) -> Run:
        """Start the build, and give the run as soon as each task that holds, and `until`, has come so far."""
        plan = write_plan(self.repo, *tasks, **top)
        self.process = self.start("build", "--plan", str(plan))
        for task in tasks:
            if ".begun" in str(task["run"]):
                self.wait_for(str(task["id"]))
        if until:
            self.wait_for(until)
        return newest(self.repo)

    def start(self, *args: str) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-m", "otto_core.cli.main", *args]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.Popen(
            argv, cwd=self.repo, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def wait_for(self, name: str) -> None:
        """Wait until what holds under a name has begun."""
        sign = self._signals / f"{name}.begun"

        def has_begun() -> bool:
            assert self.process is not None
            lives, begun = self.process.poll() is None, sign.exists()
            assert lives or begun, self.process.communicate()[0]
            return begun

        until(has_begun)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end, and give the exit code."""
        assert self.process is not None
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


def newest(repo: Path) -> Run:
    journal = Journal.read(GitRepository.discover(repo).store / STORE)
    assert journal is not None
    with journal:
        return journal.load(journal.run_ids()[-1])
