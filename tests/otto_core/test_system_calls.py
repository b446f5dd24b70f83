"""A small run cut off in the middle of its system calls: every one that makes something last, by strace(1).

The run is killed at its first `rename`, at its second, and so on until one is left alone; likewise for each
call that gives a file a name, writes it or syncs it. And every sync fails once, as that of a dying disk does.
`otto` does all in one thread here: strace counts the calls of each thread apart, so it would not find all.
"""

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from otto_core.errors import ExitCode
from tests.otto_core.failpoints import Ended, Kill, Otto
from tests.otto_core.killed_runs import Scene, require_still, require_whole

NAMES = ("rename", "renameat", "renameat2", "link", "linkat")
SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "pwrite64")
"""Calls by their names; which of them a program uses depends on the machine."""

STARTS = (Kill("process.start", "after", 3), Kill("ref.tip", "within", 3))
"""Two ways to die before a recovery: with an attempt under way, and in a landing."""


def why_not() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(
        ["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True, check=False
    )
    return f"strace cannot trace here: {done.stderr.strip()}" if done.returncode else ""


WHY_NOT = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture(scope="module")
def otto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otto]:
    with Otto(tmp_path_factory.mktemp("otto")) as process:
        yield process


class Sweep:
    """One small plan over and over, each time disturbed at another of some calls below the Git directory.

    What is disturbed is its build; or, where that was `killed` before, its resume.
    """

    def __init__(
        self, otto: Otto, place: Path, calls: Sequence[str], fault: str, killed: Kill | None = None
    ) -> None:
        self._otto, self._place, self._fault, self._killed = otto, place, fault, killed
        self._names = [f"?{call}" for call in calls]
        self.swept = 0
        self.wrong: list[str] = []

    def demand(self, end_well: Callable[[Scene, Ended], None]) -> None:
        """Disturb one call after the other, and note where a build does not `end_well`."""
        for call, number in self._recorded():
            place = self._place / f"{call}-{number}"
            scene, ended = self._run(place, "-e", f"inject={call}:{self._fault}:when={number}")
            try:
                end_well(scene, ended)
            except AssertionError as error:
                self.wrong.append(f"{call} {number}: {error}\n{ended.printed}")
            else:
                shutil.rmtree(place)
            self.swept += 1

    def _recorded(self) -> list[tuple[str, int]]:
        """Name the calls that an undisturbed build makes: which, and the how manieth of its kind."""
        scene, ended = self._run(self._place / "recorded")
        assert ended.code == 0, ended.printed
        seen: Counter[str] = Counter()
        found = []
        for line in self._log.read_text().splitlines():
            call = line.partition("(")[0]
            seen[call] += 1
            if f"?{call}" in self._names and f"{scene.repo}/.git/" in line:
                found.append((call, seen[call]))
        return found

    def _run(self, place: Path, *more: str) -> tuple[Scene, Ended]:
        trace = f"trace={','.join(self._names)}"
        strace = ["strace", "-y", "-s", "0", "-o", str(self._log), "-e", trace, *more]
        scene = Scene.make(self._otto, place, brief=True)
        if self._killed is None:
            return scene, scene.build(strace=strace)
        assert scene.build(self._killed).code == -signal.SIGKILL
        return scene, scene.resume(strace=strace)

    @property
    def _log(self) -> Path:
        return self._place / "strace"


def finish(scene: Scene) -> None:
    if not scene.runs():
        built = scene.build()
        assert built.code == 0, built.printed
    resumed = scene.resume()
    assert resumed.code == 0, resumed.printed
    require_whole(scene, scene.runs()[-1])
    require_still(scene, scene.runs()[-1])


def killed(scene: Scene, ended: Ended) -> None:
    assert ended.code == -signal.SIGKILL
    finish(scene)


def loud_or_right(scene: Scene, ended: Ended) -> None:
    assert ended.code in (ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.REPOSITORY), ended.code
    finish(scene)


@pytest.mark.parametrize("calls", [NAMES, SYNCS, WRITES], ids=["names", "syncs", "writes"])
def test_i9_a_build_killed_at_any_system_call_that_lasts_ends_as_an_undisturbed_one(
    otto: Otto, tmp_path: Path, calls: Sequence[str]
) -> None:
    sweep = Sweep(otto, tmp_path, calls, "signal=KILL")
    sweep.demand(killed)
    assert sweep.wrong == []
    assert sweep.swept > 0


@pytest.mark.parametrize("start", STARTS, ids=str)
def test_i9_a_recovery_killed_at_any_system_call_that_lasts_is_gone_on_with(
    otto: Otto, tmp_path: Path, start: Kill
) -> None:
    sweep = Sweep(otto, tmp_path, (*NAMES, *SYNCS), "signal=KILL", start)
    sweep.demand(killed)
    assert sweep.wrong == []
    assert sweep.swept > 0


def test_a_disk_that_fails_to_sync_once_is_told_or_does_no_harm(otto: Otto, tmp_path: Path) -> None:
    sweep = Sweep(otto, tmp_path, SYNCS, "error=EIO")
    sweep.demand(loud_or_right)
    assert sweep.wrong == []
    assert sweep.swept > 0
