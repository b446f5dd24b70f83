"""YAML or JSON text as plain data in which every key and item knows its line.

JSON is not quite YAML (its escapes and control characters differ), so it is parsed as JSON, but into the
nodes of a YAML document: one reader turns either into data.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from planner.json_nodes import compose_json
from planner.limits import MAX_BYTES, MAX_DEPTH, MAX_EVENTS, MAX_NODES, TooLarge
from planner.violations import Violation

Path = tuple[str | int, ...]

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_JSON = re.compile(r'\s*\{\s*["}]')
_PLAIN = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
)
_YAML_HINT = "check the indentation, and quote what has a colon or a hash in it"
_JSON_HINT = "what begins with `{` and a quote is read as JSON"


@dataclass(frozen=True, slots=True)
class Source:
    """A file's data, where each part of it stands, and how its numbers, booleans and dates are spelled."""

    file: str
    data: Mapping[str, object]
    lines: Mapping[Path, int] = field(default_factory=dict)
    spelling: Mapping[Path, str] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """Give the line of a value, or of the nearest value around it that has one."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None

    def violation(self, path: Path, message: str, hint: str = "") -> Violation:
        """Make a violation at a place in this file."""
        return Violation(self.file, self.line(path), message, hint)


def load(content: str | bytes, file: str) -> Source | tuple[Violation, ...]:
    """Read a file whose root is a mapping, or say what is wrong with it; `file` is its name for messages.

    What begins with `{` and a quote is JSON (RFC 8259), all else YAML 1.1 as PyYAML reads it.
    """
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_BYTES:
        return (Violation(file, None, f"the file has {len(raw):,} bytes; the limit is {MAX_BYTES:,}"),)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return (Violation(file, line, "the file is not UTF-8", "save it as UTF-8"),)
    reader = _Reader(file)
    try:
        root = compose_json(text) if _JSON.match(text) else _compose_yaml(text)
        data = reader.read(root, ()) if root is not None else None
    except (yaml.YAMLError, ValueError, TooLarge) as error:
        return (_unreadable(file, raw, error),)
    if reader.faults:
        return tuple(reader.faults)
    if not isinstance(data, dict):
        wrong = "the file is not a mapping of keys to values"
        return (Violation(file, 1, wrong, "start it with `version: 1`"),)
    return Source(file, data, reader.lines, reader.spelling)


def _unreadable(file: str, raw: bytes, error: yaml.YAMLError | ValueError | TooLarge) -> Violation:
    match error:
        case TooLarge(line=line):
            return Violation(file, line, str(error), "write it in a simpler way")
        case yaml.reader.ReaderError(position=position, reason=reason):
            line = raw.count(b"\n", 0, position) + 1
            return Violation(file, line, f"not valid YAML: {reason}", "remove the control character")
        case yaml.MarkedYAMLError():
            mark = error.problem_mark or error.context_mark
            problem = " ".join(filter(None, [error.context, error.problem]))
            return Violation(file, mark.line + 1 if mark else None, f"not valid YAML: {problem}", _YAML_HINT)
        case json.JSONDecodeError(lineno=line, msg=problem):
            return Violation(file, line, f"not valid JSON: {problem}", _JSON_HINT)
        case _:
            return Violation(file, None, f"not readable: {error}", "check the file's syntax")


def _compose_yaml(text: str) -> yaml.Node | None:
    # Composing recurses, in C without a bound; so the size is measured first, on the flat stream of events.
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if count > MAX_EVENTS:
            raise TooLarge.nodes()
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise TooLarge.depth(event.start_mark.line + 1 if event.start_mark else None)
    root: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    return root


class _Reader:
    """Turns nodes into data, noting lines and what has no place in a file of ours on the way."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._scalars = yaml.constructor.SafeConstructor()
        self._count = 0
        self.lines: dict[Path, int] = {}
        self.spelling: dict[Path, str] = {}
        self.faults: list[Violation] = []

    def read(self, node: yaml.Node, path: Path) -> object:
        """Read a node and all below it; aliases count each time they are used, as one within itself does."""
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > MAX_NODES:
            raise TooLarge.nodes()
        if len(path) > MAX_DEPTH:
            raise TooLarge.depth(line)
        self.lines.setdefault(path, line)
        if node.tag not in _PLAIN:
            self._fault(line, f"the tag {node.tag!r} has no meaning here", "remove it, or quote the value")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, line)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, place)) for place, item in enumerate(node.value)]
        return dict(self._pairs(node, path))

    def _scalar(self, node: yaml.ScalarNode, path: Path, line: int) -> object:
        try:
            value: object = self._scalars.construct_object(node)
        except ValueError as error:
            wrong = f"{node.value[:40]!r} cannot be read: {error}"
            self._fault(line, wrong, "if it is text, put it in quotes")
            return None
        if isinstance(value, (int, float)) and ":" in node.value:
            return node.value  # YAML 1.1 reads 1:30 in base 60, which nobody means
        if not isinstance(value, str):
            self.spelling[path] = node.value
        elif any("\ud800" <= char <= "\udfff" for char in value):
            self._fault(line, "half of a surrogate pair is not text", "write the whole character")
        elif "\0" in value:
            self._fault(line, "a NUL character is not text", "remove it")
        return value

    def _pairs(self, node: yaml.Node, path: Path) -> Iterator[tuple[str, object]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(line, "a key is a list or a mapping", "write a single word")
                continue
            key = str(key_node.value)
            if key in seen:
                first = f"the first time on line {seen[key]}"
                self._fault(line, f"the key {key!r} stands here twice, {first}", "remove one of them")
            seen[key] = line
            self.lines[*path, key] = line
            yield key, self.read(value_node, (*path, key))

    def _fault(self, line: int, message: str, hint: str) -> None:
        self.faults.append(Violation(self._file, line, message, hint))
