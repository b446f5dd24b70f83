r"""One attributes file that stands for all those of a tree (gitattributes(5)).

A merge in memory has no checkout to read `.gitattributes` from, and must not read the user's: the caller
writes what `flatten` returns to `info/attributes` of Otto's own git directory, where git and libgit2 find it.

The two disagree on blanks in patterns (git reads a quoted pattern, libgit2 a backslash before the blank), so
blanks are written as character classes, which both understand. Where a deeper file unsets a macro, libgit2
keeps what the macro had set; no file can mend that.
"""

import re
from collections.abc import Iterator

from merge import trees
from merge.objects import EXECUTABLE, FILE, TREE, Oid, Repository

_NAME = b".gitattributes"
_MACRO = b"[attr]"
_LONGEST_LINE = 2048  # bytes; git ignores longer ones (ATTR_MAX_LINE_LENGTH)
_BLANKS = b" \t\r"
_MOST_TREES = 200_000  # about 40 MB of cache

_LINE = re.compile(rb'(?P<quoted>"(?:[^"\\]|\\.)*")?(?P<plain>[^ \t\r]*)(?P<states>.*)', re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

# Where the attributes files below a tree lie: (directory with its slash, id of the blob), parents first.
# By id of the tree, so what did not change is not opened again; an id names its content in any repository.
_found: dict[bytes, tuple[tuple[bytes, Oid], ...]] = {}


def flatten(repo: Repository, tree: Oid) -> bytes:
    """Return the content of one `info/attributes` that gives each path what the tree's own files give it.

    Patterns are anchored to the directory of their file, deeper files come later and so win, and macros count
    in the root's file only, as in git. Raises KeyError for an id that the repository lacks.
    """
    if len(_found) > _MOST_TREES:
        _found.clear()
    lines = (line for at, blob in _find(repo, tree) for line in _rewritten(at, repo[blob].read_raw()))
    return b"".join(lines)


def _find(repo: Repository, tree: Oid) -> tuple[tuple[bytes, Oid], ...]:
    known = _found.get(tree.raw)
    if known is not None:
        return known
    listing = trees.listing(repo, tree, b"")
    here = listing.get(_NAME)
    found = [(b"", here.oid)] if here and here.mode in (FILE, EXECUTABLE) else []
    for name, entry in listing.items():
        if entry.mode == TREE:
            found += [(name + b"/" + at, blob) for at, blob in _find(repo, entry.oid)]
    return _found.setdefault(tree.raw, tuple(found))


def _rewritten(directory: bytes, data: bytes) -> Iterator[bytes]:
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        text = line.strip(_BLANKS)
        match = _LINE.fullmatch(text)
        if not match or text.startswith(b"#") or len(line) > _LONGEST_LINE:
            continue
        pattern = _unquoted(match["quoted"]) if match["quoted"] else match["plain"]
        states = match["states"].strip(_BLANKS)
        if pattern.startswith(_MACRO):
            if not directory:
                yield pattern + b" " + states + b"\n"
        elif states and _may_match(pattern):
            yield _anchored(directory, pattern) + b" " + states + b"\n"


def _may_match(pattern: bytes) -> bool:
    """Tell whether a pattern can give a file an attribute.

    Git ignores negative patterns; a slash at the end matches directories only, an open escape nothing.
    """
    backslashes = len(pattern) - len(pattern.rstrip(b"\\"))
    return not pattern.startswith(b"!") and not pattern.endswith(b"/") and backslashes % 2 == 0


def _anchored(directory: bytes, pattern: bytes) -> bytes:
    """Write a directory's pattern as one of the root's; with no slash, it matches at any depth."""
    inside = re.sub(rb"[*?\[\\]", rb"\\\g<0>", directory)
    depth = b"" if b"/" in pattern else b"**/"
    text = b"/" + inside + depth + pattern.removeprefix(b"/")
    return re.sub(rb"[ \t]", b"[[:blank:]]", re.sub(rb"[\n\v\f\r]", b"[[:space:]]", text))


def _unquoted(quoted: bytes) -> bytes:
    def char(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8)]) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(char, quoted[1:-1])
