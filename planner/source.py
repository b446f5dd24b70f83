"""YAML or JSON text as plain data in which every key and item knows its line.

JSON is read as the YAML that it is, after its tabs (never inside a string, RFC 8259) have become blanks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from planner.violations import Violation

MAX_NODES = 200_000
"""How many values a file may expand to; aliases count each time they are used."""

Path = tuple[str | int, ...]
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Source:
    """A file's data and where each part of it stands."""

    file: str
    data: Mapping[str, object]
    lines: Mapping[Path, int] = field(default_factory=dict)

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
    """Read a file whose root is a mapping, or say what is wrong with it; `file` is its name for messages."""
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1 if isinstance(content, bytes) else None
        return (Violation(file, line, "the file is not UTF-8", "save it as UTF-8"),)
    if text.lstrip().startswith("{"):
        text = text.replace("\t", "  ")
    try:
        loader = _LOADER(text)
        try:
            root = loader.get_single_node()
            reader = _Reader(loader, file)
            data = reader.read(root, ()) if root is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, [error.context, error.problem]))
        return (Violation(file, mark.line + 1 if mark else None, f"not valid YAML: {problem}", _YAML_HINT),)
    except (yaml.YAMLError, RecursionError, _TooLarge) as error:
        return (Violation(file, None, f"not readable as YAML: {error}", _YAML_HINT),)
    if not isinstance(data, dict):
        return (
            Violation(file, 1, "the file is not a mapping of keys to values", "start it with `version: 1`"),
        )
    return tuple(reader.faults) or Source(file, data, reader.lines)


_YAML_HINT = "check the indentation, and quote what has a colon or a hash in it"


class _TooLarge(Exception):
    def __init__(self) -> None:
        super().__init__(f"it expands to more than {MAX_NODES:,} values")


class _Reader:
    """Turns nodes into data, noting lines and duplicate keys on the way."""

    def __init__(self, loader: yaml.SafeLoader, file: str) -> None:
        self._loader = loader
        self._file = file
        self._count = 0
        self._open: set[int] = set()
        self.lines: dict[Path, int] = {}
        self.faults: list[Violation] = []

    def read(self, node: yaml.Node, path: Path) -> object:
        self._count += 1
        if self._count > MAX_NODES:
            raise _TooLarge
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            value = self._loader.construct_object(node)
            return _joined(value) if isinstance(value, str) else value
        if id(node) in self._open:
            raise yaml.MarkedYAMLError(problem="a value contains itself", problem_mark=node.start_mark)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item, (*path, place)) for place, item in enumerate(node.value)]
            return dict(self._pairs(node, path))
        finally:
            self._open.discard(id(node))

    def _pairs(self, node: yaml.Node, path: Path) -> Iterator[tuple[str, object]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a composite key"
            if key in seen:
                line = key_node.start_mark.line + 1
                self.faults.append(
                    Violation(self._file, line, f"the key {key!r} stands here twice", "remove one of them")
                )
            seen.add(key)
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            yield key, self.read(value_node, (*path, key))


def _joined(text: str) -> str:
    """Join the two halves of a character that JSON wrote as a surrogate pair."""
    if not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
