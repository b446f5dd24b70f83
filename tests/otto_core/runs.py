"""Real runs for tests: a plan as data, built in a real repository by the real driver."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import yaml

from otto_core.build import build
from otto_core.compose import compose
from otto_core.git.repository import GitRepository
from otto_core.model import Reason
from otto_core.session import Observer
from otto_core.state import Run
from tests.builders import git


def feature(
    name: str, run: str | list[str], *, owns: Sequence[str] = (), **more: object
) -> dict[str, object]:
    """Describe a task as a plan file does."""
    return {"id": name, "owns": list(owns) or [f"{name}.txt"], "run": run, **more}


def writes(name: str) -> dict[str, object]:
    """Describe a task that writes one file of its own."""
    return feature(name, f"echo {name} > {name}.txt")


def write_plan(repo: Path, *tasks: Mapping[str, object], **top: object) -> Path:
    """Write a plan file beside the repository, so that the checkout stays as it is."""
    place = repo.parent / "plan.yaml"
    place.write_text(yaml.safe_dump({"version": 1, "intent": "Test", "tasks": list(tasks), **top}))
    return place


def run_plan(
    repo: Path,
    *tasks: Mapping[str, object],
    overrides: Mapping[str, object] | None = None,
    keep_worktrees: bool = False,
    observe: Observer | None = None,
    warn: Callable[[str], None] = lambda _: None,
    **top: object,
) -> Run:
    """Build a plan of these tasks in a repository; gives the run's last state."""
    repository = GitRepository.discover(repo)
    composed = compose(repository, write_plan(repo, *tasks, **top), overrides=overrides)
    return build(repository, composed, keep_worktrees=keep_worktrees, observe=observe, warn=warn)


def run_and_merge(repo: Path, *tasks: Mapping[str, object], **options: object) -> Run:
    """Build a plan, and have a branch of a person's reach what landed, as a merge would."""
    run = run_plan(repo, *tasks, **options)  # type: ignore[arg-type]
    git(repo, "branch", f"merged-{run.id}", run.tip)
    return run


def reason_of(run: Run, task: str) -> Reason:
    """Give why a task ended as it did; its last attempt's reason where it was retried since."""
    found = run.tasks[task].reason
    assert found is not None, f"{task} has no reason"
    return found


def first_failure(run: Run, task: str) -> Reason:
    """Give the reason of a task's first attempt, which must have failed."""
    end = run.tasks[task].attempts[0].end
    failure = getattr(end, "reason", None)
    assert isinstance(failure, Reason), f"the first attempt of {task} did not fail: {end}"
    return failure


def content(repo: Path, run: Run, path: str) -> str:
    """Give a file of the run's result."""
    return git(repo, "show", f"{run.tip}:{path}")


def files(repo: Path, run: Run) -> list[str]:
    """Name the files of the run's result."""
    return git(repo, "-c", "core.quotePath=true", "ls-tree", "-r", "--name-only", run.tip).splitlines()


def fingerprint(place: Path, *, less: Sequence[str] = ()) -> dict[str, str]:
    """Digest every file below a directory with its mode, less some prefixes; directories count by name."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if any(name == prefix or name.startswith(f"{prefix}/") for prefix in less):
            continue
        status = path.lstat()
        if path.is_symlink():
            found[name] = f"link {path.readlink()}"
        elif path.is_file():
            found[name] = f"{status.st_mode:o} {sha256(path.read_bytes()).hexdigest()}"
        else:
            found[name] = "directory"
    return found
