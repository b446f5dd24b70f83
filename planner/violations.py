"""What is wrong with a file that a person wrote: where, what, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault; `line` counts from 1 and is None where no line is to blame."""

    file: str
    line: int | None
    message: str
    hint: str = ""
