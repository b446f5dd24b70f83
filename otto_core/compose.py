"""From a plan file and a repository to a compiled plan and settings. Writes nothing."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from merge.objects import Oid
from merge.trees import entry
from otto_core import events as ev
from otto_core.config import FILE_NAME, Configuration, Settings, read_configuration
from otto_core.copies import refuse_tracked
from otto_core.errors import PlanRejected, RepositoryUnusable, UsageError
from otto_core.git.promised import require_fetched
from otto_core.git.repository import GitRepository
from otto_core.model import SandboxMode, path_text
from otto_core.snapshot import require_filters
from planner.compile import Compiled, Defaults, Rejected, compile_plan
from planner.model import Plan
from planner.source import Source, load
from planner.violations import Violation

_SLUG_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Composed:
    """All that a run is started from."""

    plan: Plan
    settings: Settings
    warnings: tuple[Violation, ...]


def compose(
    repository: GitRepository,
    plan_file: Path,
    *,
    base: str | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Composed:
    """Read, resolve and compile. `base` goes before the plan's own; `overrides` are top-level settings.

    Raises:
        UsageError: the plan file or the configuration cannot be read, or names a tracked file to copy.
        PlanRejected: the plan breaks rules; all of them are listed.
        RepositoryUnusable: the base names no commit, or needs a filter, or what a partial clone lacks.

    """
    source = _read_plan(plan_file)
    named = source.data.get("base")
    commit = repository.resolve(base or (named if isinstance(named, str) else "HEAD"))
    require_fetched(repository, commit)
    settings = configuration_at(repository, commit, overrides or {}).configuration.settings
    require_filters(repository, commit)
    refuse_tracked(repository, commit, settings.worktrees.copy)
    match compile_plan(source, base=str(commit), defaults=_defaults(settings)):
        case Rejected(violations):
            raise _rejected(plan_file, violations)
        case Compiled(plan, warnings):
            return Composed(plan, settings, warnings)


@dataclass(frozen=True, slots=True)
class Configured:
    """What a run that starts from a commit is configured by, and whose `otto.yaml` that is."""

    configuration: Configuration
    file_of: Literal["commit", "checkout"] | None


def configuration_at(
    repository: GitRepository, commit: Oid, overrides: Mapping[str, object] = MappingProxyType({})
) -> Configured:
    """Read `otto.yaml` of a commit; where it has none, that of the checkout if there is one.

    Raises:
        UsageError: it cannot be read, or is not valid.
        RepositoryUnusable: an object is missing.

    """
    content, file_of = _file_at(repository, commit)
    return Configured(read_configuration(content, file=FILE_NAME, overrides=overrides), file_of)


def configuration_of_head(repository: GitRepository) -> Configured:
    """Read `otto.yaml` as a build started now would; that of the checkout, or none, where HEAD has no commit.

    Raises:
        UsageError: it cannot be read, or is not valid.

    """
    if not repository.is_unborn():
        return configuration_at(repository, repository.resolve("HEAD"))
    content = _beside(repository)
    return Configured(read_configuration(content, file=FILE_NAME), "checkout" if content else None)


def wall_now(repository: GitRepository, base: Oid) -> float | None:
    """Give the `budget.wall` (seconds) that a run on a base may have by now; None where nobody says one.

    A budget decides how much is done, not what: so the person's `otto.yaml` in the checkout goes before that
    of the base, as the environment goes before both.
    """
    content = _beside(repository)
    configurations = (
        read_configuration(content, file=FILE_NAME),
        configuration_at(repository, base).configuration,
    )
    for configuration in configurations:
        said = next(setting for setting in configuration.listed if setting.key == "budget.wall")
        if said.origin.kind != "default":
            return configuration.settings.budget.wall
    return None


def _file_at(
    repository: GitRepository, commit: Oid
) -> tuple[bytes | None, Literal["commit", "checkout"] | None]:
    try:
        found = entry(repository.repo, repository.tree_of(commit), FILE_NAME.encode())
        if found is not None:
            return repository.blob(found.oid), "commit"
    except KeyError as error:
        raise RepositoryUnusable(
            f"{FILE_NAME} of {str(commit)[:12]} cannot be read: the object {error} is missing",
            hint="run `otto doctor`",
        ) from error
    content = _beside(repository)
    return content, None if content is None else "checkout"


def _beside(repository: GitRepository) -> bytes | None:
    """Read the file of the checkout; None where there is none."""
    beside = repository.workdir / FILE_NAME if repository.workdir else None
    return beside.read_bytes() if beside is not None and beside.is_file() else None


@dataclass(frozen=True, slots=True)
class Locking:
    """Whether a run takes locks, and how long it waits for one of another run (seconds; None: no limit)."""

    held: bool = True
    wait_s: float | None = 0.0


def run_settings(
    settings: Settings,
    plan: Plan,
    *,
    sandbox: SandboxMode,
    keep_worktrees: bool,
    locking: Locking = Locking(),
    worktrees: Path | None = None,
) -> ev.RunSettings:
    """Fix what a run runs with."""
    return ev.RunSettings(
        concurrency=settings.concurrency,
        wall_s=settings.budget.wall,
        grace_s=settings.defaults.grace,
        max_file_bytes=int(settings.defaults.max_file_mb * 1_000_000),
        verify_timeout_s=plan.verify.timeout_s,
        locks="held" if locking.held else "unlocked",
        lock_wait_s=locking.wait_s,
        sandbox=sandbox,
        max_processes=settings.defaults.max_processes,
        keep_worktrees=keep_worktrees,
        isolation=settings.worktrees.isolation,
        worktrees=path_text(os.fsencode(worktrees)) if worktrees else "",
        copied=settings.worktrees.copy,
        durability=settings.durability,
    )


def slug_of(intent: str) -> str:
    """Make a branch name's last part from the intent."""
    words = re.sub(r"[^a-z0-9]+", "-", intent.lower()).strip("-")
    if len(words) > _SLUG_LENGTH:
        words = words[: _SLUG_LENGTH + 1].rpartition("-")[0] or words[:_SLUG_LENGTH]
    return words or "build"


def _read_plan(plan_file: Path) -> Source:
    try:
        content = plan_file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the plan file {plan_file} cannot be read: {error.strerror}", hint="otto build --plan FILE"
        ) from error
    source = load(content, str(plan_file))
    if isinstance(source, Source):
        return source
    raise _rejected(plan_file, source)


def _rejected(plan_file: Path, violations: tuple[Violation, ...]) -> PlanRejected:
    count = "1 fault" if len(violations) == 1 else f"{len(violations)} faults"
    return PlanRejected(
        f"the plan {plan_file} has {count}",
        hint=f"mend them, then: otto plan --plan {plan_file}",
        findings=violations,
    )


def _defaults(settings: Settings) -> Defaults:
    verify, worktrees = settings.verify, settings.worktrees
    return Defaults(
        agent=settings.agent,
        timeout_s=settings.defaults.timeout,
        max_attempts=settings.defaults.max_attempts,
        each=verify.each,
        final=verify.final,
        baseline=verify.baseline,
        verify_timeout_s=verify.timeout,
        setup=worktrees.setup,
        setup_key=worktrees.setup_key,
        setup_timeout_s=worktrees.setup_timeout,
    )
