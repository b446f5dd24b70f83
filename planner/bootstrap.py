"""Files that a whole repository's tests and builds hang on: two features that each make their own are told (P9)."""

from collections import defaultdict

from planner.draft import Draft
from planner.violations import Violation

BOOTSTRAP = (
    "conftest.py",
    "jest.config.js",
    "jest.config.ts",
    "package.json",
    "pyproject.toml",
    "requirements.txt",
    "setup.cfg",
    "tox.ini",
    "tsconfig.json",
    "vitest.config.ts",
    "go.mod",
    "Cargo.toml",
    "Makefile",
)
"""Names of shared test and build bootstrap, wherever they lie."""


def warn_of_bootstrap(draft: Draft) -> tuple[Violation, ...]:
    """Warn of each kind of bootstrap file that more than one feature names in its `owns`."""
    makers: defaultdict[str, list[str]] = defaultdict(list)
    for task in draft.tasks:
        named = {pattern.rstrip("/").rpartition("/")[2] for pattern in task.file.owns}
        if task.file.role == "feature":
            for name in named.intersection(BOOTSTRAP):
                makers[name].append(task.id)
    return tuple(
        draft.source.violation(
            ("tasks",),
            f"{' and '.join(names)} each own a {kind}",
            "shared test and build files belong to a foundation",
        )
        for kind, names in sorted(makers.items())
        if len(names) > 1
    )
