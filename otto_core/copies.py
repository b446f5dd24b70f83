"""Untracked files of the user's checkout, such as `.env`, that worktrees get a copy of.

They are read once, when a run starts, and never through a link that leads out of the checkout. Their
contents are taken for secrets: they stay in memory, no snapshot holds them, and no mode gets wider.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from merge.objects import Oid
from merge.paths import show
from merge.patterns import PathSet
from merge.trees import walk
from otto_core.errors import UsageError
from otto_core.git.repository import GitRepository
from otto_core.places import below, write_new
from otto_core.scan import stamp
from otto_core.slots import Slot

MAX_BYTES = 16_000_000
"""How large the copied files may be together: they are for configuration; `setup` makes what is large."""

_ASSIGNMENT = re.compile(
    r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*(.*?)[ \t\r]*$", re.MULTILINE
)
_QUOTED = re.compile(r"""(["'])(.*?)(?<!\\)\1""")
_COMMENT = re.compile(r"[ \t]+#")
_WILD = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class Copy:
    """One file: its path from the root of the checkout, its permission bits and its content."""

    path: bytes
    mode: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Copies:
    """The files that a run copies, in the order of their paths, and what a person should be told of them."""

    files: tuple[Copy, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Identify the files by path, mode and content (SHA-256, hex)."""
        found = sha256()
        for file in self.files:
            found.update(b"%s\0%o %d\0%s" % (file.path, file.mode, len(file.content), file.content))
        return found.hexdigest()


def refuse_tracked(repository: GitRepository, base: Oid, patterns: Sequence[str]) -> None:
    """Refuse patterns that match files of the base: those are in every worktree, and tasks change them.

    Raises:
        UsageError: there is such a pattern; it and the first such file are named.

    """
    sets = {pattern: PathSet.parse([pattern]) for pattern in patterns}
    for path, _ in walk(repository.repo, repository.tree_of(base)) if sets else ():
        for pattern, paths in sets.items():
            if paths.matches(path):
                raise UsageError(
                    f"`worktrees.copy`: the pattern {pattern!r} matches {show(path)}, which the base tracks",
                    hint="let `copy` name only untracked files; what is tracked is in every worktree",
                )


def gather(repository: GitRepository, patterns: Sequence[str]) -> Copies:
    """Read the files of the user's checkout that match. What is missing or left out is told in `warnings`.

    Raises:
        UsageError: together they are larger than `MAX_BYTES`, or one cannot be read.

    """
    if not patterns:
        return Copies()
    checkout = repository.workdir
    if checkout is None:
        return Copies(warnings=("a bare repository has no files for `worktrees.copy`",))
    files: dict[bytes, Copy] = {}
    warnings: list[str] = []
    room = MAX_BYTES
    for pattern in dict.fromkeys(patterns):
        found = 0
        for place in _matching(checkout, pattern):
            path = os.fsencode(place.relative_to(checkout))
            if (source := _inside(checkout, place)) is None:
                warnings.append(f"`worktrees.copy`: {show(path)} is no file of the checkout; left out")
                continue
            found += 1
            if path in files:
                continue
            files[path] = _read(source, path, room)
            room -= len(files[path].content)
        if not found:
            warnings.append(f"`worktrees.copy`: nothing in {checkout} matches {pattern!r}")
    return Copies(tuple(files[path] for path in sorted(files)), tuple(dict.fromkeys(warnings)))


def put_in(slot: Slot, copies: Copies) -> None:
    """Write the files into a slot that was just reset; where the tree has something in the way, it stays."""
    for file in copies.files:
        place = below(slot.path, file.path)
        if place is not None:
            write_new(place, file.content)
            place.chmod(file.mode)
            slot.apart[file.path] = stamp(place.lstat())


def secrets(copies: Copies) -> dict[str, str]:
    """Name the values of the `KEY=VALUE` lines of the files: no log should show them.

    Readers of such files differ in what they take for the value, so a line has several: all of it, without a
    comment, without quotes. Lines of the same key, in one file or in several, all count.
    """
    texts = (file.content.decode("utf-8", "surrogateescape") for file in copies.files)
    found = (match for text in texts for match in _ASSIGNMENT.finditer(text))
    return {value: match[1] for match in found for value in _readings(match[2])}


def _readings(raw: str) -> Iterator[str]:
    """Give what may be meant by what stands behind a `=`."""
    quoted = _QUOTED.match(raw)
    comments = [found.start() for found in _COMMENT.finditer(raw)]
    uncommented = [raw[:at] for at in (*comments[:1], *comments[-1:])]
    for text in (raw, *uncommented, quoted[2] if quoted else ""):
        yield from filter(None, (text, text.strip("'\"")))


def _matching(checkout: Path, pattern: str) -> Iterator[Path]:
    """Walk the part of a checkout in which a pattern can match, in the order of names."""
    paths = PathSet.parse([pattern])
    for place in _walk(_start(checkout, pattern)):
        if paths.matches(os.fsencode(place.relative_to(checkout))):
            yield place


def _start(checkout: Path, pattern: str) -> Path:
    """Follow the leading segments of a pattern that have no wildcard."""
    place = checkout
    for name in filter(None, pattern.split("/")):
        if _WILD.search(name):
            break
        place /= name
    return place


def _walk(place: Path) -> Iterator[Path]:
    try:
        mode = place.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISDIR(mode):
        yield place
    elif place.name != ".git":
        below: Iterable[Path] = sorted(place.iterdir()) if os.access(place, os.R_OK | os.X_OK) else ()
        for one in below:
            yield from _walk(one)


def _inside(checkout: Path, place: Path) -> Path | None:
    """Give the regular file that a name leads to, if that lies in the checkout and not in `.git`."""
    try:
        source = place.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    within = source.is_relative_to(checkout.resolve())
    if not within or ".git" in source.relative_to(checkout.resolve()).parts or not source.is_file():
        return None
    return source


def _read(source: Path, path: bytes, room: int) -> Copy:
    try:
        with source.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(room + 1)
    except OSError as error:
        raise UsageError(
            f"`worktrees.copy`: {show(path)} cannot be read: {error.strerror}",
            hint="give yourself access to it, or let `copy` leave it out",
        ) from error
    if len(content) > room:
        raise UsageError(
            f"`worktrees.copy` matches more than {MAX_BYTES // 1_000_000} MB, with {show(path)}",
            hint="copy configuration only, and let `worktrees.setup` make the rest",
        )
    return Copy(path, stat.S_IMODE(status.st_mode) & 0o755, content)
