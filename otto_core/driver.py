"""One run from plan to report: ask `decide`, do what it names, journal what happened, ask again.

The loop holds no policy. It remembers only which of the named actions it has begun, so that none is begun
twice, and which tasks met a lock of another run, which it looks at until it is free. Ctrl-C, SIGTERM, SIGHUP
and an exhausted budget end in the same way: nothing new begins, what executes is ended gently (at once if the
signal comes again), tasks keep their states.
"""

import asyncio
import secrets
import signal
from base64 import b32encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from merge.objects import Oid
from merge.swap import swap
from otto_core import capture, interrupts
from otto_core import events as ev
from otto_core.attempts import attempt
from otto_core.checkout import dirty_files
from otto_core.checks import Checker, ChecksStopped, final_checks, of_a_fit_worktree
from otto_core.contracts import versions
from otto_core.errors import Locked, OttoError, RepositoryUnusable, Waiting
from otto_core.gate import ExecutionGate
from otto_core.git.repository import GitRepository
from otto_core.journal import Appended, Journal
from otto_core.landing import Lander
from otto_core.lockfile import GivenUp
from otto_core.locks import contentions
from otto_core.model import Outcome
from otto_core.publish import free_branch, publish
from otto_core.refnames import run_ref
from otto_core.refs import pin
from otto_core.refusals import refusals
from otto_core.runlock import driver_name
from otto_core.scheduler import (
    Action,
    CheckFinally,
    EndExecution,
    Finish,
    Land,
    Pause,
    Settle,
    StartAttempt,
    decide,
    is_obsolete,
    wakes_at,
)
from otto_core.session import Session
from otto_core.state import Run
from otto_core.stop import Stop
from otto_core.writesets import Contention, write_set
from planner.canonical import plan_id
from planner.model import Plan

_LOOK_S = 0.25
"""How often a driver looks for decisions of a person, and whether the locks that it waits for are free."""


def new_run_id(now: datetime, taken: Sequence[str]) -> str:
    """Make a run's name: `r-<utc date>-<4 base32 characters>`."""
    while True:
        name = f"r-{now.astimezone(UTC):%Y%m%d}-{b32encode(secrets.token_bytes(3)).decode().lower()[:4]}"
        if name not in taken:
            return name


def create_run(
    repository: GitRepository,
    journal: Journal,
    plan: Plan,
    settings: ev.RunSettings,
    *,
    run_id: str,
    prefix: str,
    slug: str,
) -> Run:
    """Pin the base, set the tip to it, and journal the run with its plan as revision 1.

    Raises:
        RepositoryUnusable: refs or journal cannot be written, or no result branch is possible.

    """
    base = Oid(hex=plan.base)
    branch = free_branch(repository, prefix, slug)
    pin(repository, run_ref(run_id, "base"), base)
    swap(repository.repo, run_ref(run_id, "tip"), None, base)
    dirty = dirty_files(repository)
    started = ev.RunStarted(
        intent=plan.intent,
        slug=slug,
        base=plan.base,
        branch=branch,
        settings=settings,
        driver=driver_name(),
        contracts=versions(repository, plan.contracts, repository.tree_of(base)),
        dirty=dirty.paths if dirty else (),
        dirty_count=dirty.count if dirty else None,
        elapsed_s=0.0,
    )
    stored = ev.PlanStored(revision=1, plan_id=plan_id(plan), plan=plan)
    match journal.append(Run(run_id), [started, stored]):
        case Appended(run):
            return run
        case _:
            raise RepositoryUnusable(f"a run {run_id} exists already", hint="build again")


@dataclass(frozen=True, slots=True)
class _Effect:
    """What was begun for an action."""

    done: asyncio.Task[None]
    stop: Stop
    """Set where the state does not call for the action any more."""


