"""Landing a run's result on a branch of a person's: propose, check, move.

Where the branch has moved on, a merge commit is made in memory; it passes the write gate, the audit and the
run's checks on its exact tree before anything moves. One process at a time does this in a repository, and
what an earlier one left half done is settled first.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from merge.objects import GitError, Oid
from otto_core import events as ev
from otto_core.checks import (
    Check,
    Checker,
    ChecksStopped,
    each_checks,
    final_checks,
    of_a_fit_worktree,
)
from otto_core.compose import configuration_at
from otto_core.copies import gather
from otto_core.decisions import cleaned
from otto_core.driver import interruptible
from otto_core.errors import Interrupted, Locked, RepositoryUnusable, UsageError
from otto_core.freshness import require_fresh
from otto_core.gate import ExecutionGate
from otto_core.git.repository import Checkout, GitRepository
from otto_core.journal import Journal
from otto_core.machine import remedy
from otto_core.model import Reason, ReasonKind, Verdict
from otto_core.proposal import Contained, FastForward, MergeCommit, contains, propose
from otto_core.recover import unlock_refs
from otto_core.recovery import Tip, astray
from otto_core.refnames import run_ref
from otto_core.runlock import hold, hold_delivery
from otto_core.sandbox import choose
from otto_core.session import Session, open_session
from otto_core.state import Run
from otto_core.transfer import (
    Settled,
    checkout_of,
    move_of,
    path_text_of,
    require_clean,
    settle_all,
    transfer,
)
from planner.durations import format_duration


@dataclass(frozen=True, slots=True)
class Order:
    """What to land where. `target` is a full ref; `expect_*` are revisions that have to be met."""

    run: str
    target: str
    expect_target: str | None = None
    expect_branch: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A check of the merged tree; `on_target` is how it ended on the branch as it was, if that was asked."""

    verdict: Verdict
    on_target: Verdict | None = None

    @property
    def counts(self) -> bool:
        """Whether the merge is to blame: the check did not pass, and ends otherwise without it."""
        bad = self.verdict.result != "passed"
        return bad and not (self.on_target and self.on_target.excuses(self.verdict))


