"""Which paths and links a tree may hold at all, when two names collide, and how a path is shown.

The names that stand for `.git` are at least those that git refuses with `core.protectNTFS` and
`core.protectHFS` on, whatever the file system here: a tree that lands is checked out elsewhere.
"""

import re
import unicodedata
from typing import Final

# HFS+ drops these code points when it compares names: joiners, directional marks, the byte order mark.
_HFS_IGNORED: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")

# NTFS ignores case, and dots and spaces at the end; it knows `git~1` as a short name and takes what follows a
# `:` for the name of a stream. On HFS+, git lets a byte that is not UTF-8 (here a surrogate) end the name.
_GIT_DIRECTORY: Final = re.compile(
    r"(?:\.git|git~1)[. ]*(?::.*)?|\.git[\udc80-\udcff].*", re.ASCII | re.IGNORECASE | re.DOTALL
)


def forbidden(path: bytes) -> str | None:
    r"""Return why no tree may hold `path`, in words that go on from "the path ...", or None when it may.

    Where `.git` is looked for, a backslash separates too: on Windows, `a\.git\b` is inside a repository.
    """
    segments = path.split(b"/")
    reasons = (
        (not path, "is empty"),
        (b"\0" in path, "contains a NUL byte"),
        (path.startswith(b"/"), "is absolute"),
        (b"" in segments, "has an empty segment"),
        (b"." in segments, "has a segment `.`"),
        (b".." in segments, "has a segment `..`"),
        (any(map(_enters_git, segments)), "has a segment that some file systems take for `.git`"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def escapes(link: bytes, target: bytes) -> bool:
    """Whether the symbolic link at `link` (a path that is not forbidden) may lead out of the tree.

    So does a target that is absolute, is empty or contains NUL, climbs above the root, or enters `.git`; and
    one with a `..` behind a name, because the name may be a link itself, and `..` is then the parent of where
    that leads. Where all these are refused, a tree has no way out, however the links left in it are chained.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return True
    steps = [step for step in target.split(b"/") if step not in {b"", b"."}]
    climbs = next((at for at, step in enumerate(steps) if step != b".."), len(steps))
    return climbs > link.count(b"/") or b".." in steps[climbs:] or any(map(_enters_git, steps))


def fold(name: bytes) -> str:
    """Return a key that is equal for two names that collide where case or Unicode normal form is ignored.

    Canonical caseless matching (The Unicode Standard, section 3.13, D145), composed to NFC. Bytes that are
    not UTF-8 stand as surrogates (`surrogateescape`) and equal only themselves.
    """
    if name.isascii():
        return name.decode("ascii").lower()
    decomposed = unicodedata.normalize("NFD", name.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFC", decomposed.casefold())


def show(path: bytes) -> str:
    r"""Return `path` in a form that is safe to print and that stands for no other path.

    Printable UTF-8 stands for itself and a backslash is doubled. Each byte of all else is written `\xNN`:
    control and formatting characters (no text runs backwards), spaces other than U+0020, bytes that are not
    UTF-8.
    """
    return "".join(_shown(char) for char in path.decode("utf-8", "surrogateescape"))


def _enters_git(segment: bytes) -> bool:
    text = _HFS_IGNORED.sub("", segment.decode("utf-8", "surrogateescape"))
    return any(_GIT_DIRECTORY.fullmatch(part) for part in text.split("\\"))


def _shown(char: str) -> str:
    if char == "\\":
        return r"\\"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
