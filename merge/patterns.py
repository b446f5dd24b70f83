"""Path patterns, decided exactly: match, overlap and inclusion of what tasks own.

A pattern is a gitignore pattern (gitignore(5), "PATTERN FORMAT"), anchored at the root and never negated. It
names files: those whose path it matches, and all that lies below a directory that it matches. A path is what
Git stores: bytes, with `/` between segments. `?` and a class stand for one byte, not for one character.

One automaton answers all three questions, so the answers cannot disagree. It has two levels of one shape: a
row of positions, where a letter moves on to the next one, and where a *loop* consumes any letter in place.
Below, letters are bytes and a `*` is a loop. Above, letters are whole segments and a `**` is a loop; so is
the end of the row, since what lies below a match is matched. Positions are the bits of one integer
(Baeza-Yates and Gonnet, "A new approach to text searching", 1992), so a step costs a few integer operations.
"""

import heapq
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import compress, product
from operator import itemgetter, or_
from typing import Final, NamedTuple, Self

MAX_BYTES: Final = 1024  # of one pattern
MAX_STATES: Final = 10_000  # of one search, on each level
MAX_REMEMBERED: Final = 8_192  # steps of one set, kept between calls of `matches`

# Every byte that a name may hold, those that read best in a witness first.
_READABLE: Final = b"abcdefghijklmnopqrstuvwxyz0123456789_.-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BYTES: Final = _READABLE + bytes(byte for byte in range(1, 256) if byte not in _READABLE + b"/")

_LOWER: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz")
_UPPER: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGIT: Final = frozenset(b"0123456789")
_GRAPH: Final = frozenset(range(0x21, 0x7F))
_CLASSES: Final = {
    b"alnum": _LOWER | _UPPER | _DIGIT,
    b"alpha": _LOWER | _UPPER,
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset((*range(1, 0x20), 0x7F)),
    b"digit": _DIGIT,
    b"graph": _GRAPH,
    b"lower": _LOWER,
    b"print": _GRAPH | {0x20},
    b"punct": _GRAPH - _LOWER - _UPPER - _DIGIT,
    b"space": frozenset(b" \t\n\r"),  # git's own table has neither \v nor \f
    b"upper": _UPPER,
    b"xdigit": _DIGIT | frozenset(b"abcdefABCDEF"),
}
_CLASS_ITEM: Final = re.compile(
    rb"\[:(?P<name>[^\]]*):\] | (?P<low>\\.|[^\\]) (?: - (?P<high>\\.|[^\\\]]) )?", re.DOTALL | re.VERBOSE
)


