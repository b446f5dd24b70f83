"""Take what an attempt left in its worktree, as a tree.

Nothing that the attempt could have prepared is trusted: not its index, config, attributes, excludes or
refs. What counts as changed is decided by `lstat` against stamps that Otto took, and by content; conversion
follows the base's attributes and the user's own configuration, exactly as at checkout.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from merge.attributes import flatten
from merge.objects import FILE, GITLINK, SYMLINK, Oid, write_blob
from merge.paths import fold, forbidden, show
from merge.patterns import PathSet
from merge.trees import Change, Entry, apply
from otto_core.conversion import attributes_of, converts
from otto_core.errors import RepositoryUnusable
from otto_core.git.program import git, must
from otto_core.git.repository import GitRepository, read_index
from otto_core.ignore import IgnoreRules
from otto_core.places import remove, write_new
from otto_core.refusals import can_pose
from otto_core.scan import Scan, Stamp, scan, stamp
from otto_core.slots import Slot
from otto_core.worktrees import proven_index, renew, require_intact


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something in a worktree that no tree may hold."""

    path: bytes
    what: str


@dataclass(frozen=True, slots=True)
class Captured:
    """What an attempt changed. `tree` lacks what is in `odd`; `ignored` was left out by ignore rules."""

    tree: Oid
    changes: tuple[Change, ...]
    ignored: tuple[bytes, ...]
    odd: tuple[Oddity, ...]


def capture(slot: Slot, repository: GitRepository, owns: PathSet, max_file_bytes: int) -> Captured:
    """Compare a slot with the tree it was reset to. The attempt's processes must be gone.

    Raises:
        OSError: the worktree was removed or replaced, or cannot be read.
        RepositoryUnusable: git cannot convert what was written.

    """
    base = slot.known
    require_intact(slot)
    found = scan(os.fsencode(slot.path), _untracked_and_ignored(slot, repository, owns))
    touched = {path: now for path, now in found.files.items() if base.stamps.get(path) != now}
    odd = found.odd | {p: why for p, now in touched.items() if (why := _unfit(p, now, max_file_bytes))}
    entries = _entries(slot, repository, {p: now for p, now in touched.items() if p not in odd})
    changes = tuple(sorted(_changes(slot, found, odd, entries), key=lambda change: change.path))
    return Captured(
        tree=apply(repository.repo, base.tree, changes),
        changes=changes,
        ignored=tuple(p for p in sorted(found.ignored) if owns.matches(p.rstrip(b"/")) and _is_news(slot, p)),
        odd=tuple(Oddity(path, what) for path, what in sorted(odd.items())),
    )


def _is_news(slot: Slot, ignored: bytes) -> bool:
    """Tell whether an ignored path is the attempt's own, not one that Otto put there as it is."""
    path = ignored.rstrip(b"/")
    if path not in slot.apart:
        return True
    place = Path(os.fsdecode(os.path.join(os.fsencode(slot.path), path)))  # noqa: PTH118 - bytes
    put = slot.apart[path]
    return put is not None and stamp(place.lstat()) != put


def _unfit(path: bytes, now: Stamp, max_file_bytes: int) -> str | None:
    """Say why a touched file cannot be in a tree, if it cannot."""
    if reason := forbidden(path):
        return f"a path that {reason}"
    if now.size > max_file_bytes:
        return f"a file of {now.size:,} bytes, over `max_file_mb` = {max_file_bytes / 1e6:g}"
    if now.mode == SYMLINK and fold(path.rpartition(b"/")[2]) == ".gitmodules":
        return "a link, which Git forbids by this name"
    return None


def _untracked_and_ignored(
    slot: Slot, repository: GitRepository, owns: PathSet
) -> Callable[[bytes, bool], bool]:
    """Build the walk's `skip`: untracked and ignored by the base, or by a `.gitignore` that the task owns."""
    entries, directories = slot.known.entries, slot.known.directories

    def read(directory: bytes) -> bytes | None:
        path = directory + b"/.gitignore" if directory else b".gitignore"
        if owns.matches(path):
            place = Path(os.fsdecode(os.path.join(os.fsencode(slot.path), path)))  # noqa: PTH118 - bytes
            return place.read_bytes() if place.is_file() and not place.is_symlink() else None
        entry = entries.get(path)
        return repository.blob(entry.oid) if entry and entry.mode != SYMLINK else None

    rules = IgnoreRules(read)

    def skip(path: bytes, directory: bool) -> bool:
        if path in slot.apart:
            return True
        if path in entries or (directory and path in directories):
            return False
        return rules.ignores(path, directory=directory)

    return skip


def _changes(
    slot: Slot, found: Scan, odd: Mapping[bytes, str], entries: Mapping[bytes, Entry]
) -> list[Change]:
    changes = [
        Change(path, slot.known.entries.get(path), entry)
        for path, entry in entries.items()
        if slot.known.entries.get(path) != entry
    ]
    return changes + [
        Change(path, entry, None)
        for path, entry in slot.known.entries.items()
        if path not in found.files and path not in odd and not _submodule_untouched(slot, path)
    ]


