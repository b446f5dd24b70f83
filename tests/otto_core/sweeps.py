"""One small run over and over, each time cut off at another of its system calls by strace(1).

`otto` does all in one thread here: strace counts the calls of each thread apart, so it would not find all.
What it starts has counts of its own. Its git children are looked at one by one, by a `git` that stands before
the real one; commands of tasks, their own git among them, are left alone.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from otto_core.errors import ExitCode
from tests.otto_core.failpoints import Ended, Kill, Otto
from tests.otto_core.killed_runs import Scene, require_still, require_whole

NAMES: Final = ("rename", "renameat", "renameat2", "link", "linkat")
REMOVALS: Final = ("unlink", "unlinkat", "rmdir")
PLACES: Final = ("mkdir", "mkdirat")
SYNCS: Final = ("fsync", "fdatasync")
WRITES: Final = ("write", "pwrite64")
"""Calls by their names; which of them a program uses depends on the machine."""

MOST: Final = 60
"""How many of a call's occurrences a sampled sweep takes, evenly from the first to the last."""

KILL: Final = "signal=KILL"

Where = Literal["repository", "pool", "both"]
Files = Mapping[str | bytes, str | bytes]
_POOLS: Final = "/otto/worktrees/"

_GIT = """\
#!/bin/sh
[ -z "$OTTO_MARKER" ] || exec {git} "$@"
echo >> {calls}
nth=$(wc -l < {calls})
[ {child} = 0 ] || [ {child} = "$nth" ] || exec {git} "$@"
"""

Way = Literal["alone", "with Otto", "outlives Otto"]
_WAYS: Final[Mapping[Way, str]] = {
    "alone": 'exec {strace}.$nth {git} "$@"\n',
    "with Otto": '{strace}.$nth {git} "$@"\ncode=$?\n[ $code != 137 ] || kill -KILL $PPID\nexit $code\n',
    "outlives Otto": 'kill -KILL $PPID\nsleep 0.2\nexec {git} "$@"\n',
}
"""What becomes of a git child: it is killed, it and then Otto, or Otto alone just before it begins."""


def why_not() -> str:
    """Say why strace cannot look at a process here; empty where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(
        ["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True, check=False
    )
    return f"strace cannot trace here: {done.stderr.strip()}" if done.returncode else ""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where to cut: at the how manieth of its calls by a name, of which git child where it is not Otto's."""

    call: str
    number: int
    child: int = 0

    def __str__(self) -> str:
        """Name it, also as a directory."""
        return f"{self.call}-{self.number}" + (f"-of-git-{self.child}" if self.child else "")


