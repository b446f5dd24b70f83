"""Landing: prepare, mutate, next.

*Prepare* touches nothing but objects and pins, and may be repeated at will: already landed? the write gate
on what the attempt changed; the merge with the expected tip; the write gate on what the tip would change;
the audit; the candidate; the checks on its exact tree. *Mutate* is one compare-and-swap of the run's tip:
that ref is the commit point. *Next* journals what Git already knows, and publishes.
"""

from dataclasses import dataclass, field
from functools import partial

from merge.attributes import flatten
from merge.audit import Sound, Unsound, audit
from merge.candidate import Landed, commit
from merge.gate import Refused, admit
from merge.objects import Oid
from merge.paths import show
from merge.strategies import Conflicted, merge
from merge.swap import Lost, SwapBusy, SwapRefused, swap
from merge.trailers import Trailers, message
from merge.trees import Entry
from otto_core import events as ev
from otto_core.admission import refusal, registries_of, scope_of, told
from otto_core.checks import Check, Checker, checks_of_task
from otto_core.contracts import versions_after
from otto_core.errors import RepositoryUnusable
from otto_core.feedback import tail
from otto_core.git.private import MergeRepository
from otto_core.git.repository import GitRepository
from otto_core.model import BothChanged, Reason, ReasonKind, Verdict
from otto_core.places import remove
from otto_core.publish import publish
from otto_core.recovery import Tip, astray
from otto_core.refnames import run_ref, task_ref
from otto_core.refs import pin
from otto_core.scheduler import retry_or_hold
from otto_core.session import Session
from otto_core.state import Run, is_excused
from otto_core.stop import Stop
from planner.durations import format_duration


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit that could become the tip, and how it came about."""

    commit: Oid
    tree: Oid
    expected_tip: Oid
    strategy: str
    note: str
    both_changed: tuple[BothChanged, ...]
    contracts: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class AlreadyLanded:
    """The task's trailers stand on the chain: a landing whose journalling was cut off."""

    commit: Oid


