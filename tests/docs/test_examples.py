"""The sessions that the documents show, typed anew: what a page prints is what Otto prints.

A page is one session in one shell. A block marked with a language and a file's name (`yaml plan.yaml`) is
that file; of a block marked `console`, each line after `$ ` is typed, and what follows is what it printed.
`[...]` stands for what is left out. Ids, times and durations vary from run to run; their places count.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/how-to/first-plan.md")

BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<file>\S+))?\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
VARYING = (
    (re.compile(r"\br-\d{8}-[a-z2-7]{4}\b"), "r-RUN"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d\.\d{3})?Z?"), "WHEN"),
    (re.compile(r"(?<!budget )\b(\d+\.\d+s|(\d+h)?\d+m(\d+s)?|\d+h)\b"), "0.0s"),
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "ID"),
    (re.compile(r" {2,}"), "  "),
)
ANYTHING = re.compile(r"^ *\\\[\\\.\\\.\\\.\\\] *\n", re.MULTILINE)
SOMETHING = re.escape("[...]")


@dataclass(frozen=True)
class Typed:
    command: str
    expected: str


def session(page: str) -> Iterator[Typed]:
    """Give what is typed on a page, in order, with what is said to come of it; a file is typed too."""
    for block in BLOCK.finditer((ROOT / page).read_text("utf-8")):
        if block["file"]:
            yield Typed(f"cat > {shlex.quote(block['file'])} <<'END OF FILE'\n{block['body']}END OF FILE", "")
        elif block["kind"] == "console":
            for typed in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
                command, _, expected = typed.partition("\n")
                yield Typed(command, expected)


def play(typed: list[Typed], place: Path) -> list[str]:
    """Type it all into one shell; gives what each command printed, on either stream."""
    mark = "--- next ---"
    script = "exec 2>&1\n" + "".join(f"{one.command}\necho {shlex.quote(mark)}\n" for one in typed)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["sh"],
        input=script,
        cwd=place,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split(f"{mark}\n")[: len(typed)]


def steady(text: str) -> str:
    for varying, name in VARYING:
        text = varying.sub(name, text)
    return text


def fits(expected: str, actual: str) -> bool:
    pattern = ANYTHING.sub(
        "(?:.*\n)*?", re.escape(steady(expected)).replace("\\\n", "\n").replace("\\ ", " ")
    )
    return re.fullmatch(pattern.replace(SOMETHING, ".*"), steady(actual)) is not None


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_really_happens(page: str, tmp_path: Path) -> None:
    typed = list(session(page))
    assert any(one.expected for one in typed)
    for one, actual in zip(typed, play(typed, tmp_path), strict=True):
        assert fits(one.expected, actual), f"$ {one.command}\n{actual}\n--- the page says\n{one.expected}"


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("landed as 0123456789ab\n", "landed as ba9876543210\n", True),
        ("landed as 0123456789ab\n", "refused as ba9876543210\n", False),
        ("a\n[...]\nd\n", "a\nb\nc\nd\n", True),
        ("a\n[...]\nd\n", "a\nb\nc\n", False),
        ("    0.1s  a [...]\n", "   12.3s  a b c\n", True),
        ("    0.1s  landed in 0.9s\n", "    1m3s  landed in 2m\n", True),
        ("wall budget 10m\n", "wall budget 9m\n", False),
        ("", "error: something\n", False),
    ],
    ids=[
        "an id",
        "a word",
        "lines left out",
        "too much left out",
        "a duration",
        "a long one",
        "a setting",
        "an error nobody shows",
    ],
)
def test_only_what_varies_is_left_out_of_the_comparison(expected: str, actual: str, *, same: bool) -> None:
    assert fits(expected, actual) is same