def _submodule_untouched(slot: Slot, path: bytes) -> bool:
    """Tell whether a submodule's directory is as a checkout leaves it: there, and empty."""
    if slot.known.entries[path].mode != GITLINK:
        return False
    place = os.path.join(os.fsencode(slot.path), path)  # noqa: PTH118 - bytes
    return os.path.isdir(place) and not os.listdir(place)  # noqa: PTH112, PTH208


def _entries(slot: Slot, repository: GitRepository, touched: dict[bytes, Stamp]) -> dict[bytes, Entry]:
    """Write the content of touched files and give their entries."""
    links = {path for path, now in touched.items() if now.mode == SYMLINK}
    files = {path: now for path, now in touched.items() if path not in links}
    attributes = attributes_of(repository, slot.known.tree)
    blobs = {path: _write_link(slot, repository, path) for path in links}
    if files and converts(repository, attributes):
        blobs |= _write_converted(slot, repository, list(files), attributes)
    else:
        blobs |= {path: _write_raw(slot, repository, path) for path in files}
    keeps_mode = repository.trusted_config("core.filemode") == "false"
    entries = {}
    for path, oid in blobs.items():
        mode = touched[path].mode
        if keeps_mode and path in files:
            before = slot.known.entries.get(path)
            mode = before.mode if before and before.mode not in (SYMLINK, GITLINK) else FILE
        entries[path] = Entry(mode, oid)
    return entries


def _write_link(slot: Slot, repository: GitRepository, path: bytes) -> Oid:
    target = os.readlink(os.path.join(os.fsencode(slot.path), path))  # noqa: PTH115, PTH118 - bytes
    return write_blob(repository.repo, target)


def _write_raw(slot: Slot, repository: GitRepository, path: bytes) -> Oid:
    with open(_readable(slot, path), "rb") as file:  # noqa: PTH123 - bytes
        return write_blob(repository.repo, file.read())


def _readable(slot: Slot, path: bytes) -> bytes:
    """Give where a file lies, readable even if the task took its own permission away."""
    place = os.path.join(os.fsencode(slot.path), path)  # noqa: PTH118 - bytes
    if not os.access(place, os.R_OK):
        os.chmod(place, stat.S_IRUSR | stat.S_IWUSR)  # noqa: PTH101 - bytes
    return place


def _write_converted(
    slot: Slot, repository: GitRepository, paths: list[bytes], attributes: bytes
) -> dict[bytes, Oid]:
    """Let git convert and write, over a copy of Otto's own index."""
    renew(slot, repository, attributes)
    for path in paths:
        _readable(slot, path)
    index = slot.own / "capture.index"
    write_new(index, proven_index(slot.known))
    try:
        done = git(
            *("update-index", "-z", "--add", "--replace", "--stdin"),
            git_dir=slot.git_dir,
            work_tree=slot.path,
            stdin=b"".join(path + b"\0" for path in paths),
            env={"GIT_INDEX_FILE": str(index), "GIT_OBJECT_DIRECTORY": str(repository.objects_dir)},
            keep=slot.keep,
        )
        if done.code != 0 and any(map(can_pose, paths)):
            raise ValueError("what the attempt wrote cannot be converted")
        must(done, "converting what the attempt wrote")
        written = read_index(index)
    finally:
        remove(index)
        renew(slot, repository)
    return {path: written[path] for path in paths}


def require_filters(repository: GitRepository, commit: Oid) -> None:
    """Refuse a base whose attributes name a content filter that cannot run here.

    Raises:
        RepositoryUnusable: a configured filter's program is missing, or Git LFS is used and not set up.

    """
    attributes = flatten(repository.repo, repository.tree_of(commit))
    for name in sorted(set(re.findall(rb"\bfilter=([^\s]+)", attributes))):
        filter_name = name.decode("utf-8", "replace")
        commands = [
            command
            for side in ("process", "clean", "smudge")
            if (command := repository.trusted_config(f"filter.{filter_name}.{side}"))
        ]
        missing = [command for command in commands if which(command.split()[0]) is None]
        if missing or (filter_name == "lfs" and not commands):
            raise RepositoryUnusable(
                f"the repository's .gitattributes use the filter {show(name)!r}, "
                + (
                    f"but {missing[0].split()[0]!r} is not installed"
                    if missing
                    else "but it is not configured"
                ),
                hint="install git-lfs and run `git lfs install`"
                if filter_name == "lfs"
                else "install its program",
            )


def ignored(slot: Slot, repository: GitRepository) -> list[bytes]:
    """List what the base's rules ignore of what lies in a slot: topmost paths, less what Otto put there."""
    found = scan(os.fsencode(slot.path), _untracked_and_ignored(slot, repository, PathSet()))
    return [path for entry in found.ignored if (path := entry.rstrip(b"/")) not in slot.apart]
