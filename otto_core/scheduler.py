"""What to do next: a pure decision over the state of a run.

`decide` is asked after every event. It names all that may begin now; the driver leaves out what it has
already begun. A run always gets an end: where nothing can move any more, held tasks fail with the reason
they were held for, what waits for them is settled in turn, and then the run finishes (invariant I9).
"""

from collections.abc import Collection
from dataclasses import dataclass

from otto_core import events as ev
from otto_core.errors import ExitCode
from otto_core.events import Then
from otto_core.model import Outcome, Reason, ReasonKind, TaskStatus
from otto_core.state import Run, TaskState, bad_predecessors
from planner.durations import format_duration


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Execute the task's command once more."""

    task: str


@dataclass(frozen=True, slots=True)
class Land:
    """Prepare, check and land what the task produced."""

    task: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Journal the end of a task that cannot land."""

    task: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class CheckFinally:
    """Run the final checks on the last tip."""


@dataclass(frozen=True, slots=True)
class EndExecution:
    """End all that executes, gently; nothing else begins."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop the driver; tasks keep their states."""

    outcome: Outcome
    message: str
    hint: str = ""

    @property
    def event(self) -> ev.RunPaused:
        """What to journal of it."""
        return ev.RunPaused(outcome=self.outcome, message=self.message, hint=self.hint)

    def is_said_of(self, run: Run) -> bool:
        """Tell whether the journal says already that the run stands still for this."""
        said = run.paused
        return said is not None and (said.outcome, said.message) == (self.outcome, self.message)


@dataclass(frozen=True, slots=True)
class Finish:
    """Journal the end of the run."""

    outcome: Outcome


Action = StartAttempt | Land | Settle | CheckFinally | EndExecution | Pause | Finish

EXIT_CODES = {
    Outcome.RUNNING: ExitCode.OK,
    Outcome.LANDED: ExitCode.OK,
    Outcome.PARTIAL: ExitCode.INCOMPLETE,
    Outcome.FAILED: ExitCode.INCOMPLETE,
    Outcome.REGRESSION: ExitCode.REGRESSION,
    Outcome.BUDGET: ExitCode.BUDGET,
    Outcome.WAITING: ExitCode.WAITING,
    Outcome.INTERRUPTED: ExitCode.INTERRUPTED,
}


def exit_code(run: Run) -> ExitCode:
    """Say how the command that drove the run ends; a wait for another run's lock has a code of its own."""
    if run.outcome is Outcome.WAITING and run.contended:
        return ExitCode.LOCKED
    return EXIT_CODES[run.outcome]


def decide(run: Run, elapsed_s: float, contended: Collection[str] = ()) -> tuple[Action, ...]:
    """Name everything that may begin now; `elapsed_s` is the run's time so far, in seconds.

    `contended` are the tasks whose paths another run is writing at this moment, as was journalled: others go
    before them. Where nothing else can go on, they are waited for as long as the run's settings say.
    """
    if run.outcome is not Outcome.RUNNING:
        return ()
    if unknown := run.landing and run.tasks[run.landing].undetermined:
        return (ask(run, unknown),)
    if run.cancelled:
        return _cancel(run)
    wall_s = run.settings.wall_s
    if wall_s is not None and elapsed_s >= wall_s:
        spent = f"the run's `budget.wall` of {format_duration(wall_s)} is used up"
        return (Pause(Outcome.BUDGET, spent, f"otto resume {run.id} --wall DURATION"),)
    settled = tuple(Settle(name, _stranded(run, name)) for name in run.doomed)
    if settled:
        return settled
    missing = sorted(name for name, version in run.contracts.items() if version is None)
    unsupplied = [name for name in run.ready if run.spec(name).role != "foundation"] if missing else []
    if unsupplied:
        return tuple(Settle(name, _contracts_missing(run, missing)) for name in unsupplied)
    free = run.settings.concurrency - len(run.running)
    met = {name for name in contended if name in run.contended}  # one tried again has to meet its lock anew
    startable = [name for name in run.ready if name not in met] if met else run.ready
    starts = tuple(StartAttempt(name) for name in startable[: max(free, 0)])
    lands = (Land(run.queue[0]),) if run.queue and run.landing is None else ()
    if starts + lands:
        return starts + lands
    waiting = [run.contended[name] for name in run.ready if name in met]
    return _at_rest(run, elapsed_s, waiting)


def is_obsolete(run: Run, action: Action) -> bool:
    """Tell whether the state does not call any more for what was begun: its checks need not go on.

    A person may have skipped meanwhile what was to land, or have had tried again what the result lacks.
    """
    match action:
        case Land(task):
            return run.landing != task and run.queue[:1] != (task,)
        case CheckFinally():
            return not all(task.status.settled for task in run.tasks.values())
        case _:
            return False


