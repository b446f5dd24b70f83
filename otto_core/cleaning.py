"""What `otto clean` may remove, and what it keeps and why: decided from facts that were looked at. Pure.

Only evidence counts: what goes is on a branch, a tag or a remote, or was superseded by what is, or is proven
to be in a commit that stays. A run goes as a whole or stays as a whole: without its base, tip and the logs of
its failures, nothing of it could be tried again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from shlex import quote

from otto_core.model import TaskStatus
from otto_core.refnames import run_ref
from otto_core.state import Run, TaskState
from planner.durations import format_duration


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that stays, and why; `hint` is what a person can do about it, if anything."""

    what: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is there of a run that nobody drives.

    `refs` are those of the run with their commits. `on_branch` are the commits, of those refs and of the
    journal, that a branch, a tag or a remote's branch reaches; `empty` are those that change nothing and
    stand on such a commit. `files` is whether there are logs.
    """

    run: Run
    ended_s: float | None
    """How long ago it ended."""
    refs: Mapping[str, str]
    on_branch: Collection[str]
    empty: Collection[str]
    files: bool


@dataclass(frozen=True, slots=True)
class RunGoes:
    """All that is left of a run goes; each ref only if it still is where it was seen."""

    refs: Mapping[str, str]


def of_run(facts: RunFacts, older_than_s: float = 0.0) -> RunGoes | tuple[Kept, ...]:
    """Decide about a run: it goes, or it stays for these reasons. Where nothing is left, there is none."""
    run = facts.run
    if not run.outcome.is_final:
        words = f"it is not over: {run.outcome}"
        return (Kept(run.id, words, f"otto resume {run.id}, or otto cancel {run.id}"),)
    if run.cleaned is not None:
        return _rest(facts, run.cleaned.refs)
    if run.delivery is not None:
        branch = run.delivery.target.removeprefix("refs/heads/")
        return (Kept(run.id, f"its landing on {branch} was cut off", f"otto land {run.id}"),)
    if older_than_s and not _is_old(facts.ended_s, older_than_s):
        return (Kept(run.id, _young(facts.ended_s, "it ended"), ""),)
    if not facts.refs and not facts.files:
        return ()
    return _needed(facts) or RunGoes(facts.refs)


def _rest(facts: RunFacts, recorded: Mapping[str, str]) -> RunGoes | tuple[Kept, ...]:
    """Decide about what is there though the run was cleaned: an earlier `otto clean` was cut off."""
    foreign = {ref: at for ref, at in facts.refs.items() if recorded.get(ref) != at}
    if foreign:
        words = "it was written after its run was cleaned"
        return tuple(Kept(ref, words, f"git update-ref -d {ref}") for ref in sorted(foreign))
    return RunGoes(facts.refs) if facts.refs or facts.files else ()


def _needed(facts: RunFacts) -> tuple[Kept, ...]:
    """Name what of a run exists nowhere else."""
    run = facts.run
    if run.tip not in facts.on_branch:
        if run.tip == run.start.base:
            words = f"its base, {run.tip}, is on no branch"
            return (Kept(run.id, words, f"git branch NAME {run.tip}"),)
        words = f"its result, {run.tip}, is on no branch but its own"
        return (Kept(run.id, words, f"otto land {run.id}, or git branch NAME {run.tip}"),)
    tasks = run.tasks.values()
    superseded = tuple(_refs_of(run, t.id) for t in tasks if _is_superseded(t, facts.on_branch))
    made_again = run_ref(run.id, "delivery")  # a merge of the result, which is on a branch
    kept = []
    for ref, at in sorted(facts.refs.items()):
        safe = at in facts.on_branch or at in facts.empty or ref == made_again
        if not safe and not ref.startswith(superseded):
            words = f"it is the only copy of {_whose(run, ref)}; {run.id} stays with it"
            kept.append(Kept(ref, words, f"{_again(run, ref)}if you do not need it: git update-ref -d {ref}"))
    return tuple(kept)


def _is_superseded(task: TaskState, on_branch: Collection[str]) -> bool:
    """Tell whether what a task's attempts wrote counts no more: it landed, or was right to do nothing."""
    if task.status is TaskStatus.UNCHANGED:
        return True
    return task.status is TaskStatus.LANDED and task.commit in on_branch


