# ruff: noqa: INP001 - documents are no package
"""Write the parts of the documents that the code knows better: `python -m docs.generate` from the root.

A page marks such a part, and everything between the marks is replaced:

    <!-- generated: settings -->
    <!-- end -->

tests/docs/test_reference.py fails while a page is not what this module makes of it.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from importlib import import_module
from inspect import getsource
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Final, Literal, TypeVar, Union, get_args, get_origin

import click
from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from docs import words
from otto_core import errors, events, model
from otto_core.cli.failure import Bug
from otto_core.cli.main import VERBS, main
from otto_core.config import CommandLine, Settings
from otto_core.errors import ExitCode, OttoError
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.recovery import REPLAY, Effect
from otto_core.scheduler import EXIT_CODES
from otto_core.transitions import TRANSITIONS
from planner.durations import format_duration, parse_duration
from planner.file import ContractFile, PlanFile, TaskFile, VerifyFile, read_command

Name = TypeVar("Name", bound=StrEnum)

ROOT: Final = Path(__file__).resolve().parents[1]

_PART: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SIMPLE: Final[Mapping[object, str]] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Path: "path",
    NoneType: "null",
    object: "mapping",
}


def pages() -> list[Path]:
    """List the documents that have generated parts."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if _PART.search(page.read_text("utf-8"))]


def fill(text: str) -> str:
    """Give a page with its generated parts written anew (KeyError for a part that nobody makes)."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part['name']]()}\n\n{part[3]}", text)


# --- models


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), *map(tuple, rows)]
    drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([drawn[0], "|" + "---|" * len(lines[0]), *drawn[1:]])


def _keys(parts: Mapping[str, FieldInfo], meanings: Mapping[str, str]) -> str:
    """Draw a table of keys, types, defaults and meanings; both mappings have to have the same keys."""
    if parts.keys() != meanings.keys():
        raise ValueError(f"docs/words.py and the models differ in {sorted(parts.keys() ^ meanings.keys())}")
    rows = ((f"`{key}`", _shape(part), _default(part), meanings[key]) for key, part in parts.items())
    return _table(("key", "type", "default", "meaning"), rows)


def _flat(section: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Give the fields of a model and, by dotted keys, those of the models in it."""
    found: dict[str, FieldInfo] = {}
    for name, part in section.model_fields.items():
        below = part.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            found |= _flat(below, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = part
    return found


def _shape(part: FieldInfo) -> str:
    """Say in words what a field takes."""
    kind = _words(part.annotation, part.metadata)
    low = next((m.ge for m in part.metadata if isinstance(m, Ge)), None)
    high = next((m.le for m in part.metadata if isinstance(m, Le)), None)
    return kind + (f", from {low}" if low is not None else "") + (f" to {high}" if high is not None else "")


def _words(annotation: object, metadata: Iterable[object] = ()) -> str:
    readers = {m.func for m in metadata if isinstance(m, BeforeValidator)}
    if parse_duration in readers:
        return "duration"
    if read_command in readers or annotation == CommandLine:
        return "command"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0], arguments[1:])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        # Where None is allowed, it is the default: an absent key says the same.
        return _words(next(one for one in arguments if one is not NoneType))
    if origin in (list, tuple):
        return f"list of {_words(arguments[0])}s"
    return _SIMPLE[annotation]


def _default(part: FieldInfo) -> str:
    if part.is_required():
        return "required"
    value = part.default
    if value is None or value in ((), [], "", {}):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and "duration" in _shape(part):
        return f"`{format_duration(value)}`"
    return f"`{value}`"


# --- events


def _classes(module: ModuleType, base: str) -> Iterator[ast.ClassDef]:
    """Give the classes of a module that stand directly on another, in the order of the source."""
    for node in ast.parse(getsource(module)).body:
        if isinstance(node, ast.ClassDef) and base in map(ast.unparse, node.bases):
            yield node


