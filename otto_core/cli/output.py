"""The only helpers that print. What they are given is made safe for a terminal; what they add is never data.

Standard output carries the answer, standard error everything else. A verb prints its answer last, so that a
failure leaves standard output to the one JSON document that tells of it.
"""

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Final, TextIO

import click
from msgspec import Struct
from msgspec.structs import replace

from otto_core.model import Outcome, TaskStatus

_SELECT_GRAPHIC_RENDITION: Final = re.compile(r"\x1b\[[0-9;:]*m")


_LEAST_ROOM: Final = 20
"""Columns; in fewer, text is better left to the terminal."""


class Styled(Struct, frozen=True):
    """Text with a colour of the terminal's palette, for the parts of a line that carry meaning."""

    text: str
    colour: str | None = None
    bold: bool = False
    dim: bool = False

    def padded(self, width: int) -> "Styled":
        """Fill up with spaces to a width in characters."""
        return replace(self, text=self.text.ljust(width))


class Mark(Struct, frozen=True):
    """How a state looks: a symbol of one column and a colour."""

    symbol: str
    colour: str


MARKS: Mapping[TaskStatus, Mark] = {
    TaskStatus.PENDING: Mark("·", "bright_black"),
    TaskStatus.RUNNING: Mark("●", "cyan"),
    TaskStatus.PRODUCED: Mark("◇", "blue"),
    TaskStatus.LANDING: Mark("◆", "blue"),
    TaskStatus.LANDED: Mark("✓", "green"),
    TaskStatus.UNCHANGED: Mark("=", "green"),
    TaskStatus.HELD: Mark("!", "yellow"),
    TaskStatus.FAILED: Mark("✗", "red"),
    TaskStatus.SKIPPED: Mark("-", "bright_black"),
}

OUTCOME_COLOURS: Mapping[Outcome, str] = {
    Outcome.RUNNING: "cyan",
    Outcome.LANDED: "green",
    Outcome.PARTIAL: "yellow",
    Outcome.FAILED: "red",
    Outcome.REGRESSION: "red",
    Outcome.BUDGET: "yellow",
    Outcome.WAITING: "yellow",
    Outcome.INTERRUPTED: "yellow",
}


def symbol(status: TaskStatus) -> Styled:
    """Give the symbol of a state in its colour."""
    mark = MARKS[status]
    return Styled(mark.symbol, mark.colour)


def safe(text: str) -> str:
    r"""Give text that cannot steer a terminal: what is not printable is written `\xNN`, a line end `\n`.

    Unlike in `merge.paths.show`, a backslash stands for itself: a message may hold paths already shown.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def safe_log(text: str) -> str:
    r"""Give a piece of a log for a terminal: line ends and tabs stay, colours go, other control is `\xNN`."""
    plain = _SELECT_GRAPHIC_RENDITION.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in plain)


def line(*parts: str | Styled, err: bool = False) -> None:
    """Print one line, to standard error if `err`."""
    stream = sys.stderr if err else sys.stdout
    click.echo("".join(map(_rendered, parts)), file=stream, color=colourful(stream))


def warn(text: str) -> None:
    """Print a warning to standard error."""
    line(Styled("warning:", "yellow"), f" {text}", err=True)


def lines(texts: Iterable[str]) -> None:
    """Print lines to standard output."""
    for text in texts:
        line(text)


def table(rows: Iterable[tuple[str | Styled, ...]], *, indent: str = "") -> None:
    """Print rows of as many cells each, their columns aligned, two spaces apart.

    Where a terminal is too narrow for a row, its last cell goes on below itself.
    """
    cells = [[_safe_cell(cell) for cell in row] for row in rows]
    widths = [max(len(cell.text) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        used = max((place for place, cell in enumerate(row) if cell.text), default=0)
        padded = [cell.padded(width) for cell, width in zip(row[:used], widths, strict=False)]
        before = [indent, *(part for cell in padded for part in (cell, "  "))]
        at = len(indent) + sum(width + 2 for width in widths[:used])
        first, *more = _folded(row[used].text, at)
        line(*before, replace(row[used], text=first))
        for text in more:
            line(" " * at, replace(row[used], text=text))


def json_document(document: object) -> None:
    r"""Print the one JSON document of a command: ASCII, a byte that is not UTF-8 as `\udcXX`."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def json_line(document: object) -> None:
    """Print one line of JSON Lines."""
    click.echo(json.dumps(document, separators=(",", ":"), ensure_ascii=True))


def text(piece: str) -> None:
    """Print text that `safe_log` has gone over, without a line end of its own."""
    click.echo(piece, nl=False, color=False)


def raw(data: bytes) -> None:
    """Write bytes to standard output as they are, after the text printed so far."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def flush() -> None:
    """Hand over what was printed to whoever reads: for output that goes on."""
    sys.stdout.flush()


def on_terminal() -> bool:
    """Tell whether standard output is a terminal, which acts on control characters."""
    return sys.stdout.isatty()


def colourful(stream: TextIO) -> bool:
    """Tell whether a stream takes colours: a terminal that is not dumb, and no `NO_COLOR` (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _folded(words: str, at: int) -> list[str]:
    """Break text between words so that a terminal has room for it from a column on; only where that helps."""
    room = shutil.get_terminal_size().columns - at
    if room < _LEAST_ROOM or not on_terminal():
        return [words]
    return textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False) or [words]


def _safe_cell(cell: str | Styled) -> Styled:
    if isinstance(cell, str):
        return Styled(safe(cell))
    return replace(cell, text=safe(cell.text))


def _rendered(part: str | Styled) -> str:
    if isinstance(part, str):
        return safe(part)
    if not (part.colour or part.bold or part.dim):
        return safe(part.text)
    return click.style(safe(part.text), fg=part.colour, bold=part.bold or None, dim=part.dim or None)


def _escaped(char: str) -> str:
    if char == "\n":
        return "\\n"
    by_unit = char.encode("utf-8", "surrogateescape") if "\udc80" <= char <= "\udcff" else None
    return "".join(f"\\x{unit:02x}" for unit in by_unit or char.encode("utf-8", "surrogatepass"))