def wakes_at(run: Run) -> float | None:
    """Say at which elapsed time of the run (seconds) `decide` may answer differently without a new event.

    Contended tasks aside: who probes for them asks again each time.
    """
    return run.settings.wall_s


def retry_or_hold(task: TaskState, run: Run, *, repeatable: bool = True) -> Then:
    """Say what follows a failure of the task's latest attempt.

    `retry` while attempts are left, else `hold`.
    """
    return "retry" if repeatable and task.attempts_left(run.spec(task.id)) > 0 else "hold"


def ask(run: Run, unknown: ev.LandingUndetermined) -> Pause:
    """Leave to a person what cannot be determined (X10)."""
    task = unknown.task
    return Pause(
        Outcome.WAITING,
        f"nobody can tell whether {task!r} landed: {unknown.why}",
        f"`otto approve {task} --run {run.id}` if it did; `otto retry` or `otto skip` likewise if it did not",
    )


def _cancel(run: Run) -> tuple[Action, ...]:
    """Bring a cancelled run to its end: what executes first, then every task, then the run."""
    if run.running or run.landing:
        return (EndExecution(),)
    left = [task.id for task in run.plan.tasks if not run.tasks[task.id].status.settled]
    return tuple(Settle(name, _cancelled(run, name)) for name in left) or (Finish(_outcome(run)),)


def _cancelled(run: Run, name: str) -> Reason:
    by = f" by {run.cancelled.by}" if run.cancelled else ""
    hint = f"otto retry {name} --run {run.id}"
    return Reason(kind=ReasonKind.CANCELLED, message=f"the run was cancelled{by}", hint=hint)


def _at_rest(run: Run, elapsed_s: float, waiting: list[ev.LockContended]) -> tuple[Action, ...]:
    """Decide where no attempt or landing can begin: wait for those under way, or bring the run to its end."""
    if run.running or run.landing:
        return ()
    if waiting:
        return _wait_or_pause(run, elapsed_s, waiting)
    if run.held:
        reasons = {name: run.tasks[name].reason for name in run.held}
        return tuple(Settle(name, reason) for name, reason in reasons.items() if reason is not None)
    if (
        run.plan.verify.final
        and run.tip != run.start.base
        and (run.final is None or run.final.tip != run.tip)
    ):
        return (CheckFinally(),)
    return (Finish(_outcome(run)),)


def _wait_or_pause(run: Run, elapsed_s: float, waiting: list[ev.LockContended]) -> tuple[Action, ...]:
    """Go on waiting for locks of other runs while any of them may be waited for."""
    limit_s = run.settings.lock_wait_s
    if limit_s is None or any(elapsed_s < (met.elapsed_s or 0.0) + limit_s for met in waiting):
        return ()
    met = waiting[0]
    more = f"; {len(waiting) - 1} more have to wait, too" if len(waiting) > 1 else ""
    waited = f", longer than the `--wait` of {format_duration(limit_s)}" if limit_s else ""
    return (
        Pause(
            Outcome.WAITING,
            f"the task {met.task!r} has to wait: {met.told}{waited}{more}",
            f"otto resume {run.id} --wait",
        ),
    )


def _outcome(run: Run) -> Outcome:
    if run.final is not None and run.final.regressed:
        return Outcome.REGRESSION
    good = [task.status.satisfies for task in run.tasks.values()]
    if all(good) and not run.cancelled:  # whose result nobody has judged to the end
        return Outcome.LANDED
    landed = any(task.status is TaskStatus.LANDED for task in run.tasks.values())
    return Outcome.PARTIAL if landed else Outcome.FAILED


def _stranded(run: Run, name: str) -> Reason:
    """Say for which failed predecessor a task cannot run.

    A foundation's failure is named before any other.
    """
    failed = bad_predecessors(run, name)
    foundations = [n for n in failed if run.spec(n).role == "foundation"]
    culprit = (foundations or failed)[0]
    kind = ReasonKind.FOUNDATION_UNSATISFIED if foundations else ReasonKind.DEPENDENCY_FAILED
    what = "the foundation" if foundations else "the task"
    return Reason(
        kind=kind,
        message=f"{what} {culprit!r} did not land, and this task stands on it",
        hint=f"otto show {culprit} --run {run.id}",
    )


def _contracts_missing(run: Run, missing: list[str]) -> Reason:
    names = ", ".join(repr(name) for name in missing)
    paths = {c.id: ", ".join(c.paths) for c in run.plan.contracts}
    providers = [t.id for t in run.plan.tasks if set(t.provides) & set(missing)]
    return Reason(
        kind=ReasonKind.CONTRACTS_MISSING,
        message=f"every foundation is done, but contract {names} has no file at "
        + "; ".join(paths[name] for name in missing),
        hint=f"let {' or '.join(providers) or 'a foundation'} write it, then build again",
    )
