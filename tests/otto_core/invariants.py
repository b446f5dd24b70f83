"""The invariants of a run (I1 to I14), each checked on a made-up world after every step of a history."""

import msgspec

from otto_core import events as ev
from otto_core.model import Outcome, TaskStatus
from otto_core.scheduler import decide
from otto_core.state import Run, bad_predecessors
from otto_core.transitions import fold
from planner.durations import format_duration
from tests.otto_core.fake_driver import FakeDriver
from tests.otto_core.simulation import check_invariants
from tests.otto_core.world import OURS, RUN, TIP, Entry, Who, World

S = TaskStatus


class Invariants:
    """What must hold of a world, and how far it has been looked at."""

    def __init__(self, world: World, creator: object) -> None:
        self.world = world
        self._authors = [creator]
        self._entries = 0
        self._moves = len(world.git.moves)
        self._seq = 0
        self._kept: list[tuple[Run, bytes]] = []
        self._sound = {world.run.tip}

    def check(self) -> None:
        """Check all that has happened since the last time, and where things stand now."""
        entries = self.world.ledger.entries[self._entries :]
        self._entries += len(entries)
        for entry in entries:
            self._check_entry(entry)
        self._check_moves()
        self.i1_what_executes_was_started_from_a_stored_plan()
        self.i2_a_task_has_landed_if_and_only_if_it_is_on_the_chain_once()
        self.i13_no_process_of_an_ended_attempt_is_alive()
        self.a_decision_is_the_same_twice()
        self.the_doomed_are_those_that_stand_on_what_has_ended_badly()
        self.no_task_has_failed_for_what_may_still_succeed()

    def check_end(self) -> None:
        """Check what must hold when a run has come to its end."""
        world, run = self.world, self.world.run
        assert run.unsettled == 0, "I9: a task is left"
        assert all(task.status.settled for task in run.tasks.values()), "I9: a task is left"
        assert world.robbed or not world.alive(), "I13: a process is left"
        assert not world.write_sets, "G2: a lock is left"
        assert all(slot.holder is None for slot in world.slots), "a worktree is left taken"
        assert world.meddled or world.git.refs.get(TIP) == run.tip, (
            "I2: the tip is not where the journal has it"
        )
        told = run.withheld or (run.published and run.published.commit == run.tip)
        assert told or run.tip == run.start.base, "what landed was neither published nor withheld"
        again = fold(Run(RUN), [stored.event for stored in world.ledger.stored])
        assert msgspec.structs.replace(again, seq=run.seq) == run, "the state is not the fold of its events"
        for state, before in self._kept:
            assert _encoded(state) == before, "a state was changed in place"

    # --- of one append

    def _check_entry(self, entry: Entry) -> None:
        check_invariants(entry.before, entry.after)
        self.i10_only_the_driver_that_began_last_journals(entry)
        self.i11_numbers_grow(entry)
        self.i7_whatever_ended_attempt_wrote_is_kept(entry)
        self.i14_a_limit_is_named_with_its_value(entry)
        self.elapsed_time_and_versions_only_grow(entry)
        self.x6_nothing_is_journalled_that_was_decided_on_an_older_state(entry)
        for event in entry.events:
            match event:
                case ev.AttemptStarted():
                    self.i5_what_a_task_stands_on_is_at_its_base(event)
                case ev.LandingStarted():
                    self.i3_i4_a_candidate_is_covered_and_made_of_its_own_attempt(entry, event)
                case ev.LandingApplied() | ev.LandingLost():
                    self.x3_x10_of_a_landing_nothing_is_said_but_what_git_shows_or_a_person_said(entry, event)
                case ev.TaskFailed():
                    self.a_consequence_has_a_cause(entry, event)
                case _:
                    pass
        if len(self.world.ledger.entries) % 8 == 0:
            self._kept.append((entry.after, _encoded(entry.after)))

    def i10_only_the_driver_that_began_last_journals(self, entry: Entry) -> None:
        if any(isinstance(event, ev.RunResumed) for event in entry.events):
            self._authors.append(entry.author)
        elif any(event.elapsed_s is not None for event in entry.events) and entry.after.drives > 1:
            assert entry.author is self._authors[-1], f"I10: an earlier driver journalled {entry.events}"

    def i11_numbers_grow(self, entry: Entry) -> None:
        assert entry.first > self._seq, f"I11: {entry.first} after {self._seq}"
        self._seq = entry.first + len(entry.events) - 1
        assert entry.after.seq == self._seq, "I11: the state is behind its events"

    def i7_whatever_ended_attempt_wrote_is_kept(self, entry: Entry) -> None:
        for event in entry.events:
            if isinstance(event, ev.AttemptEnd):
                who = Who(event.task, event.attempt)
                wrote = self.world.written.get(who, 0)
                kept = wrote == 0 or self.world.keeps(who, wrote) or self.world.robbed
                assert kept, f"I7: what {who} wrote is not under a ref"
                snapshot = getattr(event, "snapshot", None)
                assert snapshot is not None or wrote == 0 or self.world.robbed, (
                    f"I7: {who} wrote {wrote}, kept at {snapshot}"
                )
                telemetry = event.telemetry
                assert telemetry.missing or telemetry.actual_model, f"I12: no telemetry of {who}, nor why"

    def i14_a_limit_is_named_with_its_value(self, entry: Entry) -> None:
        for event in entry.events:
            if not isinstance(event, ev.RunPaused):
                continue
            limits = entry.before.settings
            match event.outcome:
                case Outcome.BUDGET:
                    assert limits.wall_s is not None, "I14: there is no such limit"
                    assert f"`budget.wall` of {format_duration(limits.wall_s)}" in event.message, "I14"
                    assert (event.elapsed_s or 0.0) >= limits.wall_s, "I14: the limit had not been reached"
                case Outcome.WAITING if entry.before.contended and limits.lock_wait_s:
                    if "has to wait" in event.message:
                        assert f"`--wait` of {format_duration(limits.lock_wait_s)}" in event.message, "I14"
                case Outcome.INTERRUPTED:
                    author = entry.author
                    told = isinstance(author, FakeDriver) and (author.interrupted or author.told)
                    assert told, "I14: nobody interrupted it, and nothing failed"
                case _:
                    pass

    def elapsed_time_and_versions_only_grow(self, entry: Entry) -> None:
        before, after = entry.before, entry.after
        assert after.elapsed_s >= before.elapsed_s, "elapsed time shrank"
        assert after.elapsed_s <= self.world.driven_s + 1e-6, "time in which nobody drove was counted"
        assert after.revision >= before.revision, "G5"
        for name, task in before.tasks.items():
            assert after.tasks[name].version >= task.version, f"the version of {name} shrank"
            assert after.tasks[name].attempts[: len(task.attempts) - 1] == task.attempts[:-1], "X8: history"

    def x6_nothing_is_journalled_that_was_decided_on_an_older_state(self, entry: Entry) -> None:
        seen, before = entry.seen, entry.before
        for event in entry.events:
            if isinstance(event, ev.TaskEvent):
                versions = seen.tasks[event.task].version, before.tasks[event.task].version
                assert versions[0] == versions[1], f"{event.task} had moved when this was journalled: {event}"
            if isinstance(event, ev.RunFinished | ev.RunPaused | ev.RunResumed):
                assert seen.seq == before.seq, f"the run had moved on when this was journalled: {event}"

    def x3_x10_of_a_landing_nothing_is_said_but_what_git_shows_or_a_person_said(
        self, entry: Entry, event: ev.LandingApplied | ev.LandingLost
    ) -> None:
        git, task = self.world.git, entry.before.tasks[event.task]
        assert task.landing is not None
        candidate = task.landing.candidate
        if isinstance(event, ev.LandingApplied):
            swapped = any(move.ref == TIP and move.after == candidate for move in git.moves)
            assert swapped, f"X3: {event.task} is said to have landed, and the tip never moved to it"
        elif task.decided is not None:
            set_to = [move.after for move in git.moves if move.ref == TIP and move.by_otto][-1]
            assert set_to == entry.before.tip, (
                f"X10: {event.task} is said not to have landed, against the tip"
            )
        elif event.elapsed_s is None:
            there = git.refs.get(TIP) == entry.before.tip
            assert there, f"X10: {event.task} is said not to have landed, and Git does not tell"

    def i5_what_a_task_stands_on_is_at_its_base(self, event: ev.AttemptStarted) -> None:
        run, git = self.world.run, self.world.git
        chain = git.chain(event.base, run.start.base)
        assert chain is not None, f"the base of {event.task} is not on the run's branch"
        landed = {commit.lands.task for commit in chain if commit.lands}
        for before in run.spec(event.task).after:
            unchanged = run.tasks[before].status is S.UNCHANGED
            assert before in landed or unchanged, f"I5: {event.task} stands on {before}, which has not landed"
        if run.spec(event.task).role == "feature":
            missing = [name for name, version in event.contracts.items() if version is None]
            assert not missing, f"I5: {event.task} begins without contracts {missing}"

    def i3_i4_a_candidate_is_covered_and_made_of_its_own_attempt(
        self, entry: Entry, event: ev.LandingStarted
    ) -> None:
        run, git = entry.before, self.world.git
        candidate = git.commits[event.candidate]
        assert candidate.lands == Who(event.task, event.attempt), "I4: the candidate is another task's"
        assert git.commits[candidate.parents[1]].holds == candidate.lands, "I4: it holds another's work"
        assert git.commits[candidate.parents[1]].work == self.world.written[candidate.lands], "I7"
        spec = run.spec(event.task)
        for command in (*spec.verify, *run.plan.verify.each):
            passed = (command.text, candidate.tree) in self.world.passed
            of_base = run.plan.verify.baseline and not self.world.base_passes
            excused = of_base and command in run.plan.verify.each and command.text not in run.required
            assert passed or excused, f"I3: {command.text} never passed on the tree of {event.task}"
        for name, version in candidate.contracts.items():
            same = version == git.commits[candidate.parents[0]].contracts[name]
            assert same or name in spec.provides, f"I6: {event.task} changes the contract {name}"
        self._sound.add(candidate.id)

    def a_consequence_has_a_cause(self, entry: Entry, event: ev.TaskFailed) -> None:
        if event.reason.kind.is_consequence:
            causes = bad_predecessors(entry.before, event.task)
            assert causes, f"{event.task} failed for what has not failed: {event.reason.message}"

    # --- of what happened to refs

    def _check_moves(self) -> None:
        moves = self.world.git.moves[self._moves :]
        self._moves += len(moves)
        for move in moves:
            if not move.by_otto:
                continue
            if move.ref == TIP:
                assert move.after in self._sound, f"I3: the tip was set to {move.after}"
            elif not move.ref.startswith(OURS):
                self.i8_of_the_users_refs_only_the_result_branch_moves(move.ref, move.before, move.after)

    def i8_of_the_users_refs_only_the_result_branch_moves(
        self, ref: str, before: str | None, after: str | None
    ) -> None:
        git = self.world.git
        assert ref.startswith("refs/heads/otto/test"), f"I8: {ref} was moved"
        ours = {m.after for m in git.moves if m.by_otto and m.ref == ref}
        assert before is None or before in ours, f"I8: {ref} held {before}, which is not Otto's"
        assert after in self._sound, f"I3: {after} was published"
        assert ref != f"refs/heads/{git.checked_out}", f"I8: {ref} was moved under a checkout"

    # --- of where things stand

    def i1_what_executes_was_started_from_a_stored_plan(self) -> None:
        run = self.world.run
        stored = {(plan.revision, plan.plan_id) for plan in run.stored}
        for process in self.world.alive(attempts=True):
            assert process.of is not None
            attempts = run.tasks[process.of.task].attempts
            assert len(attempts) >= process.of.attempt, f"I1: {process.of} was not journalled"
            start = attempts[process.of.attempt - 1].start
            assert (start.revision, start.plan_id) in stored, f"I1: the plan of {process.of} is not stored"

    def i2_a_task_has_landed_if_and_only_if_it_is_on_the_chain_once(self) -> None:
        world, run = self.world, self.world.run
        chain = world.git.chain(run.tip, run.start.base)
        assert chain is not None, "I2: the journal's tip does not stand on the base"
        landed = [(commit.lands.task, commit.id) for commit in chain if commit.lands]
        assert len({task for task, _ in landed}) == len(landed), f"I2: landed twice: {landed}"
        journalled = {(t.id, t.commit) for t in run.tasks.values() if t.status is S.LANDED}
        assert set(landed) == journalled, f"I2: {landed} on the chain, {journalled} in the journal"
        assert dict(run.contracts) == dict(world.git.commits[run.tip].contracts), "I6: other contracts"
        tip = world.git.refs.get(TIP)
        if tip != run.tip and not world.meddled:
            landing = run.tasks[run.landing].landing if run.landing else None
            assert landing is not None, f"I2: the tip is at {tip}, the journal at {run.tip}"
            assert landing.candidate == tip, f"I2: the tip is at {tip}, the journal at {run.tip}"

    def i13_no_process_of_an_ended_attempt_is_alive(self) -> None:
        run = self.world.run
        if self.world.robbed:
            return  # two drivers live: the one that is not told yet executes what the other has ended
        for process in self.world.alive(attempts=True):
            assert process.of is not None
            end = run.tasks[process.of.task].attempts[process.of.attempt - 1].end
            assert end is None, f"I13: a process of {process.of} is alive"

    def a_decision_is_the_same_twice(self) -> None:
        run = self.world.run
        assert decide(run, run.elapsed_s) == decide(run, run.elapsed_s), "two decisions"

    def the_doomed_are_those_that_stand_on_what_has_ended_badly(self) -> None:
        run = self.world.run
        assert set(run.doomed) == {
            name
            for name, task in run.tasks.items()
            if task.status is S.PENDING and bad_predecessors(run, name)
        }, "the index of the doomed is wrong"

    def no_task_has_failed_for_what_may_still_succeed(self) -> None:
        run = self.world.run
        for name, task in run.tasks.items():
            if task.status is S.FAILED and task.reason is not None and task.reason.kind.is_consequence:
                assert bad_predecessors(run, name), f"{name} failed for what has not failed any more"


def _encoded(run: Run) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(run, stored=()), order="deterministic")
