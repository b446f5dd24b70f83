"""Files that a whole repository's tests and builds hang on: two features that each make one are told (P9)."""

from fnmatch import fnmatchcase

from planner.draft import Draft
from planner.violations import Violation

KINDS = (
    "conftest.py",
    "tests/setup.*",
    "jest.config.*",
    "vitest.config.*",
    "playwright.config.*",
    "eslint.config.*",
    "tsconfig*.json",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "pyproject.toml",
    "requirements*.txt",
    "setup.cfg",
    "tox.ini",
    "mypy.ini",
    "ruff.toml",
    "go.mod",
    "go.sum",
    "Cargo.toml",
    "Cargo.lock",
    "Makefile",
)
"""Shared test and build bootstrap, wherever it lies: names in the form of fnmatch."""


def warn_of_bootstrap(draft: Draft) -> tuple[Violation, ...]:
    """Warn of each kind of bootstrap file that more than one feature names in its `owns`."""
    features = [task for task in draft.tasks if task.file.role == "feature"]
    warnings = []
    for kind in KINDS:
        makers = [task for task in features if any(_names(pattern, kind) for pattern in task.file.owns)]
        if len(makers) > 1:
            who = " and ".join(repr(task.id) for task in makers)
            message = f"{who} each own a file of the kind {kind}"
            remedy = "shared test and build files belong to a foundation"
            warnings.append(draft.source.violation((*makers[1].at, "owns"), message, remedy))
    return tuple(warnings)


def _names(pattern: str, kind: str) -> bool:
    return fnmatchcase(f"/{pattern.strip().strip('/')}", f"*/{kind}")
