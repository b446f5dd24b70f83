"""Bounds on what a file may make the compiler do."""

from typing import Self

MAX_BYTES = 8_000_000
"""Of a whole file."""

MAX_NODES = 100_000
"""How many values a file may expand to; aliases count each time they are used."""

MAX_EVENTS = 3 * MAX_NODES
"""How many steps a parser may take: a value may have a key, and an end."""

MAX_DEPTH = 50
"""How deep values may lie within each other."""

MAX_TASKS = 2_000
MAX_CONTRACTS = 500

MAX_OVERLAPS = 200
"""Of overlapping pairs of tasks, how many are listed."""


class TooLarge(Exception):
    """A file goes beyond a bound; `line` counts from 1, and is None where no line is to blame."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line

    @classmethod
    def nodes(cls) -> Self:
        """Say that there are too many values."""
        return cls(f"the file expands to more than {MAX_NODES:,} values", None)

    @classmethod
    def depth(cls, line: int | None) -> Self:
        """Say that values lie too deep within each other."""
        return cls(f"values lie more than {MAX_DEPTH} deep within each other", line)
