"""From what a person typed to a repository, a run and a task. Opens the store for reading only."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from otto_core.errors import UsageError
from otto_core.git.view import ProgramView
from otto_core.journal import STORE, Journal
from otto_core.state import Attempt, Run, TaskState

_TOLD = 5


@contextmanager
def opened(start: Path | None = None) -> Iterator[tuple[ProgramView, Journal]]:
    """Open the repository that `start` (default: the working directory) lies in, and its journal for reading.

    Raises:
        RepositoryUnusable: no repository, or a store that cannot be read.
        UsageError: nothing has been built here yet.

    """
    repository = ProgramView.discover(start or Path.cwd())
    journal = Journal.read(repository.store / STORE)
    if journal is None:
        raise UsageError("there are no runs in this repository yet", hint="otto build --plan FILE")
    with journal:
        yield repository, journal


def run(journal: Journal, prefix: str | None) -> Run:
    """Load the run that a unique prefix names; the newest one where nothing is named.

    Raises:
        UsageError: no run, or several, fit.

    """
    return journal.load(run_id(journal.run_ids(), prefix))


def run_id(known: Sequence[str], prefix: str | None) -> str:
    """Pick one of the known runs (oldest first) as `run` does."""
    if not known:
        raise UsageError("there are no runs in this repository yet", hint="otto build --plan FILE")
    if prefix is None:
        return known[-1]
    if prefix in known:
        return prefix
    found = [name for name in known if prefix and name.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{prefix!r} names several runs: {_several(found)}", hint="type more of the name")
    raise UsageError(f"there is no run {prefix!r}", hint=_did_you_mean(prefix, known, "otto runs"))


def task(chosen: Run, name: str) -> TaskState:
    """Find the task that a full id, or a unique suffix of one, names; whole parts of an id go before letters.

    Raises:
        UsageError: no task, or several, fit.

    """
    ways: tuple[Callable[[str], bool], ...] = (
        lambda known: known == name,
        lambda known: known.endswith(f"/{name}"),
        lambda known: bool(name) and known.endswith(name),
    )
    for fits in ways:
        found = [known for known in chosen.tasks if fits(known)]
        if len(found) == 1:
            return chosen.tasks[found[0]]
        if found:
            raise UsageError(f"{name!r} names several tasks: {_several(found)}", hint="type more of the id")
    raise UsageError(
        f"{chosen.id} has no task {name!r}",
        hint=_did_you_mean(name, list(chosen.tasks), f"otto status {chosen.id}"),
    )


def attempt(run: Run, chosen: TaskState, number: int | None) -> Attempt:
    """Give an attempt by its number from 1; the last one where none is named.

    Raises:
        UsageError: the task has no such attempt, or none at all yet.

    """
    attempts = chosen.attempts
    if not attempts:
        raise UsageError(
            f"{chosen.id} has not been tried yet: it is {chosen.status}", hint=f"otto status {run.id}"
        )
    if number is None:
        return attempts[-1]
    if not 1 <= number <= len(attempts):
        raise UsageError(
            f"{chosen.id} has no attempt {number}", hint=f"its attempts are 1 to {len(attempts)}"
        )
    return attempts[number - 1]


def _several(found: Sequence[str]) -> str:
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return ", ".join(found[:_TOLD]) + more


def _did_you_mean(typed: str, known: Sequence[str], otherwise: str) -> str:
    near = get_close_matches(typed, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
