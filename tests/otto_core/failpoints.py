"""The named points of a run at which a test can kill it, and `otto` in processes that die there.

No hook stands in production code. A process of its own imports the program once, wraps the functions through
which every journal write and every lasting effect passes, and forks a child for each command; the child is
killed at the n-th time that it comes to a point, or tells by which points it came.

A point is named after what is journalled (`journal.<type of event>`), which ref is written (`ref.<kind>`), or
which function takes effect and who calls it (`<module>.<function>`). Each is passed at up to three moments:
before, after, and *within*: inside the transaction of the store, or while the ref's lock file is held.
"""

import asyncio
import ctypes
import encodings
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Literal, NoReturn, Self

from merge import candidate, swap
from otto_core import (
    children,
    kernel,
    leftovers,
    linked,
    lockfile,
    made,
    occupancy,
    recover,
    refs,
    worktrees,
)
from otto_core.cli.main import VERBS, main
from otto_core.git import repository
from otto_core.journal import Journal

ROOT = Path(__file__).parents[2]
PATIENCE_S = 600
"""After how many seconds a command that does not end is ended, whatever it waits for."""

Moment = Literal["before", "within", "after"]
Tell = Callable[[str, Moment], None]

EFFECTS: Mapping[ModuleType, tuple[str, ...]] = {
    candidate: ("commit",),
    children: ("start",),
    leftovers: ("end_all",),
    linked: ("register", "unregister"),
    lockfile: ("write",),
    made: ("set_apart", "bring_back", "note_down", "forget"),
    occupancy: ("occupy", "leave"),
    recover: ("unlock_refs",),
    refs: ("unpin",),
    repository: ("commit_tree",),
    worktrees: ("reset", "overlay", "set_aside"),
}
"""Functions with an effect that lasts, less the journal's and those on refs; whoever calls one is a point."""

_PR_SET_PTRACER, _PR_SET_PTRACER_ANY = 0x59616D61, -1  # prctl(2): strace is no parent of the command's
_PR_SET_DUMPABLE = 4

_KINDS = (
    (re.compile(r"refs/otto/runs/[^/]+/(base|tip|delivery)"), r"ref.\1"),
    (re.compile(r"refs/otto/runs/[^/]+/tasks/[^/]+/([a-z]+)-\d+"), r"ref.\1"),
    (re.compile(r"refs/heads/.+"), "ref.branch"),
)


def kind_of(ref: str) -> str:
    """Name the point at which a ref is written (ValueError for one that Otto does not write)."""
    for pattern, kind in _KINDS:
        if found := pattern.fullmatch(ref):
            return found.expand(kind)
    raise ValueError(f"no point is named for {ref}")


@dataclass(frozen=True, slots=True)
class Kill:
    """Where to die: when a point is passed for the n-th time at a moment."""

    point: str
    moment: Moment
    nth: int = 1

    def __str__(self) -> str:
        """Name it as a test is named."""
        return f"{self.moment} {self.point} {self.nth}"


# --- in the child: what tells


def arm(tell: Tell) -> None:
    """Have each point tell when it is passed."""
    _arm_journal(tell)
    _arm_refs(tell)
    for module, names in EFFECTS.items():
        for name in names:
            _arm_function(getattr(module, name), name, tell)


def _arm_journal(tell: Tell) -> None:
    append, append_locked = Journal.append, Journal._append_locked

    def telling(self: Journal, run: Any, events: Any) -> Any:
        for event in events:
            tell(f"journal.{event.type}", "before")
        outcome = append(self, run, events)
        for event in events:
            tell(f"journal.{event.type}", "after")
        return outcome

    def telling_within(self: Journal, run: Any, events: Any) -> Any:
        outcome = append_locked(self, run, events)
        for event in events:
            tell(f"journal.{event.type}", "within")
        return outcome

    Journal.append = telling  # type: ignore[method-assign]
    Journal._append_locked = telling_within  # type: ignore[method-assign]


def _arm_refs(tell: Tell) -> None:
    """Every swap of a ref takes its lock in `merge.swap`, and nowhere else."""
    locked = swap._locked

    @contextmanager
    def telling(repo: Any, ref: str, deadline: float, wait: float) -> Iterator[Any]:
        told = kind_of(ref)
        tell(told, "before")
        with locked(repo, ref, deadline, wait) as transaction:
            yield transaction
            tell(told, "within")
        tell(told, "after")

    swap._locked = telling


def _arm_function(function: Callable[..., object], name: str, tell: Tell) -> None:
    """Wrap a function wherever it was imported to by name."""
    for module in _first_party():
        if vars(module).get(name) is function:
            point = f"{module.__name__.rpartition('.')[2]}.{name}"
            setattr(module, name, _telling(function, point, tell))


def _telling(function: Callable[..., object], point: str, tell: Tell) -> Callable[..., object]:
    def telling(*args: object, **kwargs: object) -> object:
        tell(point, "before")
        result = function(*args, **kwargs)
        tell(point, "after")
        return result

    return telling


def _first_party() -> list[ModuleType]:
    return [
        m for name, m in sys.modules.items() if name.partition(".")[0] in ("otto_core", "planner", "merge")
    ]