@dataclass(slots=True)
class Lander:
    """Lands the tasks of one run, one at a time."""

    session: Session
    checker: Checker
    _landed: Landed | None = None
    _merging: MergeRepository | None = field(default=None)

    async def land(self, name: str, stop: Stop) -> None:
        """Bring what a task produced onto the tip, or journal why it may not be there.

        Raises:
            ChecksStopped: `stop` was set while it was checked.

        """
        session = self.session
        while (produced := session.run.tasks[name].produced) and session.run.queue[:1] == (name,):
            seen = session.run
            prepared = await session.in_thread(partial(self._prepare, name, produced))
            match prepared:
                case Reason():
                    self._reject(seen, produced, prepared)
                case AlreadyLanded():
                    raise RepositoryUnusable(
                        f"task {name!r} is on the branch of {session.run.id}, but not in the journal",
                        hint=f"otto log {session.run.id}",
                    )
                case Candidate():
                    reason = await self._check(name, produced, prepared, stop)
                    if reason is not None:
                        self._reject(seen, produced, reason)
                    else:
                        await self._mutate(seen, produced, prepared)

    def close(self) -> None:
        """Remove the run's own place for merging."""
        remove(self.session.repository.store / "merge" / f"{self.session.run.id}.git")

    # --- prepare

    def _prepare(self, name: str, produced: ev.AttemptProduced) -> Candidate | AlreadyLanded | Reason:
        """Make the candidate, off the event loop."""
        repository, merging = self._open()
        run = self.session.run
        task, tip, snapshot = run.spec(name), Oid(hex=run.tip), Oid(hex=produced.snapshot)
        if (found := self._search(repository, tip, name)) is not None:
            return AlreadyLanded(found)
        base = repository.parents_of(snapshot)[0]
        base_tree, tip_tree, task_tree = (repository.tree_of(oid) for oid in (base, tip, snapshot))
        scope = scope_of(run.plan, task)
        if isinstance(refused := admit(repository.repo, base_tree, task_tree, scope), Refused):
            return refusal(refused, run.id, task, None)
        merging.use_attributes(flatten(repository.repo, tip_tree))
        registries = registries_of(run.plan)
        merged = merge(merging.repo, tip, snapshot, registries=registries, port=merging, base=base)
        if isinstance(merged, Conflicted):
            return _conflict(merged, run.id, name)
        admitted = admit(repository.repo, tip_tree, merged.tree, scope)
        if isinstance(admitted, Refused):
            return refusal(admitted, run.id, task, None)
        audited = audit(merging.repo, base_tree, tip_tree, task_tree, merged.tree)
        if isinstance(audited, Unsound):
            return _unsound(audited, merged.strategy, run.id, name)
        trailers = Trailers(run.id, name, produced.attempt, run.stored[0].plan_id)
        author = repository.author()
        made = commit(
            repository.repo,
            tree=merged.tree,
            tip=tip,
            snapshot=snapshot,
            message=message(task.title, "\n".join(produced.summary), trailers),
            author=author,
            committer=author,
        )
        pin(repository, _candidate_ref(run.id, produced), made)
        return Candidate(
            commit=made,
            tree=merged.tree,
            expected_tip=tip,
            strategy=merged.strategy,
            note=merged.note,
            both_changed=recorded(audited),
            contracts=versions_after(repository, run, merged.tree, admitted.changes),
        )

    def _open(self) -> tuple[GitRepository, MergeRepository]:
        repository = self.session.repository.here()
        if self._merging is None:
            place = repository.store / "merge" / f"{self.session.run.id}.git"
            remove(place)
            self._merging = MergeRepository(place, repository)
        return repository, self._merging

    def _search(self, repository: GitRepository, tip: Oid, name: str) -> Oid | None:
        if self._landed is None:
            self._landed = Landed(Oid(hex=self.session.run.start.base))
        self._landed.update(repository.repo, tip)
        return self._landed.find(self.session.run.id, name)

    # --- check

    async def _check(
        self, name: str, produced: ev.AttemptProduced, candidate: Candidate, stop: Stop
    ) -> Reason | None:
        """Run the task's own checks and the run-wide ones on the candidate's exact tree."""
        run = self.session.run
        attempt = run.tasks[name].attempts[-1].start
        own = next(p for p in run.stored if p.revision == attempt.revision)
        for check in checks_of_task(own, name, produced.attempt):
            verdict = await self.checker.judge(check, candidate.commit, stop)
            if isinstance(verdict, Reason):
                return verdict
            if verdict.result == "passed":
                continue
            counts = check.step.scope != "each" or await self._counts(verdict, check, stop)
            if isinstance(counts, Reason):
                return counts
            if counts:
                return self._failed(verdict, name)
        return None

    def _failed(self, verdict: Verdict, name: str) -> Reason:
        run = self.session.run
        output = f"otto logs {name} --attempt {run.tasks[name].latest} --check --run {run.id}"
        whose = "the task's own check" if verdict.scope == "task" else "the check before every landing"
        if verdict.result == "timeout":
            limit = format_duration(run.plan.verify.timeout_s)
            return Reason(
                kind=ReasonKind.VERIFY_TIMEOUT,
                message=f"`verify.timeout` of {limit} fired in {whose}: {verdict.command}",
                hint=f"raise `verify.timeout`, or see `{output}`",
                evidence=verdict.log,
            )
        ended = "could not be executed" if verdict.exit_code is None else f"exited with {verdict.exit_code}"
        last = tail(self.session.logs / verdict.log, lines=1)
        return Reason(
            kind=ReasonKind.VERIFY_FAILED,
            message=f"{whose} failed on the merged tree ({ended}): {verdict.command}"
            + (f"; it ends with: {last}" if last else ""),
            hint=output,
            evidence=verdict.log,
        )

    async def _counts(self, verdict: Verdict, check: Check, stop: Stop) -> bool | Reason:
        """Tell whether a bad verdict of a run-wide check counts; asks the base if nobody has yet.

        A reason where the base cannot be asked.
        """
        session = self.session
        known = verdict.command in session.run.required or verdict.command in session.run.excused
        if not session.run.plan.verify.baseline:
            return True
        if not known:
            asked = await self.checker.judge(check, Oid(hex=session.run.start.base), stop, baseline=True)
            if isinstance(asked, Reason):
                return asked
        return not is_excused(session.run, verdict)

    # --- mutate and next

    async def _mutate(self, seen: Run, produced: ev.AttemptProduced, candidate: Candidate) -> None:
        """Swap the tip, unless the task has moved since the state that the candidate was prepared on."""
        session, name = self.session, produced.task
        started = ev.LandingStarted(
            task=name,
            attempt=produced.attempt,
            expected_tip=str(candidate.expected_tip),
            candidate=str(candidate.commit),
            tree=str(candidate.tree),
            strategy=candidate.strategy,
            note=candidate.note,
            both_changed=candidate.both_changed,
        )
        if not session.append(started, seen=seen):
            return
        match await session.in_thread(partial(self._swap, session.run, candidate)):
            case Lost(actual):
                session.append(ev.LandingLost(task=name, attempt=produced.attempt))
                moved = astray(session.run, Tip(str(actual) if actual else None))
                if moved is not None:
                    raise moved
            case published:
                applied = ev.LandingApplied(
                    task=name,
                    attempt=produced.attempt,
                    commit=str(candidate.commit),
                    contracts=candidate.contracts,
                )
                session.append(applied, published)

    def _swap(self, run: Run, candidate: Candidate) -> ev.BranchPublished | ev.BranchWithheld | Lost:
        """Move the tip to the candidate and publish it, off the event loop; the caller journals both."""
        repository, tip_ref = self.session.repository.here(), run_ref(run.id, "tip")
        try:
            outcome = swap(repository.repo, tip_ref, candidate.expected_tip, candidate.commit)
        except (SwapBusy, SwapRefused) as error:
            raise RepositoryUnusable(str(error), hint=f"see `git for-each-ref {tip_ref}`") from error
        if isinstance(outcome, Lost):
            return outcome
        return publish(repository, run, candidate.commit)

    def _reject(self, seen: Run, produced: ev.AttemptProduced, reason: Reason) -> None:
        then = retry_or_hold(seen.tasks[produced.task], seen)
        rejected = ev.LandingRejected(task=produced.task, attempt=produced.attempt, reason=reason, then=then)
        self.session.append(rejected, seen=seen)


