"""Checks on one exact tree, in a clean worktree of their own, one after another."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from merge.objects import Oid
from otto_core import events as ev
from otto_core.environment import digest
from otto_core.errors import RepositoryUnusable
from otto_core.execution import Exited, NotStarted, Overgrown, Stopped, Survived, TimedOut, Unconfined
from otto_core.feedback import tail
from otto_core.gate import CheckStep, ExecutionGate, Place
from otto_core.judgement import too_many
from otto_core.model import Reason, ReasonKind, Verdict, is_sent
from otto_core.occupancy import Occupant, leave, occupy
from otto_core.ports import reserve
from otto_core.refusals import is_of_the_machine
from otto_core.session import Session
from otto_core.setup import Behalf, Ready, Unfit, broken, furnish, set_up
from otto_core.slots import Slot, borrow
from otto_core.state import StoredPlan
from otto_core.stop import Stop
from planner.model import Command

Judged = Exited | TimedOut | Overgrown | Stopped | NotStarted | Survived
"""Endings that say something of a tree."""


class ChecksStopped(Exception):
    """The check was asked to stop; it has no verdict."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a stored plan, and on whose behalf it runs."""

    step: CheckStep
    command: Command
    attempt: int | None = None

    @property
    def subject(self) -> str:
        """A name for logs: the task, or the run's base or result."""
        return f"{self.step.task.replace('/', '.')}.{self.attempt}" if self.step.task else "run"


def checks_of_task(stored: StoredPlan, task: str, attempt: int) -> list[Check]:
    """List what has to pass before the task's result lands: its own checks, then the run-wide ones."""
    own = [
        Check(CheckStep(stored.revision, stored.plan_id, "task", n, task), command, attempt)
        for n, command in enumerate(stored.plan.task(task).verify)
    ]
    each = [
        Check(CheckStep(stored.revision, stored.plan_id, "each", n, task), command, attempt)
        for n, command in enumerate(stored.plan.verify.each)
    ]
    return own + each


def each_checks(stored: StoredPlan) -> list[Check]:
    """List the checks before every landing, on behalf of no task."""
    return [
        Check(CheckStep(stored.revision, stored.plan_id, "each", n), command)
        for n, command in enumerate(stored.plan.verify.each)
    ]


def final_checks(stored: StoredPlan) -> list[Check]:
    """List the checks of the run's result."""
    return [
        Check(CheckStep(stored.revision, stored.plan_id, "final", n), command)
        for n, command in enumerate(stored.plan.verify.final)
    ]


def of_a_fit_worktree(judged: Verdict | Reason) -> Verdict:
    """Give a verdict where only a verdict will do.

    Raises:
        RepositoryUnusable: there is none, for the worktree could not be set up.

    """
    if isinstance(judged, Reason):
        raise RepositoryUnusable(judged.message, hint=judged.hint)
    return judged


