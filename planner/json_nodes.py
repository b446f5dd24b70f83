"""JSON text (RFC 8259) composed into the nodes of a YAML document, so that each value has a line."""

import json
import re
from bisect import bisect_left

import yaml

from planner.limits import MAX_DEPTH, TooLarge

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_TAGS = {str: "str", int: "int", float: "float", bool: "bool", type(None): "null"}


def compose_json(text: str) -> yaml.Node:
    """Compose a text that holds one JSON value.

    Raises:
        ValueError: it is not JSON; a JSONDecodeError, with its line, wherever that is known.
        TooLarge: its values lie too deep within each other.

    """
    composer = _Composer(text)
    root, end = composer.value(composer.skip(0), 0)
    if composer.skip(end) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return root


class _Composer:
    """A recursive descent: objects and arrays here, all else by the standard library's decoder."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._newlines = [found.start() for found in re.finditer("\n", text)]

    def skip(self, at: int) -> int:
        """Give the place of the next token."""
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> tuple[yaml.Node, int]:
        """Compose the value at a place; gives it and the place behind it."""
        mark = self._mark(at)
        if depth > MAX_DEPTH:
            raise TooLarge.depth(mark.line + 1)
        match self._text[at : at + 1]:
            case "{":
                pairs, end = self._mapping(at + 1, depth)
                return yaml.MappingNode("tag:yaml.org,2002:map", pairs, mark, mark), end
            case "[":
                items, end = self._sequence(at + 1, depth)
                return yaml.SequenceNode("tag:yaml.org,2002:seq", items, mark, mark), end
            case _:
                decoded, end = _DECODER.raw_decode(self._text, at)
                spelling = decoded if isinstance(decoded, str) else self._text[at:end]
                tag = f"tag:yaml.org,2002:{_TAGS[type(decoded)]}"
                return yaml.ScalarNode(tag, spelling, mark, mark), end

    def _mapping(self, at: int, depth: int) -> tuple[list[tuple[yaml.Node, yaml.Node]], int]:
        pairs: list[tuple[yaml.Node, yaml.Node]] = []
        at = self.skip(at)
        if self._text[at : at + 1] == "}":
            return pairs, at + 1
        while True:
            if self._text[at : at + 1] != '"':
                raise json.JSONDecodeError("Expecting a key in double quotes", self._text, at)
            key, at = self.value(at, depth + 1)
            value, at = self.value(self.skip(self._expect(":", at)), depth + 1)
            pairs.append((key, value))
            at = self.skip(at)
            if self._text[at : at + 1] == "}":
                return pairs, at + 1
            at = self.skip(self._expect(",", at))

    def _sequence(self, at: int, depth: int) -> tuple[list[yaml.Node], int]:
        items: list[yaml.Node] = []
        at = self.skip(at)
        if self._text[at : at + 1] == "]":
            return items, at + 1
        while True:
            item, at = self.value(at, depth + 1)
            items.append(item)
            at = self.skip(at)
            if self._text[at : at + 1] == "]":
                return items, at + 1
            at = self.skip(self._expect(",", at))

    def _expect(self, token: str, at: int) -> int:
        at = self.skip(at)
        if self._text[at : at + 1] != token:
            raise json.JSONDecodeError(f"Expecting {token!r}", self._text, at)
        return at + 1

    def _mark(self, at: int) -> yaml.Mark:
        return yaml.Mark("", at, bisect_left(self._newlines, at), 0, None, 0)