def _candidate_ref(run: str, produced: ev.AttemptProduced) -> str:
    """Name the ref that keeps a candidate, which is checked before anything else leads to it."""
    return task_ref(run, produced.task, f"candidate-{produced.attempt}")


def _conflict(conflicted: Conflicted, run: str, task: str) -> Reason:
    where = told(map(show, conflicted.paths), ", ") or conflicted.message
    return Reason(
        kind=ReasonKind.CONFLICT,
        message=f"the result does not merge with what has landed ({conflicted.strategy}): {where}",
        hint=f"`otto diff {task} --run {run}` shows what it wrote; the branch, what it met",
        paths=conflicted.paths,
    )


def _unsound(audited: Unsound, strategy: str, run: str, task: str) -> Reason:
    where = told((show(violation.path) for violation in audited.violations), ", ")
    return Reason(
        kind=ReasonKind.CONFLICT,
        message=f"the audit refused the merge by strategy {strategy}: a side would be lost at {where}",
        hint=f"`otto diff {task} --run {run}` shows what it wrote; please report this merge",
        paths=tuple(violation.path for violation in audited.violations),
    )


def recorded(audited: Sound) -> tuple[BothChanged, ...]:
    """Put what both sides of a merge changed into the journal's words."""

    def text(entry: Entry | None) -> str | None:
        return str(entry.oid) if entry else None

    return tuple(
        BothChanged(path=b.path, base=text(b.base), tip=text(b.tip), task=text(b.task), result=text(b.result))
        for b in audited.both
    )
