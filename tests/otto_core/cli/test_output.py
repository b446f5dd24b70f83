import contextlib
import json
import os
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_core.cli import output
from otto_core.cli.output import MARKS, OUTCOME_COLOURS, Styled, safe, safe_log
from otto_core.model import Outcome, TaskStatus

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.binary().map(
    lambda data: data.decode("utf-8", "surrogateescape")
)


Printed = Callable[[Callable[[], None]], str]


def everything(master: int) -> bytes:
    """Read what was written to a terminal that is closed by now: it comes in pieces, in its own time."""
    seen = b""
    with os.fdopen(master, "rb", buffering=0) as file, contextlib.suppress(OSError):  # Linux ends it with EIO
        while piece := file.read(1 << 16):
            seen += piece
    return seen


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Give a function that prints to a real terminal and returns what a person would get to see."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def printed(prints: Callable[[], None]) -> str:
        master, slave = os.openpty()
        with os.fdopen(slave, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", stream)
            prints()
        return everything(master).decode().replace("\r\n", "\n")

    return printed


@given(ANY_TEXT)
@settings(deadline=None, max_examples=300)
def test_safe_text_is_printable_and_can_be_written_as_utf_8(text: str) -> None:
    shown = safe(text)
    assert shown.isprintable()
    shown.encode()


@given(ANY_TEXT)
@settings(deadline=None, max_examples=300)
def test_a_safe_log_has_no_control_but_line_ends_and_tabs(text: str) -> None:
    shown = safe_log(text)
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain é ✓", "plain é ✓", id="printable text stands for itself"),
        pytest.param("C:\\a", "C:\\a", id="a backslash too"),
        pytest.param("\x1b[2J", "\\x1b[2J", id="escape"),
        pytest.param("a\nb", "a\\nb", id="line end"),
        pytest.param("caf\udce9", "caf\\xe9", id="byte that is not UTF-8"),
        pytest.param("\u202eabc", "\\xe2\\x80\\xaeabc", id="text that would run backwards"),
    ],
)
def test_text_is_shown_escaped_where_it_could_mislead(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        pytest.param("\x1b[1;31mFAILED\x1b[0m\n", "FAILED\n", id="colours go"),
        pytest.param("10%\r20%\r\n", "10%\n20%\n", id="a progress bar becomes lines"),
        pytest.param("\x1b]0;title\x07\tx", "\\x1b]0;title\\x07\tx", id="a title stays text"),
    ],
)
def test_a_log_is_readable_and_harmless_on_a_terminal(log: str, shown: str) -> None:
    assert safe_log(log) == shown


def test_every_state_and_outcome_has_a_look_of_its_own_symbol() -> None:
    assert set(MARKS) == set(TaskStatus)
    assert set(OUTCOME_COLOURS) == set(Outcome)
    symbols = [mark.symbol for mark in MARKS.values()]
    assert len(set(symbols)) == len(symbols)
    assert all(len(symbol) == 1 for symbol in symbols)


def test_a_terminal_gets_colours(on_terminal: Printed) -> None:
    seen = on_terminal(lambda: output.line(Styled("✓", "green"), " landed"))
    assert seen == "\x1b[32m✓\x1b[0m landed\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_none(
    on_terminal: Printed, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert on_terminal(lambda: output.line(Styled("✓", "green"), " landed")) == "✓ landed\n"


def test_data_cannot_bring_colours_of_its_own(on_terminal: Printed) -> None:
    seen = on_terminal(lambda: output.line("\x1b[31mred\x1b[0m", Styled("\x1b[0mx", "green")))
    assert seen == "\\x1b[31mred\\x1b[0m\x1b[32m\\x1b[0mx\x1b[0m\n"


def test_what_is_no_terminal_gets_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    output.line(Styled("✓", "green", bold=True), " landed")
    assert capsys.readouterr().out == "✓ landed\n"


def test_a_table_aligns_its_columns_and_ends_no_line_with_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([("a", Styled("long one", "red"), "x"), ("bbb", "", "")], indent="  ")
    assert capsys.readouterr().out == "  a    long one  x\n  bbb\n"
    output.table([])
    assert capsys.readouterr().out == ""


def test_on_a_terminal_the_last_cell_of_a_row_goes_on_below_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ("one", "two words and a-long-one more")
    output.table([row])
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "26")
    output.table([row])
    monkeypatch.setenv("COLUMNS", "20")
    output.table([row])
    whole = "one  two words and a-long-one more\n"
    assert capsys.readouterr().out == whole + "one  two words and\n     a-long-one more\n" + whole


@pytest.mark.parametrize("prints", [output.json_line, output.json_document])
def test_json_is_ascii_and_escapes_bytes_that_are_not_utf_8(
    capsys: pytest.CaptureFixture[str], prints: Callable[[object], None]
) -> None:
    prints({"path": "caf\udce9", "title": "é"})
    printed = capsys.readouterr().out
    assert "caf\\udce9" in printed
    assert "\\u00e9" in printed
    assert json.loads(printed) == {"path": "caf\udce9", "title": "é"}