@dataclass(slots=True)
class Checker:
    """Runs checks serially in one borrowed worktree, which it keeps until it is closed."""

    session: Session
    gate: ExecutionGate
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _loan: ExitStack = field(default_factory=ExitStack)
    _slot: Slot | None = None

    async def judge(
        self, check: Check, commit: Oid, stop: Stop, *, baseline: bool = False
    ) -> Verdict | Reason:
        """Run one check on the tree of a commit and journal its verdict.

        Where a signal ended the check, it is run once more: that said nothing of the tree. Of the base, such
        a verdict is not journalled at all. A reason instead where the worktree could not be set up.

        Raises:
            ChecksStopped: `stop` is set.

        """
        async with self._turn:
            judged = await self._judge(check, commit, stop, baseline=baseline)
            if isinstance(judged, Verdict) and is_sent(judged.exit_code):
                judged = await self._judge(check, commit, stop, baseline=baseline)
            return judged

    async def _judge(self, check: Check, commit: Oid, stop: Stop, *, baseline: bool) -> Verdict | Reason:
        gate = self.gate.until(stop)
        slot = self._borrowed()
        session = self.session
        await session.in_thread(lambda: furnish(slot, session.repository.here(), commit, session))
        behalf = Behalf(session.run.id, f"{check.subject}.check-setup.log", check.step.task, check.attempt)
        tree = str(session.repository.tree_of(commit))
        try:
            fitness = await set_up(session, gate, slot, commit, behalf)
            place = self._place(slot, check, tree)
            occupy(slot, Occupant(marker=place.marker))
        except OSError as error:
            if is_of_the_machine(error):
                raise
            fitness = broken(error, behalf)
        match fitness:
            case Unfit(reason=reason):
                return reason
            case Stopped():
                raise ChecksStopped
            case Ready():
                pass
        ending = await gate.execute(check.step, place)
        if not isinstance(ending, Survived):
            leave(slot)
        if isinstance(ending, Unconfined):
            return _unconfined(ending, place)
        verdict = _verdict(session, check, tree, place, ending)
        if not (baseline and is_sent(verdict.exit_code)):
            session.append(
                ev.Checked(task=check.step.task, attempt=check.attempt, baseline=baseline, verdict=verdict)
            )
        return verdict

    def close(self) -> None:
        """Give the worktree back."""
        self._loan.close()
        self._slot = None

    def _borrowed(self) -> Slot:
        if self._slot is None:
            slot = self._loan.enter_context(borrow(self.session.worktrees, "check"))
            slot.first_port = self._loan.enter_context(reserve(self.session.settings.worktrees.ports))
            self._slot = slot
        return self._slot

    def _place(self, slot: Slot, check: Check, tree: str) -> Place:
        logs = self.session.logs
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        step = check.step
        name = f"{check.subject}.{step.scope}-{step.number + 1}.{tree[:8]}"
        return Place(
            cwd=slot.path,
            env=self.session.environment(
                OTTO_RUN=self.session.run.id,
                **slot.environment,
                **({"OTTO_TASK": step.task} if step.task else {}),
            ),
            log=logs / f"{name}.log",
            marker=self.session.marker(name),
            cage=self.session.cage(slot),
            secrets=self.session.secrets(),
        )


def _unconfined(ending: Unconfined, place: Place) -> Reason:
    """Say why nothing was judged: the check did not begin, on this tree or on any other."""
    last = tail(place.log, lines=1)
    return Reason(
        kind=ReasonKind.SETUP_FAILED,
        message=ending.message + (f": {last}" if last else ""),
        hint="see `otto doctor`; `home_pass` shows parts of your home in the sandbox",
        evidence=place.log.name,
    )


def _verdict(session: Session, check: Check, tree: str, place: Place, ending: Judged) -> Verdict:
    verdict = partial(
        Verdict,
        command=check.command.text,
        scope=check.step.scope,
        tree=tree,
        digest=digest(check.command.text, session.environment(), session.run.plan.verify.timeout_s),
        log=place.log.name,
    )
    match ending:
        case Exited(code=code, duration_s=duration_s):
            return verdict(
                result="passed" if code == 0 else "failed", exit_code=code, duration_s=round(duration_s, 3)
            )
        case TimedOut(duration_s=duration_s):
            return verdict(result="timeout", exit_code=None, duration_s=round(duration_s, 3))
        case Overgrown(limit=limit, duration_s=duration_s):
            with place.log.open("a", encoding="utf-8") as log:
                log.write(f"{too_many(limit)}\n")
            return verdict(result="failed", exit_code=None, duration_s=round(duration_s, 3))
        case Survived(duration_s=duration_s):
            return verdict(result="failed", exit_code=None, duration_s=round(duration_s, 3))
        case NotStarted(message=message):
            place.log.write_text(f"{message}\n")
            return verdict(result="failed", exit_code=None, duration_s=0.0)
        case Stopped():
            raise ChecksStopped