@dataclass(frozen=True, slots=True)
class Delivered:
    """The branch moved from `before` to `after`.

    `how` is `resumed` where an interrupted landing was finished.
    """

    before: str
    after: str
    how: Literal["fast_forward", "merge", "resumed"]
    checkout: Checkout | None
    merge: MergeCommit | None
    checks: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Already:
    """The branch, which is at `at`, has the result."""

    at: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing moved: the merge may not land, for this reason."""

    at: str
    reason: Reason
    checks: tuple[Judged, ...]


Delivery = Delivered | Already | Withheld
Tell = Callable[[str], None]


def deliver(
    repository: GitRepository, journal: Journal, order: Order, *, tell: Tell = lambda _: None
) -> Delivery:
    """Land the result of a run. `journal` is open for writing; `tell` is told of progress in words.

    Raises:
        UsageError: the run has landed nothing, or was cleaned; or there is no such branch.
        Waiting: somebody else moved or deleted the run's tip.
        Stale: the branch or the result is not where it was expected.
        Locked: another process lands something.
        RepositoryUnusable: the checkout is not clean where files would change, or cannot be written.

    """
    with _as_unusable(order.run), hold_delivery(repository.store):
        _free_refs(repository, order.run)
        settled = settle_all(repository, journal)
        for one in settled:
            tell(_told(one))
        run = journal.load(order.run)
        before, result = _ends(repository, journal, run, order.target)
        for one in settled:
            if (one.run, one.target, one.commit) == (run.id, order.target, str(before)):
                home = _home(repository, order.target)
                return Delivered(one.before, str(before), "resumed", home, None, ())
        require_fresh(
            _unless_there(repository, run, before, result),
            order.target,
            before,
            result,
            expect_target=_commit(repository, order.expect_target),
            expect_branch=_commit(repository, order.expect_branch),
        )
        return _deliver(repository, journal, run, order.target, before, result, tell)


def _deliver(
    repository: GitRepository, journal: Journal, run: Run, target: str, before: Oid, result: Oid, tell: Tell
) -> Delivery:
    proposal = propose(repository, run, target, before, result)
    match proposal:
        case Contained():
            return Already(str(before))
        case Reason():
            return Withheld(str(before), proposal, ())
        case FastForward(commit) | MergeCommit(commit):
            pass
    checkout = checkout_of(repository, target)
    if checkout is not None:
        require_clean(repository, checkout, move_of(repository, str(before), str(commit)))
    checks: tuple[Judged, ...] = ()
    if isinstance(proposal, MergeCommit):
        run, checks = _checked(repository, journal, run, commit, before, tell)
        if bad := [judged for judged in checks if judged.counts]:
            return Withheld(str(before), _failed(run, bad[0], target), checks)
    started = ev.DeliveryStarted(
        target=target,
        before=str(before),
        after=str(commit),
        result=str(result),
        checkout=path_text_of(checkout.path) if checkout else b"",
        strategy=proposal.strategy if isinstance(proposal, MergeCommit) else None,
        note=proposal.note if isinstance(proposal, MergeCommit) else "",
        both_changed=proposal.both_changed if isinstance(proposal, MergeCommit) else (),
        marks_writing=True,
    )
    transfer(repository, journal, run, started, checkout)
    merged = proposal if isinstance(proposal, MergeCommit) else None
    how: Literal["fast_forward", "merge"] = "merge" if merged else "fast_forward"
    return Delivered(str(before), str(commit), how, checkout, merged, checks)


@contextmanager
def _as_unusable(run: str) -> Iterator[None]:
    """Translate what the disk refuses at any step; `transfer` has seen to what had moved by then."""
    try:
        yield
    except (OSError, GitError) as error:
        raise RepositoryUnusable(
            f"the landing could not go on: {error}",
            hint=f"{remedy(error)}; then otto land {run}",
        ) from error


def _free_refs(repository: GitRepository, run: str) -> None:
    """Remove the lock files that a dead landing, or driver, left on the refs of a run.

    A run that is driven is left alone: its driver has seen to that.
    """
    with suppress(Locked), hold(repository.store, run):
        unlock_refs(repository, run)


def require_branch(repository: GitRepository, name: str) -> Oid:
    """Give the commit of a local branch.

    Raises:
        UsageError: there is none.

    """
    at = repository.ref(f"refs/heads/{name}")
    if at is None:
        raise UsageError(f"there is no branch {name!r}", hint="git branch --list")
    return at


def _ends(repository: GitRepository, journal: Journal, run: Run, target: str) -> tuple[Oid, Oid]:
    if run.cleaned is not None:
        message, hint = cleaned(run)
        raise UsageError(message, hint=hint)
    return require_branch(repository, target.removeprefix("refs/heads/")), _result(repository, journal, run)


def _result(repository: GitRepository, journal: Journal, run: Run) -> Oid:
    """Give the commit to land: the run's tip, where the journal has it unless something lands there now."""
    result = repository.ref(run_ref(run.id, "tip"))
    if run.tip == run.start.base and (result is None or str(result) == run.tip):
        raise UsageError(f"{run.id} has landed nothing", hint=f"otto status {run.id}")
    now = journal.refresh(run)  # asked in this order: a swap that was seen is journalled by now as begun
    if result is not None and str(result) in _landed_since(run, now):
        return result
    if (moved := astray(run, Tip(str(result) if result else None), "land")) is not None:
        raise moved
    return Oid(hex=run.tip)


def _landed_since(run: Run, now: Run) -> set[str]:
    """Name the commits that a driver may have moved a run's tip to between two looks at its journal."""
    since = {task.commit for task in now.tasks.values()} - {task.commit for task in run.tasks.values()}
    landing = now.tasks[now.landing].landing if now.landing else None
    return {commit for commit in (*since, landing and landing.candidate) if commit}