def _described(cls: ast.ClassDef, title: str) -> str:
    """Describe a class by its docstring, its fields and the docstrings below them."""
    rows = []
    for node, below in zip(cls.body, [*cls.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) != "type":
            rows.append((f"`{ast.unparse(node.target)}`", f"`{ast.unparse(node.annotation)}`", _told(below)))
    parts = [f"### `{title}`", " ".join((ast.get_docstring(cls) or "").split())]
    if not any(told for *_, told in rows):
        return "\n\n".join([*parts, _table(("field", "type"), (row[:2] for row in rows))])
    return "\n\n".join([*parts, _table(("field", "type", "meaning"), rows)])


def _told(below: ast.stmt | None) -> str:
    """Give the docstring of a field: a text that stands below it."""
    match below:
        case ast.Expr(value=ast.Constant(value=str() as text)):
            return " ".join(text.split())
        case _:
            return ""


def _events() -> str:
    return "\n\n".join(_described(cls, _type_of(cls)) for cls in _classes(events, "_Event"))


def _type_of(cls: ast.ClassDef) -> str:
    return str(getattr(events, cls.name).__struct_config__.tag)


def _records() -> str:
    parts = [*_classes(model, "Record"), *_classes(events, "Record")]
    return "\n\n".join(_described(cls, cls.name) for cls in parts if not cls.name.startswith("_"))


def _enumerated(kind: type[Name], title: str, meanings: Mapping[Name, str]) -> str:
    return _table((title, "meaning"), ((f"`{one}`", meanings[one]) for one in kind))


def _transitions() -> str:
    def named(states: Iterable[TaskStatus]) -> str:
        return ", ".join(f"`{state}`" for state in TaskStatus if state in set(states))

    rows = (
        (f"`{event.__struct_config__.tag}`", named(before), named(after))
        for event, (before, after) in TRANSITIONS.items()
    )
    return _table(("event", "finds the task", "leaves it"), rows)


def _replay() -> str:
    rows = (
        (
            f"`{status}`",
            row.first.value,
            "yes, as a new attempt" if Effect.EXECUTE in row.repeats else "no",
            "; ".join(effect.value for effect in row.repeats if effect is not Effect.EXECUTE) or "nothing",
            f"`{row.leaves}`",
        )
        for status, row in REPLAY.items()
    )
    head = ("found in", "first", "its command is executed again", "may happen once more", "goes on from")
    return _table(head, rows)


def _exit_codes() -> str:
    failures: list[type[OttoError]] = [Bug]
    failures += [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, OttoError)]
    kinds = {one.exit_code: f"`{one.kind}`" for one in failures if one is not OttoError}
    rows = ((f"{code.value}", words.EXIT_CODES[code], kinds.get(code, "")) for code in ExitCode)
    return _table(("code", "meaning", "`kind` of the error"), rows)


def _outcomes() -> str:
    rows = ((f"`{one}`", words.OUTCOMES[one], f"{EXIT_CODES[one].value}") for one in Outcome)
    return _table(("outcome", "meaning", "exit code of `otto build`"), rows)


# --- commands


def _commands() -> str:
    return "\n\n".join(_verb(name, *VERBS[name]) for name in VERBS)


def _verb(name: str, module: str, about: str) -> str:
    command: click.Command = getattr(import_module(module), name)
    context = click.Context(command, info_name=f"otto {name}")
    told = " ".join((command.help or about).split())
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    return "\n\n".join([f"### otto {name}", told, f"```text\n{usage}\n```", *_options(command, context)])


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = (option for option in command.params if isinstance(option, click.Option))
    records = [option.get_help_record(context) for option in options]
    rows = [(f"`{record[0]}`", record[1]) for record in records if record]
    if rows:
        yield _table(("option", "meaning"), rows)


def _global_options() -> str:
    return "\n\n".join(_options(main, click.Context(main, info_name="otto")))


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": lambda: _keys(_flat(Settings), words.SETTINGS),
    "replay": _replay,
    "plan": lambda: _keys(PlanFile.model_fields, words.PLAN),
    "contract": lambda: _keys(ContractFile.model_fields, words.CONTRACT),
    "verify": lambda: _keys(VerifyFile.model_fields, words.VERIFY),
    "task": lambda: _keys(TaskFile.model_fields, words.TASK),
    "events": _events,
    "records": _records,
    "reasons": lambda: _enumerated(ReasonKind, "kind", words.REASONS),
    "states": lambda: _enumerated(TaskStatus, "state", words.STATES),
    "transitions": _transitions,
    "outcomes": _outcomes,
    "exit-codes": _exit_codes,
    "global-options": _global_options,
    "commands": _commands,
}
"""What makes each generated part."""


if __name__ == "__main__":
    for stale in (page for page in pages() if fill(page.read_text("utf-8")) != page.read_text("utf-8")):
        stale.write_text(fill(stale.read_text("utf-8")), "utf-8")
        sys.stdout.write(f"wrote {stale.relative_to(ROOT)}\n")
