"""What a check of `otto doctor` is given, and what it says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from otto_core.config import Settings
from otto_core.git.repository import GitRepository
from otto_core.state import Run


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says: all is well, something to know, or something to mend; `hint` is how.

    `mend` does it, where it is provably Otto's own and nobody's work is lost. It looks again first, and
    raises OttoError or OSError where it cannot be done.
    """

    level: Literal["ok", "note", "bad"]
    check: str
    message: str
    hint: str = ""
    mend: Callable[[], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Place:
    """What is examined: the repository, its settings (None where they are not valid) and its runs."""

    repository: GitRepository
    settings: Settings | None
    runs: tuple[Run, ...]
    driven: frozenset[str]
    unread: bool = False
    """Whether there are runs that cannot be read."""
