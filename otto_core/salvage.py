"""Keep what an attempt wrote whose driver died, before its worktree is used again (S3, I7).

First its processes are ended. Then the worktree is captured as after any attempt, with nothing known of its
files, so all of them are compared by content; what it holds becomes a commit under a ref of its own. Where no
tree can hold all of it, the worktree itself is set aside. Only then does the note of its occupant go: a crash
in between leaves the same to be done again, with the same result.
"""

from merge.objects import GitError, Oid
from merge.patterns import PathSet
from merge.trees import walk
from otto_core.aside import put_aside
from otto_core.bystanders import bystander
from otto_core.conversion import conversion_of
from otto_core.errors import RepositoryUnusable
from otto_core.evidence import is_without_commits, keep_history
from otto_core.git.repository import GitRepository, commit_tree
from otto_core.leftovers import end_all
from otto_core.linked import unregister
from otto_core.machine import remedy
from otto_core.marker import run_of
from otto_core.occupancy import Work, leave, occupant_of
from otto_core.places import ensure_directory
from otto_core.refill import directories_of
from otto_core.refnames import task_ref
from otto_core.refs import pin
from otto_core.slots import Filling, Slot
from otto_core.snapshot import Captured, capture


def salvage(slot: Slot, repository: GitRepository) -> None:
    """End what an occupant left running in a slot, and keep what it wrote. The caller holds the slot's lock.

    Nothing happens where nobody was at work there. What another repository's run left, or nobody knows who,
    is set aside as it is: a commit of it would be nothing here.

    Raises:
        RepositoryUnusable: a process would not end, or the work cannot be kept.

    """
    occupant = occupant_of(slot)
    if occupant is None:
        return
    end_all({occupant.marker}, f"processes of an earlier attempt, which still use {slot.path},")
    work = occupant.work
    if run_of(occupant.marker, repository.store) is None:
        put_aside(slot, *((work.run, work.task, work.attempt) if work else ("unknown", slot.own.name, 1)))
    elif work is not None:
        _keep(slot, repository, work)
        unregister(slot, repository)
    leave(slot)


def salvaged(repository: GitRepository, run: str, task: str, attempt: int) -> Oid | None:
    """Give the commit that holds what an attempt wrote whose driver died, if it wrote anything."""
    names = (f"salvage-{attempt}", f"attempt-{attempt}")
    found = (repository.ref(task_ref(run, task, name)) for name in names)
    return next((commit for commit in found if commit is not None), None)


def is_held_by(commit: Oid, slot: Slot, repository: GitRepository, work: Work) -> bool:
    """Tell whether a commit holds all that is in an attempt's worktree that was set aside.

    All files are compared by content, whatever became of them since. What the base ignores does not count, as
    with any attempt; a commit that the user's repository lacks does. `slot` names the worktree, and places of
    Otto's own that nothing else uses.
    """
    try:
        ensure_directory(slot.own)
        _recall(slot, repository, Oid(hex=work.base), work)
        captured = capture(slot, repository, PathSet.parse(work.owns), work.max_file_bytes)
        whole = is_without_commits(repository, slot) and not captured.odd
        return whole and captured.tree == repository.tree_of(commit)
    except (OSError, RecursionError, ValueError, KeyError, RepositoryUnusable, GitError):
        return False


def _keep(slot: Slot, repository: GitRepository, work: Work) -> None:
    """Make what is in the worktree a commit under a ref; set it aside where that is not all of it.

    So it is where somebody is at work there still: a process that shed its marker, a person's shell.
    """
    linked = slot.linked
    try:
        base = Oid(hex=work.base)
        _recall(slot, repository, base, work)
        committed = _keep_commits(slot, repository, base, work)
        captured = capture(slot, repository, PathSet.parse(work.owns), work.max_file_bytes)
        if captured.changes:
            _pin(repository, work, captured)
        whole = committed and not captured.odd and bystander([slot.path]) is None
    except _Unpinned as error:
        raise RepositoryUnusable(
            f"what {work.task!r} of {work.run} committed cannot be kept: {error.cause}",
            hint=f"{remedy(error.cause)}; then do this again",
        ) from error
    except (OSError, RecursionError, ValueError, KeyError, RepositoryUnusable, GitError):
        whole = False
    finally:
        slot.filling, slot.linked = None, linked
        slot.apart.clear()
    if not whole:
        put_aside(slot, work.run, work.task, work.attempt)


class _Unpinned(Exception):
    """The commits of an attempt in a linked worktree are reachable from nothing but that worktree."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _keep_commits(slot: Slot, repository: GitRepository, base: Oid, work: Work) -> bool:
    """Pin what the attempt committed itself, before anything else: in a linked worktree its HEAD goes soon.

    False where no ref can hold it.

    Raises:
        _Unpinned: that failed where a worktree that is set aside does not hold the commits either.

    """
    ref = task_ref(work.run, work.task, f"evidence-{work.attempt}")
    try:
        return keep_history(repository, slot, base, ref) is not None
    except (OSError, RepositoryUnusable, GitError) as error:
        if slot.linked:
            raise _Unpinned(error) from error
        raise


def _recall(slot: Slot, repository: GitRepository, base: Oid, work: Work) -> None:
    """Tell the slot what its dead driver knew of it: what filled it, and what was put beside that."""
    tree = repository.tree_of(base)
    entries = dict(walk(repository.repo, tree))
    directories = dict.fromkeys(directories_of(entries), 0o700)
    slot.filling = Filling(tree, entries, {}, {}, directories, conversion_of(repository, tree))
    slot.identity, slot.linked = work.worktree, work.linked
    slot.apart.update(dict.fromkeys(work.apart))


def _pin(repository: GitRepository, work: Work, captured: Captured) -> None:
    """Give the salvaged tree a commit and a ref; one that was pinned before stays what it is.

    Raises:
        RepositoryUnusable: the ref cannot be written, or holds something else.

    """
    ref = task_ref(work.run, work.task, f"salvage-{work.attempt}")
    before = repository.ref(ref)
    if before is not None:
        if repository.tree_of(before) != captured.tree:
            raise RepositoryUnusable(f"{ref} holds something else", hint=f"git show {ref}")
        return
    commit = commit_tree(
        repository,
        tree=captured.tree,
        parents=[Oid(hex=work.base)],
        message=f"{work.task}: salvaged from attempt {work.attempt} of {work.run}\n",
        committer=repository.author(),
    )
    pin(repository, ref, commit)