class PatternError(ValueError):
    """A pattern that cannot be used. `message` says why, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _Segment:
    """The part of a pattern between two slashes, as an automaton over the bytes of one name."""

    text: bytes
    prefix: bytes = field(init=False, repr=False, compare=False)  # the literal bytes that it starts with
    literal: bool = field(init=False, repr=False, compare=False)  # no more than its prefix
    loops: int = field(init=False, repr=False, compare=False)  # positions where a `*` stays
    advances: tuple[int, ...] = field(init=False, repr=False, compare=False)  # byte -> positions it moves on
    final: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        loops, moves = 0, list[frozenset[int]]()
        for members in _tokens(self.text):
            if members is None:
                loops |= 1 << len(moves)
            else:
                moves.append(members)
        advances = [0] * 256
        for position, members in enumerate(moves):
            for byte in members:
                advances[byte] |= 1 << position
        fixed = 0
        while fixed < len(moves) and len(moves[fixed]) == 1 and not loops >> fixed & 1:
            fixed += 1
        _set(self, "prefix", b"".join(bytes(members) for members in moves[:fixed]))
        _set(self, "literal", fixed == len(moves) and not loops)
        _set(self, "loops", loops)
        _set(self, "advances", tuple(advances))
        _set(self, "final", 1 << len(moves))

    def step(self, positions: int, byte: int) -> int:
        """Return the positions after one more byte; 0 when no name that goes on like this can match."""
        after = (positions & self.loops) | (positions & self.advances[byte]) << 1
        # What an earlier position could still match, the last loop matches too: it takes in the detour.
        # Without the earlier ones, only `?` and classes behind a `*` make the number of states grow fast.
        reached = after & self.loops
        return after & -(1 << reached.bit_length() - 1) if reached else after

    def matches(self, name: bytes) -> bool:
        """Whether the whole of `name` matches."""
        if self.literal:
            return name == self.prefix
        if not name.startswith(self.prefix):
            return False
        positions = 1
        for byte in name:
            positions = self.step(positions, byte)
            if not positions:
                return False
        return bool(positions & self.final)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, equal by its `text` as written. Raises PatternError when it is not usable."""

    text: str
    segments: tuple[_Segment, ...] = field(init=False, repr=False, compare=False)
    loops: int = field(init=False, repr=False, compare=False)  # positions where a `**`, or the end, stays
    prefix: bytes = field(init=False, repr=False, compare=False)  # every path that matches starts with it

    def __post_init__(self) -> None:
        *names, last = _split(self.text)
        below = not last  # `a/` is what lies below the directory `a`, not a file of that name
        if below:
            *names, last = names
        segments, loops = list[_Segment](), 0
        for name in names:
            if _is_double_star(name):
                loops |= 1 << len(segments)
            else:
                segments.append(_segment(name))
        # A `**` at the end is one segment or more, where elsewhere it is any number of them.
        segments.append(_ANY if _is_double_star(last) else _segment(last))
        if below:
            segments.append(_ANY)
        _set(self, "segments", tuple(segments))
        _set(self, "loops", loops | 1 << len(segments))
        _set(self, "prefix", _literal_prefix(segments, loops))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern that `text` spells; raise PatternError when it is none."""
        return cls(text)

    def moves(self, position: int) -> Iterator[tuple[_Segment, int]]:
        """Yield what the next segment of a path may be, each with the position that it leads to."""
        if self.loops >> position & 1:
            yield _ANY, position
        if position < len(self.segments):
            yield self.segments[position], position + 1


class _Machine:
    """The automata of several patterns side by side, made deterministic as far as paths ask for it."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.start = self.final = self.loops = 0
        self.labels: dict[_Segment, int] = {}  # -> the positions that it moves on
        self._after: dict[tuple[int, bytes], int] = {}
        offset = 0
        for pattern in patterns:
            self.start |= 1 << offset
            self.loops |= pattern.loops << offset
            for position, segment in enumerate(pattern.segments, offset):
                self.labels[segment] = self.labels.get(segment, 0) | 1 << position
            offset += len(pattern.segments)
            self.final |= 1 << offset
            offset += 1

    def live(self, positions: int) -> dict[_Segment, int]:
        """Return the labels that can move one of `positions` on, each with all that it moves."""
        return {label: where for label, where in self.labels.items() if where & positions}

    def step(self, positions: int, moved: int) -> int:
        """Return the positions after a segment whose labels move on those in `moved`."""
        return (positions & self.loops) | (positions & moved) << 1

    def read(self, positions: int, name: bytes) -> int:
        """Return the positions after the segment `name`."""
        after = self._after.get((positions, name))
        if after is None:
            hits = (where for label, where in self.live(positions).items() if label.matches(name))
            after = self.step(positions, reduce(or_, hits, 0))
            if len(self._after) >= MAX_REMEMBERED:
                self._after.clear()
            self._after[positions, name] = after
        return after


