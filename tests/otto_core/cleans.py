"""`otto clean` for tests: called in this process, and what it tells in short."""

from collections.abc import Callable
from pathlib import Path

from otto_core.clean import clean
from otto_core.git.repository import GitRepository
from otto_core.state import Run
from otto_core.sweep import Cleaned, Order
from tests.builders import git

NOW = Order("ada@workshop")
DRY = Order("ada@workshop", dry_run=True)


def cleaned(repo: Path, order: Order = NOW, before: Callable[[str], None] = lambda _: None) -> Cleaned:
    """Clean a repository; `before` is told of each step right before it."""
    return clean(GitRepository.discover(repo), order, before=before)


def kept(done: Cleaned) -> dict[str, str]:
    """Give what stays, and why."""
    return {one.what: one.why for one in done.kept}


def gone(done: Cleaned) -> set[str]:
    """Give what went or would go, each by its last name."""
    return {Path(one.what).name for one in done.removed}


def pool(run: Run) -> Path:
    """Give the directory of the worktrees that a run used."""
    return Path(run.settings.worktrees)


def refs(repo: Path) -> str:
    """List all refs of Otto's own."""
    return git(repo, "for-each-ref", "refs/otto")