def _whose(run: Run, ref: str) -> str:
    task = _task_of(run, ref)
    if task is None:
        return "a commit"
    return f"what {task.id!r} wrote, which {_ENDED.get(task.status, 'did not land')}"


def _again(run: Run, ref: str) -> str:
    task = _task_of(run, ref)
    if task is None or not task.status.ended_badly:
        return ""
    return f"otto retry {task.id} --run {run.id}; or "


def _task_of(run: Run, ref: str) -> TaskState | None:
    return next((t for t in run.tasks.values() if ref.startswith(_refs_of(run, t.id))), None)


def _refs_of(run: Run, task: str) -> str:
    """Give what the names of a task's refs begin with."""
    return f"{run_ref(run.id, 'tasks', task)}/"


_ENDED = {TaskStatus.SKIPPED: "was skipped", TaskStatus.LANDED: "landed otherwise"}


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """What is known of a slot of the pool. `name` is its place, for a person."""

    name: str
    borrower: str | None = None
    """Who uses it now; None where nobody does."""
    ours: bool = True
    """Whether Otto made it."""
    unreadable: str | None = None
    """The note of its occupant, where that is not of this version of Otto."""
    unfinished: str | None = None
    """Whose work is in it whose driver died."""
    unused_s: float = 0.0
    aside: str | None = None
    """A worktree that was moved out of the way into Otto's own place of the slot."""
    bystander: str | None = None
    """A living process that is in it, and no attempt's."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """What is in the slot has to be kept first; then its facts are others."""


@dataclass(frozen=True, slots=True)
class SlotGoes:
    """Nothing in the slot is needed."""


def of_slot(facts: SlotFacts, older_than_s: float = 0.0) -> SlotGoes | Salvage | Kept:
    """Decide about a slot."""
    if facts.borrower is not None:
        return Kept(facts.name, f"it is in use by {facts.borrower}")
    if not facts.ours:
        return Kept(facts.name, "Otto did not make it", "look at it, and move it away")
    if facts.unreadable is not None:
        words = "the note of who worked there cannot be read"
        return Kept(facts.name, words, f"look at it; then rm {quote(facts.unreadable)}")
    if older_than_s and not _is_old(facts.unused_s, older_than_s):
        return Kept(facts.name, _young(facts.unused_s, "it was used"), "")
    if facts.unfinished is not None:
        return Salvage()
    if facts.bystander is not None:
        return Kept(facts.name, f"{facts.bystander} is in it", "leave it, or end that process")
    if facts.aside is not None:
        return Kept(facts.aside, "a worktree that was moved out of the way lies there", "look at it")
    return SlotGoes()


@dataclass(frozen=True, slots=True)
class KeptFacts:
    """What is known of a worktree that was set aside. `name` is its place, for a person."""

    name: str
    run: Run
    ended_s: float | None
    """How long ago the run ended."""
    bystander: str | None
    held: bool
    """Whether the commit of its attempt holds all that is in it now."""


@dataclass(frozen=True, slots=True)
class WorktreeGoes:
    """Nothing in the worktree is needed."""


def of_kept(facts: KeptFacts, older_than_s: float = 0.0) -> WorktreeGoes | Kept:
    """Decide about a worktree that was set aside."""
    if not facts.run.outcome.is_final:
        return Kept(facts.name, f"{facts.run.id} is not over: {facts.run.outcome}")
    if older_than_s and not _is_old(facts.ended_s, older_than_s):
        return Kept(facts.name, _young(facts.ended_s, "its run ended"))
    if facts.bystander is not None:
        return Kept(facts.name, f"{facts.bystander} is in it", "leave it, or end that process")
    if not facts.held:
        words = "no commit holds all that is in it"
        return Kept(facts.name, words, f"look at it; then rm -r {quote(facts.name)}")
    return WorktreeGoes()


def _is_old(age_s: float | None, older_than_s: float) -> bool:
    return age_s is not None and age_s > older_than_s


def _young(age_s: float | None, happened: str) -> str:
    return f"{happened} {format_duration(max(0, round(age_s or 0)))} ago"