@dataclass(frozen=True, slots=True)
class PathSet:
    """The paths that at least one of `patterns` matches; equal and hashed by the texts of the patterns."""

    patterns: tuple[Pattern, ...] = ()
    _machine: _Machine = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _set(self, "_machine", _Machine(self.patterns))

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Return the union of the patterns in `texts`; raise PatternError on the first that is not usable."""
        return cls(tuple(Pattern.parse(text) for text in dict.fromkeys(texts)))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __or__(self, other: Self) -> Self:
        return type(self)(tuple(dict.fromkeys(self.patterns + other.patterns)))

    def matches(self, path: bytes) -> bool:
        """Whether the file at `path` belongs to the set; what is no path (`a//b`, `../a`, NUL) never does."""
        names = path.split(b"/")
        if not _NO_NAMES.isdisjoint(names) or 0 in path:
            return False
        machine = self._machine
        positions = machine.start
        for name in names:
            positions = machine.read(positions, name)
            if not positions or positions & machine.final:  # a match stays one: all below it matches
                break
        return bool(positions & machine.final)

    def overlap(self, other: Self) -> bytes | None:
        """Return a shortest path that both sets match, or None when there is none. Exact.

        Raises PatternError when the patterns are too complex to decide within MAX_STATES.
        """
        pairs = product(self.patterns, other.patterns)
        found = (_shortest(pair, ()) for pair in pairs if _compatible(*pair))
        return min((path for path in found if path is not None), key=_by_length, default=None)

    def uncovered(self, other: Self) -> bytes | None:
        """Return a shortest path that this set matches and `other` does not, or None when there is none.

        Exact: None says that `other` includes this set. Raises PatternError as `overlap` does.
        """
        found = (
            _shortest((pattern,), tuple(those for those in other.patterns if _compatible(pattern, those)))
            for pattern in self.patterns
        )
        return min((path for path in found if path is not None), key=_by_length, default=None)


class _State(NamedTuple):
    """Where a search stands after `path`."""

    length: int  # first, so that a heap yields shortest paths first
    path: bytes
    required: tuple[int, ...]  # a position in each pattern that must match
    avoided: int  # all positions in those that must not


def _shortest(required: Sequence[Pattern], avoided: Sequence[Pattern]) -> bytes | None:
    """Return a shortest path that every one of `required` matches and none of `avoided`.

    Dijkstra's algorithm over the product of the automata. `avoided` is made deterministic on the way (the
    subset construction): that it does not match is a statement about all of its positions at once.
    """
    machine = _Machine(avoided)
    ends = tuple(len(pattern.segments) for pattern in required)
    heap = [_State(0, b"", (0,) * len(required), machine.start)]
    settled: set[tuple[tuple[int, ...], int]] = set()
    while heap:
        state = heapq.heappop(heap)
        if state.required == ends:
            return state.path
        if (state.required, state.avoided) in settled:
            continue
        settled.add((state.required, state.avoided))
        if len(settled) > MAX_STATES:
            raise _too_complex([pattern.text for pattern in required])
        for after in _successors(state, required, machine):
            heapq.heappush(heap, after)
    return None


def _successors(state: _State, required: Sequence[Pattern], machine: _Machine) -> Iterator[_State]:
    """Yield the states one segment further, each by a shortest name that leads there."""
    live = machine.live(state.avoided)
    start = state.path + b"/" if state.path else b""
    options = (pattern.moves(at) for pattern, at in zip(required, state.required, strict=True))
    for choice in product(*options):
        labels, positions = zip(*choice, strict=True)
        for hits, name in _names(labels, tuple(live)):
            avoided = machine.step(state.avoided, reduce(or_, compress(live.values(), hits), 0))
            if not avoided & machine.final:  # a match stays one: no way back from there
                path = start + name
                yield _State(len(path), path, positions, avoided)


@lru_cache(maxsize=1 << 14)
def _names(
    required: tuple[_Segment, ...], tracked: tuple[_Segment, ...]
) -> tuple[tuple[tuple[bool, ...], bytes], ...]:
    """Return the ways in which a name that all of `required` match can relate to `tracked`.

    A way says for each of `tracked` whether it matches too, and comes with a shortest name that relates so.
    Breadth first over the product of the automata; bytes that none of them tells apart count as one.
    """
    longest = max((segment.prefix for segment in required), key=len)
    if not all(longest.startswith(segment.prefix) for segment in required):
        return ()
    automata = (*required, *tracked, _DOTS)
    letters = _letters(automata)
    start = (1,) * len(automata)
    queue, seen = deque([(b"", start)]), {start}
    found: dict[tuple[bool, ...], bytes] = {}
    while queue and len(found) < 1 << len(tracked):
        name, positions = queue.popleft()
        for byte in letters:
            after = tuple([part.step(at, byte) for part, at in zip(automata, positions, strict=True)])
            if after in seen or not all(after[: len(required)]):
                continue
            seen.add(after)
            if len(seen) > MAX_STATES:
                raise _too_complex([_shown(part.text) for part in required + tracked])
            longer = name + bytes((byte,))
            queue.append((longer, after))
            hits = tuple([bool(at & part.final) for part, at in zip(automata, after, strict=True)])
            if all(hits[: len(required)]) and not after[-1]:  # neither `.` nor `..`
                found.setdefault(hits[len(required) : -1], longer)
    return tuple(found.items())


def _letters(automata: Sequence[_Segment]) -> tuple[int, ...]:
    """Return one byte, the most readable, for each set of bytes that `automata` do not tell apart."""
    letters: dict[tuple[int, ...], int] = {}
    signatures = zip(*(_IN_ORDER(part.advances) for part in automata), strict=True)
    for signature, byte in zip(signatures, _BYTES, strict=True):
        letters.setdefault(signature, byte)
    return tuple(letters.values())


def _split(text: str) -> list[bytes]:
    """Return the raw segments of a pattern; the last one is empty when it names only what lies below."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise PatternError(
            f"{text!a} cannot be written in UTF-8", "write the path as Git shows it"
        ) from error
    if len(raw) > MAX_BYTES:
        raise PatternError(f"a pattern has {len(raw)} bytes; the limit is {MAX_BYTES}", "name a directory")
    if b"\0" in raw:
        raise PatternError(f"{text!a} contains a NUL byte, which no path does", "remove it")
    stripped = raw.rstrip(b" ")
    backslashes = len(stripped) - len(stripped.rstrip(b"\\"))
    raw = raw[: len(stripped) + backslashes % 2]  # an escaped space at the end stays
    if raw.startswith(b"!"):
        raise PatternError(f"{text!a} negates, and patterns here cannot", r"a '!' in a name is written '\!'")
    names = raw.removeprefix(b"/").split(b"/")
    if names == [b""]:
        raise PatternError("a pattern is empty", "name a file or a directory; '**' is every file")
    if b"" in names[:-1]:
        raise PatternError(f"{text!a} has an empty segment", "write a single '/' between two names")
    return names