# --- the process that forks


def _serve() -> None:
    """Run the commands that standard input asks for, one a line; each answer is the child's wait status."""
    for module, _ in VERBS.values():
        import_module(module)
    kernel.become_subreaper()  # what a killed command leaves becomes this process's, which waits for it
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["user"] is not None:
            _import_encodings()
        child = os.fork()
        if child == 0:
            _be_otto(**request)
        left, statuses = {child}, {}
        if request["strace"]:
            left.add(_trace(child, request["strace"]))
        while left:
            ended, statuses[ended] = os.wait()
            left.discard(ended)
        os.write(1, b"%d\n" % statuses[child])


def _import_encodings() -> None:
    """Import what is imported late: another user may not be able to read the files of the interpreter."""
    for found in iter_modules(encodings.__path__, "encodings."):
        if found.name not in ("encodings.mbcs", "encodings.oem"):  # of another system
            import_module(found.name)


def _trace(child: int, strace: Sequence[str]) -> int:
    """Have strace(1) look at a child that has stopped itself, and let it go on; gives the id of strace."""
    os.waitpid(child, os.WUNTRACED)
    tracer = subprocess.Popen([*strace, "-p", str(child)], stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    assert b"attached" in tracer.stderr.readline()
    os.kill(child, signal.SIGCONT)
    return tracer.pid


def _do_all_in_one_thread() -> None:
    """Have what is meant for other threads done at once: strace(1) counts the calls of each thread apart."""

    def at_once(
        self: asyncio.BaseEventLoop, _executor: object, work: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        future = self.create_future()
        try:
            future.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 -- whatever it is, whoever waits is told
            future.set_exception(error)
        return future

    asyncio.BaseEventLoop.run_in_executor = at_once  # type: ignore[assignment, method-assign]


def _become(user: int) -> None:
    """Go on as another user, with no more rights than that one has."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # or its own entries below /proc were root's


def _be_otto(
    args: Sequence[str],
    cwd: str,
    output: str,
    trace: str,
    kill: tuple[str, Moment, int] | None,
    strace: Sequence[str],
    one_thread: bool,
    user: int | None,
) -> NoReturn:
    """Be `otto ARGS` in the place of this process, up to its end or to where it is to be killed."""
    signal.alarm(PATIENCE_S)
    recover._STALE_S = 0.1  # nobody else is here to hold a lock of the run's
    kernel.become_subreaper.cache_clear()  # the parent is one; a child does not inherit that (prctl(2))
    told = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    printed = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in ((nothing, 0), (printed, 1), (printed, 2)):
        os.dup2(here, there)
    os.chdir(cwd)
    if user is not None:
        _become(user)
    passed: Counter[tuple[str, Moment]] = Counter()
    turn = threading.Lock()

    def tell(point: str, moment: Moment) -> None:
        with turn:
            passed[point, moment] += 1
            os.write(told, f"{moment} {point}\n".encode())
            if kill is not None and (point, moment, passed[point, moment]) == tuple(kill):
                os.kill(os.getpid(), signal.SIGKILL)

    code = 70
    try:
        if one_thread:
            _do_all_in_one_thread()
        if strace:
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        if not one_thread:
            arm(tell)
        sys.argv = ["otto", *args]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# --- in the test


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), what it printed, what it passed."""

    code: int
    printed: str
    passed: tuple[tuple[Moment, str], ...]

    def count(self, point: str, moment: Moment) -> int:
        """Tell how often a point was passed."""
        return self.passed.count((moment, point))


class Otto:
    """The process that forks, as a test sees it: runs `otto`, or kills it on the way.

    What it runs has `more` in its environment, and where a `user` is given, it is run as that one.
    """

    def __init__(self, place: Path, more: Mapping[str, str] | None = None, user: int | None = None) -> None:
        self._trace, self._output = place / "trace", place / "output"
        self.user = user
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(more or {})}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.otto_core.failpoints"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=PATIENCE_S)

    def give(self, place: Path) -> None:
        """Make a place, and all that is below it, the user's."""
        if self.user is not None:
            for path in (place, *place.rglob("*")):
                os.chown(path, self.user, self.user, follow_symlinks=False)

    def run(
        self,
        cwd: Path,
        *args: str,
        kill: Kill | None = None,
        strace: Sequence[str] = (),
        one_thread: bool = False,
    ) -> Ended:
        """Run a command to its end, or to where it is to be killed; or in one thread, with strace on it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {
            "args": args,
            "cwd": str(cwd),
            "output": str(self._output),
            "trace": str(self._trace),
            "kill": (kill.point, kill.moment, kill.nth) if kill else None,
            "strace": strace,
            "one_thread": one_thread or bool(strace),
            "user": self.user,
        }
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        passed = tuple(_passed(line) for line in self._trace.read_text().splitlines())
        return Ended(os.waitstatus_to_exitcode(status), self._output.read_text(), passed)


def _passed(line: str) -> tuple[Moment, str]:
    moment, _, point = line.partition(" ")
    match moment:
        case "before" | "within" | "after":
            return moment, point
        case _:
            raise ValueError(line)


if __name__ == "__main__":
    _serve()