class Sweep:
    """What is disturbed, at which calls, and how: a build; or, where that was killed at `start`, its resume.

    The calls are those below the Git directory, those in the worktrees and beside them, or both; no more than
    `most` by one name.
    """

    def __init__(
        self,
        otto: Otto,
        place: Path,
        calls: Sequence[str],
        fault: str = KILL,
        *,
        start: Kill | None = None,
        where: Where = "repository",
        most: int | None = None,
        files: Files = MappingProxyType({}),
    ) -> None:
        self._otto, self._place, self._calls, self._fault = otto, place, calls, fault
        self._start, self._where, self._most, self._files = start, where, most, files
        self.swept = 0
        self.went_on = 0
        """How often the run came to its end: it took no harm, or did not come by that call this time."""
        self.wrong: list[str] = []

    def demand(self, end_well: Callable[[Scene, Ended], None]) -> None:
        """Disturb one call after the other, and note where a build does not `end_well`."""
        for cut in self._cuts():
            place = self._place / str(cut)
            scene, ended = self._run(place, cut)
            try:
                end_well(scene, ended)
            except AssertionError as error:
                self.wrong.append(f"{cut}: {error}\n{ended.printed}")
            else:
                self._forget(scene)
            self.swept += 1
            self.went_on += ended.code == 0
        sys.stdout.write(f"{self.swept} calls, {self.went_on} runs came to their end\n")

    def _cuts(self) -> list[Cut]:
        """Name the calls that an undisturbed build makes, or as many as are wanted of each."""
        scene, ended = self._run(self._place / "recorded", None)
        assert ended.code == 0, ended.printed
        found = list(self._found(scene))
        names = sorted({cut.call for cut in found})
        return [cut for name in names for cut in self._sampled([c for c in found if c.call == name])]

    def _found(self, scene: Scene) -> Iterator[Cut]:
        yield from self._told(scene, self._log, 0)

    def _told(self, scene: Scene, log: Path, child: int) -> Iterator[Cut]:
        places = {"repository": (f"{scene.repo}/.git/",), "pool": (_POOLS,)}
        wanted = places.get(self._where, (f"{scene.repo}/.git/", _POOLS))
        seen: Counter[str] = Counter()
        for line in log.read_text().splitlines():
            call = line.partition("(")[0]
            seen[call] += 1
            if call in self._calls and any(map(line.__contains__, wanted)) and " = -1 " not in line:
                yield Cut(call, seen[call], child)

    def _sampled(self, cuts: Sequence[Cut]) -> Sequence[Cut]:
        if self._most is None or len(cuts) <= self._most:
            return cuts
        return [cuts[n * (len(cuts) - 1) // (self._most - 1)] for n in range(self._most)]

    def _run(self, place: Path, cut: Cut | None) -> tuple[Scene, Ended]:
        scene = self._scene(place)
        if self._start is None:
            return scene, scene.build(strace=self._strace(cut, self._log))
        assert scene.build(self._start).code == -signal.SIGKILL
        return scene, scene.resume(strace=self._strace(cut, self._log))

    def _scene(self, place: Path) -> Scene:
        scene = Scene.make(self._otto, place, brief=True, files=self._files)
        self._otto.give(place)
        return scene

    def _strace(self, cut: Cut | None, log: Path) -> list[str]:
        names = ",".join(f"?{call}" for call in self._calls)
        inject = ["-e", f"inject={cut.call}:{self._fault}:when={cut.number}"] if cut else []
        return ["strace", "-y", "-s", "0", "-e", f"trace={names}", *inject, "-o", str(log)]

    def _forget(self, scene: Scene) -> None:
        for run in scene.runs():
            shutil.rmtree(run.settings.worktrees or scene.repo, ignore_errors=True)
        shutil.rmtree(scene.repo.parent)

    @property
    def _log(self) -> Path:
        return self._place / "strace"


class GitSweep(Sweep):
    """The same for the calls of the git programs that Otto runs, or for each of these that writes.

    `otto` was made with what `before_git` gives, as was `program`.
    """

    def __init__(self, otto: Otto, place: Path, program: Path, *, way: Way, files: Files) -> None:
        calls = (*NAMES, *REMOVALS, *PLACES, *WRITES)
        super().__init__(otto, place, calls, where="both", most=MOST, files=files)
        self._program, self._way = program, way

    def _found(self, scene: Scene) -> Iterator[Cut]:
        for log in sorted(self._place.glob("strace.*"), key=lambda log: int(log.suffix[1:])):
            cuts = list(self._told(scene, log, int(log.suffix[1:])))
            yield from cuts[:1] if self._way == "outlives Otto" else cuts

    def _run(self, place: Path, cut: Cut | None) -> tuple[Scene, Ended]:
        scene = self._scene(place)
        real = shutil.which("git")
        assert real is not None
        script = (_GIT + _WAYS[self._way if cut else "alone"]).format(
            git=real,
            calls=place / "calls",
            child=cut.child if cut else 0,
            strace=" ".join(self._strace(cut, self._log)),
        )
        self._program.write_text(script)
        self._program.chmod(0o755)
        ended = scene.build(one_thread=True)
        self._program.unlink()
        return scene, ended


def before_git(place: Path) -> tuple[Path, dict[str, str]]:
    """Give where a `git` stands before the real one, once it is written, and the environment for that."""
    return place / "git", {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}


# --- how what was disturbed has to end


def finish(scene: Scene) -> None:
    """Go on with a run until it is done, and demand of it what has to hold of any."""
    if not scene.runs():
        built = scene.build()
        assert built.code == 0, built.printed
    resumed = scene.resume()
    assert resumed.code == 0, resumed.printed
    require_whole(scene, scene.runs()[-1])
    require_still(scene, scene.runs()[-1])


def killed(scene: Scene, ended: Ended) -> None:
    """Demand that what was killed is gone on with to the same end."""
    assert ended.code in (-signal.SIGKILL, ExitCode.OK), ended.code
    finish(scene)


def loud_or_right(scene: Scene, ended: Ended) -> None:
    """Demand that what failed was told or did no harm, and is gone on with to the same end."""
    assert ended.code in (ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.REPOSITORY), ended.code
    finish(scene)