def _segment(raw: bytes) -> _Segment:
    """Return the automaton of one segment; raise PatternError when it is malformed or names no file."""
    segment = _Segment(raw)
    if segment.literal and segment.prefix in _NO_NAMES:
        raise PatternError(
            f"{_shown(raw)} is no file's name", "write the path from the root of the repository"
        )
    return segment


def _tokens(raw: bytes) -> Iterator[frozenset[int] | None]:
    """Yield what one segment consists of: the bytes that each place accepts, or None for a `*`."""
    at = 0
    while at < len(raw):
        match raw[at : at + 1]:
            case b"*":
                yield None
            case b"?":
                yield frozenset(_BYTES)
            case b"[":
                members, at = _class(raw, at)
                yield members
            case b"\\":
                at += 1
                if at == len(raw):
                    raise PatternError(f"{_shown(raw)} ends in a lone backslash", "write two to mean one")
                yield frozenset((raw[at],))
            case byte:
                yield frozenset(byte)
        at += 1


def _class(raw: bytes, start: int) -> tuple[frozenset[int], int]:
    """Return the bytes that the class at `raw[start]` accepts, and where its `]` is, by wildmatch's rules."""
    negated = raw[start + 1 : start + 2] in {b"!", b"^"}
    first = at = start + 1 + negated
    members: set[int] = set()
    while raw[at : at + 1] != b"]" or at == first:  # a `]` in the first place is an ordinary byte
        item = _CLASS_ITEM.match(raw, at)
        if item is None:
            raise PatternError(f"a class in {_shown(raw)} is not closed", r"end it with ']', or write '\['")
        name, low, high = item["name"], item["low"], item["high"]
        if name is None:
            members.update(range(low[-1], (high or low)[-1] + 1))
        elif name in _CLASSES:
            members |= _CLASSES[name]
        else:
            known = ", ".join(sorted(each.decode() for each in _CLASSES))
            raise PatternError(f"{_shown(raw)} names an unknown class", f"the known ones are {known}")
        at = item.end()
    accepted = frozenset(_BYTES) - members if negated else members.intersection(_BYTES)
    if not accepted:
        raise PatternError(f"a class in {_shown(raw)} accepts nothing", "write ranges from low to high")
    return frozenset(accepted), at


def _is_double_star(raw: bytes) -> bool:
    """Whether a segment is `**`. As for git, more stars mean no more; beside other bytes they are one `*`."""
    return len(raw) > 1 and not raw.strip(b"*")


def _literal_prefix(segments: Sequence[_Segment], loops: int) -> bytes:
    """Return the bytes with which every path starts that matches these segments."""
    fixed = b""
    for position, segment in enumerate(segments):
        if loops >> position & 1:
            break
        fixed += segment.prefix
        if not segment.literal:
            break
        fixed += b"/" if position + 1 < len(segments) else b""
    return fixed


def _compatible(one: Pattern, other: Pattern) -> bool:
    """Whether some string starts with both literal prefixes; if none does, no path matches both patterns."""
    return one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)


def _by_length(path: bytes) -> tuple[int, bytes]:
    return len(path), path


def _too_complex(texts: Iterable[str]) -> PatternError:
    message = f"too complex to decide within {MAX_STATES} states: {', '.join(texts)}"
    return PatternError(message, "use fewer '?' and classes behind a '*', or name directories")


def _shown(raw: bytes) -> str:
    return ascii(raw.decode("utf-8", "surrogateescape"))


def _set(instance: object, name: str, value: object) -> None:
    """Give a frozen instance a field that follows from the others."""
    object.__setattr__(instance, name, value)


_IN_ORDER: Final = itemgetter(*_BYTES)
_NO_NAMES: Final = frozenset((b"", b".", b".."))
_ANY: Final = _Segment(b"*")
_DOTS: Final = _Segment(b"..")  # keeps a position exactly while a name is a beginning of `..`