class Driver:
    """Drives one session to a pause or to its end."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._gate = ExecutionGate(lambda: session.run, session.stop, session.locks)
        self._checker = Checker(session, self._gate)
        self._lander = Lander(session, self._checker)
        self._under_way: dict[Action, _Effect] = {}
        self._contended: set[str] = set()
        self._probed_at = 0.0

    async def drive(self) -> Run:
        """Run until the run is over or paused; gives its last state."""
        with interruptible(self._session.stop.ask):
            try:
                while self._session.run.outcome is Outcome.RUNNING:
                    if not await self._step():
                        await self._wait()
            except Waiting as error:
                await self._pause(Pause(Outcome.WAITING, error.message, error.hint))
            except OttoError as error:
                with suppress(OttoError):  # what failed in one attempt may fail in others too
                    await self._wind_down()
                outcome = Outcome.WAITING if isinstance(error, Locked) else Outcome.INTERRUPTED
                with suppress(OttoError):  # the store itself may be what failed
                    self._session.append(Pause(outcome, error.message, error.hint).event)
                raise
            except BaseException:
                await self._wind_down()
                raise
            finally:
                self._checker.close()
                self._lander.close()
                self._session.blocking.shutdown()
                self._session.pool.close()
        return self._session.run

    async def _step(self) -> bool:
        """Begin what may begin; True if the state has changed meanwhile."""
        session = self._session
        before = session.run
        if session.stop.is_set() and not before.cancelled:
            await self._pause(Pause(Outcome.INTERRUPTED, "interrupted"))
            return True
        for action in decide(before, session.elapsed_s, self._contended):
            match action:
                case Settle(task, reason):
                    session.append(ev.TaskFailed(task=task, reason=reason), seen=before)
                case Finish() | EndExecution() if self._under_way:
                    await self._wind_down()  # such as the checks of what a person has skipped meanwhile
                    return True
                case Finish(outcome):
                    await self._finish(outcome)
                    return True
                case Pause():
                    await self._pause(action)
                case EndExecution():
                    raise RuntimeError("what executes is not under way")
                case Land() if any(isinstance(other, Land) for other in self._under_way):
                    pass  # one at a time, also where the task of the other was skipped meanwhile
                case _ if action not in self._under_way:
                    stop = session.stop.part()
                    self._under_way[action] = _Effect(asyncio.create_task(self._begin(action, stop)), stop)
        return session.run is not before

    async def _finish(self, outcome: Outcome) -> None:
        """Journal the end of the run, its result published if it can be by now."""
        session, before = self._session, self._session.run
        await self._publish_late()
        if session.run is before:
            session.append(ev.RunFinished(outcome=outcome))

    async def _publish_late(self) -> None:
        """Publish the result at the end where the branch could not be moved before, if it can be now."""
        session = self._session
        if session.run.withheld is None:
            return
        repository, run = session.repository.here(), session.run
        event = await session.in_thread(partial(publish, repository, run, Oid(hex=run.tip)))
        if isinstance(event, ev.BranchPublished):
            session.append(event)

    async def _begin(self, action: StartAttempt | Land | CheckFinally, stop: Stop) -> None:
        with suppress(ChecksStopped, GivenUp), refusals(f"otto resume {self._session.run.id}"):
            match action:
                case StartAttempt(task):
                    contention = await attempt(self._session, self._gate, task)
                    if contention is not None:
                        self._meet(contention)
                case Land(task):
                    await self._lander.land(task, stop)
                case CheckFinally():
                    await self._check_finally(stop)

    async def _wait(self) -> None:
        """Wait until something ends, a limit fires, a signal comes or a person decides something."""
        session = self._session
        if not self._under_way and not self._contended:
            raise RuntimeError("nothing is under way and nothing can begin")
        wakes = [session.elapsed_s + _LOOK_S, wakes_at(session.run)]
        limit_s = min(max(0.0, at - session.elapsed_s) for at in wakes if at is not None)
        stopped = asyncio.create_task(session.stop.wait())
        done, _ = await asyncio.wait(
            {*self._effects(), stopped}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
        )
        stopped.cancel()
        self._under_way = {
            action: effect for action, effect in self._under_way.items() if effect.done not in done
        }
        failed = [error for task in done - {stopped} if (error := task.exception()) is not None]
        if failed:
            raise failed[0]
        if session.journal.has_news():
            session.catch_up()
        for action, effect in self._under_way.items():
            if is_obsolete(session.run, action):
                effect.stop.set()
        if self._contended and session.elapsed_s >= self._probed_at + _LOOK_S:
            await self._probe()

    def _meet(self, contention: Contention) -> None:
        """Take note of the lock of another run, and journal it unless that has been done."""
        holder = contention.holder
        met = ev.LockContended(
            task=contention.task,
            pattern=contention.pattern,
            holder_run=holder.run,
            holder_task=holder.task,
            holder=str(holder.who),
            holder_pattern=contention.holder_pattern,
        )
        known = self._session.run.contended.get(contention.task)
        if contention.task not in self._contended or known is None or known.told != met.told:
            self._contended.add(contention.task)
            self._session.append(met)

    async def _probe(self) -> None:
        """Look who holds what the contended tasks need."""
        session = self._session
        plan = session.run.plan
        wanted = {name: write_set(plan, plan.task(name)) for name in self._contended}
        store = session.repository.store
        found = await session.in_thread(partial(contentions, store, wanted, run=session.run.id))
        self._probed_at = session.elapsed_s
        for contention in found.values():
            self._meet(contention)
        for name in wanted.keys() - found.keys():
            self._contended.discard(name)
            session.append(ev.LockFreed(task=name))

    async def _check_finally(self, stop: Stop) -> None:
        """Judge the result by the final checks; what fails there counts unless it fails on the base too."""
        session = self._session
        run = session.run
        regressed: list[str] = []
        known: list[str] = []
        for check in final_checks(run.stored[0]):
            verdict = of_a_fit_worktree(await self._checker.judge(check, Oid(hex=run.tip), stop))
            if verdict.result == "passed":
                continue
            alike = False
            if run.plan.verify.baseline:
                asked = await self._checker.judge(check, Oid(hex=run.start.base), stop, baseline=True)
                alike = of_a_fit_worktree(asked).excuses(verdict)
            (known if alike else regressed).append(check.command.text)
        session.append(ev.FinalChecked(tip=run.tip, regressed=tuple(regressed), known=tuple(known)))

    async def _pause(self, pause: Pause) -> None:
        await self._wind_down()
        while not self._session.append(pause.event):
            if self._session.run.cancelled:
                return  # decided in this very moment: then it comes to its end instead

    def _effects(self) -> list[asyncio.Task[None]]:
        return [effect.done for effect in self._under_way.values()]

    async def _wind_down(self) -> None:
        """End what executes, gently, and let every effect journal how it ended."""
        self._session.stop.set()
        ended = await asyncio.gather(*self._effects(), return_exceptions=True)
        self._under_way = {}
        self._session.stop.withdraw()
        for error in ended:
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error


@contextmanager
def interruptible(ask: Callable[[], None]) -> Iterator[None]:
    """Have the first two interrupting signals call `ask` in the event loop instead of ending this process.

    A third one ends it as `kill -9` would: whoever sends it has waited long enough, and everything can be
    resumed. One that is ignored stays ignored: whoever started Otto meant it to go on, as nohup(1) does.
    Afterwards each signal does what it did before.
    """
    loop, heard = asyncio.get_running_loop(), 0
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    handled = [number for number in interrupts.SIGNALS if before[number] is not signal.SIG_IGN]

    def hear() -> None:
        nonlocal heard
        heard += 1
        if heard == 2:
            capture.hurry.set()
            for number in handled:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)
        ask()

    for number in handled:
        loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        capture.hurry.clear()
        for number in handled:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number] or signal.SIG_DFL)
