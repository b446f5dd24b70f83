r"""Exact algebra on the lines of a file: whole lines inserted, nothing else touched.

A line ends at its newline byte; carriage returns belong to the line. A last line without a newline is open:
nothing can be inserted after it without closing it, so gaining a newline (`\n` or `\r\n`) counts as no change
of that line. Losing one does count.

A general diff is no foundation for this: its heuristics may pair lines so that an insertion looks like a
change. Whether one sequence lies within another is decided exactly by pairing each line with the first that
fits, which finds a pairing whenever there is one.
"""

from io import BytesIO
from itertools import takewhile


def is_insertion(old: bytes, new: bytes) -> bool:
    """Tell whether `new` is `old` with whole lines inserted anywhere (or none), and nothing else."""
    after = _lines(new)
    return any(_insertions(_lines(closed), after) is not None for closed in _closings(old))


def union(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Keep what both sides inserted: at one place ours first, then theirs. `None` is a conflict.

    Both sides must be insertions relative to `base`; it is a conflict too if they close an open last line of
    it in different ways. The result is an insertion relative to each of the three. A block that both inserted
    identically at one place is kept once, as in git's own three-way merge: each side still finds all its
    lines, in order, and merging the same work twice (a retry) does not double it.
    """
    if not (is_insertion(base, ours) and is_insertion(base, theirs)):
        return None
    all_open = not any(text.endswith(b"\n") for text in (ours, theirs)) and ours and theirs
    habits = (b"\r\n", b"\n") if b"\r\n" in base + ours + theirs else (b"\n", b"\r\n")
    for newline in habits:
        lines = _lines(_closed(base, newline))
        left = _insertions(lines, _lines(_closed(ours, newline)))
        right = _insertions(lines, _lines(_closed(theirs, newline)))
        if left is not None and right is not None:
            merged = _interleave(lines, left, right)
            return merged.removesuffix(newline) if all_open else merged
    return None


def _interleave(lines: list[bytes], left: list[list[bytes]], right: list[list[bytes]]) -> bytes:
    merged: list[bytes] = []
    for mine, yours, line in zip(left, right, [*lines, b""], strict=True):
        merged += mine if mine == yours else mine + yours
        merged.append(line)
    return b"".join(merged)


def _insertions(old: list[bytes], new: list[bytes]) -> list[list[bytes]] | None:
    """Tell what `new` inserts before each line of `old` and after the last; `None` if it does more.

    Where repeated lines allow several pairings, the longest common head and then the longest common tail are
    paired first, so one block inserted as a whole is found as a whole, at the last place where it fits.
    """
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    rest = zip(reversed(old[head:]), reversed(new[head:]), strict=False)
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], rest))
    inserted: list[list[bytes]] = [[] for _ in range(len(old) + 1)]
    at, end = head, len(old) - tail
    for line in new[head : len(new) - tail]:
        if at < end and line == old[at]:
            at += 1
        else:
            inserted[at].append(line)
    return inserted if at == end else None


def _lines(text: bytes) -> list[bytes]:
    return BytesIO(text).readlines()  # bytes.splitlines would also split at carriage returns


def _closed(text: bytes, newline: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + newline


def _closings(text: bytes) -> set[bytes]:
    return {text, _closed(text, b"\n"), _closed(text, b"\r\n")}