def _unless_there(repository: GitRepository, run: Run, at: Oid, result: Oid) -> Run:
    """Give the run as if nothing had been shown, where its result is there already: so nothing will move.

    The last landing may have been killed before it could note that its own move was seen.
    """
    return replace(run, shown=None) if contains(repository, at, result) else run


def _commit(repository: GitRepository, given: str | None) -> str | None:
    """Give the id that a revision means; one that names nothing here is an expectation that cannot be met."""
    try:
        return str(repository.resolve(given)) if given else None
    except RepositoryUnusable:
        return given


def _home(repository: GitRepository, target: str) -> Checkout | None:
    return next((checkout for checkout in repository.user_checkouts() if checkout.branch == target), None)


def _told(settled: Settled) -> str:
    name = settled.target.removeprefix("refs/heads/")
    what = f"the interrupted landing of {settled.run} on {name}"
    left = f", but {settled.left}" if settled.left else ""
    if settled.commit:
        return f"{what} is finished{left}"
    if settled.wrote:
        return f"{what} did not move it" + (left or ", and nothing that it wrote remains as a change")
    return f"{what} had changed nothing"


# --- checks


def _checked(
    repository: GitRepository, journal: Journal, run: Run, commit: Oid, target: Oid, tell: Tell
) -> tuple[Run, tuple[Judged, ...]]:
    """Run the run's checks on the merged tree, and what does not pass on the target's too."""
    stored = run.stored[0]
    wanted = [*each_checks(stored), *final_checks(stored)]
    if not wanted:
        return run, ()
    settings = configuration_at(repository, Oid(hex=run.start.base)).configuration.settings
    copies = gather(repository, settings.worktrees.copy)
    for warning in copies.warnings:
        tell(warning)
    _, bwrap = choose(settings.sandbox)
    session = open_session(run, journal, repository, settings, copies, bwrap)
    session.started = time.monotonic() - run.elapsed_s  # checks add to the time that the run has taken
    judged = asyncio.run(_judge(session, wanted, commit, target, tell))
    return session.run, judged


async def _judge(
    session: Session, wanted: list[Check], commit: Oid, target: Oid, tell: Tell
) -> tuple[Judged, ...]:
    session.stop.tell = tell
    checker = Checker(session, ExecutionGate(lambda: session.run, session.stop))
    found: list[Judged] = []
    with interruptible(session.stop.ask):
        try:
            for check in wanted:
                verdict = of_a_fit_worktree(await checker.judge(check, commit, session.stop))
                on_target = None
                if verdict.result != "passed" and session.run.plan.verify.baseline:
                    on_target = of_a_fit_worktree(await checker.judge(check, target, session.stop))
                found.append(Judged(verdict, on_target))
                tell(f"{verdict.result}: {verdict.command}")
                if found[-1].counts:
                    break
        except ChecksStopped:
            raise Interrupted("interrupted while the merge was checked", hint="otto land") from None
        finally:
            checker.close()
            session.blocking.shutdown()
    return tuple(found)


def _failed(run: Run, judged: Judged, target: str) -> Reason:
    name, verdict = target.removeprefix("refs/heads/"), judged.verdict
    apart = f", and not so on {name}" if judged.on_target else ""
    if verdict.result == "timeout":
        limit = format_duration(run.plan.verify.timeout_s)
        how, kind = f"did not end within `verify.timeout` of {limit}", ReasonKind.VERIFY_TIMEOUT
    else:
        code = "could not be executed" if verdict.exit_code is None else f"exited with {verdict.exit_code}"
        how, kind = f"failed ({code})", ReasonKind.VERIFY_FAILED
    return Reason(
        kind=kind,
        message=f"a check {how} on the result merged with {name}{apart}: {verdict.command}",
        hint=f"otto logs --check --run {run.id} prints it; then mend {name}, or build again on it",
        evidence=verdict.log,
    )
