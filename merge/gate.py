"""The write gate: the one function that says whether a change may enter, wherever it comes from.

It compares two trees, so nothing but the content decides: no commit message, index or claim of an agent.
Snapshots, retries, repairs, resolutions, upward landings, amendments, remote results and `otto land` all
pass here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from merge import lines, paths, trees
from merge.objects import EXECUTABLE, FILE, GITLINK, SYMLINK, Oid, Repository
from merge.patterns import PathSet
from merge.trees import Change

WRITE_GATE = "write_gate"

_REGULAR = (FILE, EXECUTABLE)
# Git refuses to follow a symlink in the place of these.
_READ_BY_GIT = frozenset(map(paths.fold, (b".gitmodules", b".gitattributes", b".gitignore")))


@dataclass(frozen=True, slots=True)
class Scope:
    """What a task may write: the paths it owns, and the registries into which it may insert whole lines."""

    owns: PathSet
    extends: PathSet


@dataclass(frozen=True, slots=True)
class Violation:
    """One reason for a refusal: the path, the rule's name, and what is wrong in words for a newcomer.

    The message of the rule `write_gate` says what the task did, as in "created a.py"; that of any other rule
    is a whole clause.
    """

    path: bytes
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """Every change may enter; they are listed in the order of their paths."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing may enter. All violations are listed; the kind is `unsafe_content` if any of them is unsafe."""

    kind: Literal["write_gate", "unsafe_content"]
    violations: tuple[Violation, ...]


def admit(repo: Repository, old_tree: Oid, new_tree: Oid, scope: Scope) -> Admitted | Refused:
    """Judge the change from one tree to another: who may write it, and whether it is safe for anyone to have.

    Ownership counts for either side of a change and for content, mode and type alike. A path that is both
    owned and extended is owned. Raises KeyError for an id that the repository lacks.
    """
    found = tuple(trees.changes(repo, old_tree, new_tree))
    unsafe = [*_unsafe(repo, found), *_collisions(repo, old_tree, new_tree, found)]
    foreign = [violation for change in found for violation in _foreign(repo, change, scope)]
    if not unsafe and not foreign:
        return Admitted(found)
    violations = sorted([*unsafe, *foreign], key=lambda violation: violation.path)
    return Refused("unsafe_content" if unsafe else "write_gate", tuple(violations))


def _foreign(repo: Repository, change: Change, scope: Scope) -> Iterator[Violation]:
    if scope.owns.matches(change.path):
        return
    name = paths.show(change.path)
    if scope.extends.matches(change.path):
        if not _inserts_lines(repo, change):
            yield Violation(
                change.path,
                WRITE_GATE,
                f"{_deed(change)} the registry {name} other than by inserting whole lines",
            )
        return
    yield Violation(change.path, WRITE_GATE, f"{_deed(change)} {name}")


def _deed(change: Change) -> str:
    if change.old is None:
        return "created"
    return "deleted" if change.new is None else "changed"


def _inserts_lines(repo: Repository, change: Change) -> bool:
    old, new = change.old, change.new
    if old is None or new is None or old.mode != new.mode or old.mode not in _REGULAR:
        return False
    return lines.is_insertion(repo[old.oid].read_raw(), repo[new.oid].read_raw())


def _unsafe(repo: Repository, found: Iterable[Change]) -> Iterator[Violation]:
    for change in found:
        new, path = change.new, change.path
        if new is None:
            continue
        if reason := paths.forbidden(path):
            yield Violation(path, "forbidden_name", f"the path {paths.show(path)} {reason}")
        if new.mode == GITLINK and (change.old is None or change.old.mode != GITLINK):
            yield Violation(
                path,
                "nested_repository",
                f"{paths.show(path)} is a repository of its own; git would record only its commit id and lose"
                " its files. Remove its .git directory, or add it as a submodule yourself",
            )
        if new.mode == SYMLINK:
            yield from _unsafe_link(path, repo[new.oid].read_raw())


def _unsafe_link(path: bytes, target: bytes) -> Iterator[Violation]:
    name = paths.show(path)
    if paths.escapes(path, target):
        yield Violation(
            path,
            "escaping_symlink",
            f"the symlink {name} points outside the repository, to {paths.show(target)}. Point it inside",
        )
    if paths.fold(path.rpartition(b"/")[2]) in _READ_BY_GIT:
        yield Violation(
            path, "symlinked_git_file", f"{name} must be a plain file: git follows no symlink here"
        )


def _collisions(repo: Repository, old: Oid, new: Oid, found: Iterable[Change]) -> Iterator[Violation]:
    """Find names that some file systems cannot tell apart, where this change brings one of them in.

    Names are compared as NFC and casefolded, at every level of an added path. A clash that the old tree
    already holds is the repository's own and stays out of the task's way.
    """
    added: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for change in found:
        if change.old is None:
            directory = b""
            for name in change.path.split(b"/"):
                added[directory].add(name)
                directory = directory + b"/" + name if directory else name
    for directory, names in added.items():
        fresh = names - trees.names(repo, old, directory)
        siblings: defaultdict[str | bytes, list[bytes]] = defaultdict(list)
        for name in trees.names(repo, new, directory) if fresh else ():
            siblings[paths.fold(name)].append(name)
        for name in fresh:
            others = [paths.show(other) for other in siblings[paths.fold(name)] if other != name]
            if others:
                path = directory + b"/" + name if directory else name
                yield Violation(
                    path,
                    "collision",
                    f"{paths.show(path)} and {', '.join(sorted(others))} beside it are one name on file"
                    " systems that ignore case or normalise Unicode. Rename one of them",
                )
