"""What it takes to decide that a change of one file may land, beside one process of `git merge-tree`.

Otto's side is what a landing does between finding its task and writing its commit: the write gate on the
change, the attributes of the tip, the merge, the write gate on the merged tree, the audit. Nothing is
committed, no ref moves, nothing is journalled. Git's side merges the same two commits in a repository of its
own, so that neither finds the other's objects, and both have to give the same tree.
"""

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pygit2

from bench.report import Figure, Section
from bench.repositories import environment, file_name, make_repository, workplace, write_commits
from bench.timing import Sizes, Times, in_turn, timed_process
from merge.attributes import flatten
from merge.audit import Sound, audit
from merge.gate import Admitted, Scope, admit
from merge.objects import Oid
from merge.patterns import PathSet
from merge.strategies import Merged, merge
from otto_core.git.private import MergeRepository
from otto_core.git.repository import GitRepository

FULL: Final = Sizes(files=(500, 5_000, 50_000), tasks=100, rounds=100)
QUICK: Final = Sizes(files=(500, 5_000), tasks=20, rounds=20)

_NOTHING: Final = PathSet.parse([])
_JUDGED: Final = 5_000
_AGAINST_GIT: Final = 0.3
_AGAINST_ITSELF: Final = 2.0


def measure(sizes: Sizes, scratch: Path) -> Section:
    """Measure both sides at each size, and Otto's own growth from the smallest to the largest."""
    found = _times(sizes, scratch)
    figures = [
        Figure(
            f"change of 1 file, {files:,} files",
            str(otto),
            str(git),
            otto.median / git.median,
            _AGAINST_GIT if files == _JUDGED else None,
        )
        for files, (otto, git) in found.items()
    ]
    small, large = min(found), max(found)
    if large > small:
        growth = found[large][0].median / found[small][0].median
        judged = (small, large) == (min(FULL.files), max(FULL.files))
        figures.append(
            Figure(
                f"{large:,} files beside {small:,}",
                str(found[large][0]),
                f"{found[small][0]} (Otto)",
                growth,
                _AGAINST_ITSELF if judged else None,
            )
        )
    return Section(
        title="Merge, both write gates and audit of a change of one file",
        beside="git merge-tree",
        figures=tuple(figures),
        how=f"""
            {sizes.rounds} changes of one file each, all different, merged into a tip that changed another
            file; directories of at most 50 entries. Otto: the write gate on the change, the tip's
            attributes, the merge (strategy `tree`), the write gate on the merged tree, the audit; no
            commit, ref or journal. Git: one process of `git merge-tree --write-tree` a merge, started by
            `posix_spawn`, in a repository of its own. Both write the merged tree and neither syncs it (a
            landing does, as the no-op tasks show); the trees have to be equal. The first merge is not
            counted.
            """,
    )


def _times(sizes: Sizes, scratch: Path) -> dict[int, tuple[Times, Times]]:
    """Merge a change a round, by both sides at all sizes in turn; gives by size the times of Otto and git."""
    with ExitStack() as stack:
        places = {files: stack.enter_context(workplace(scratch)) for files in sizes.files}
        pairs = {files: _prepare(place, files, sizes.rounds) for files, place in places.items()}
        sides = {(side, files): pair[side] for files, pair in pairs.items() for side in (0, 1)}
        for side in sides.values():
            side.merge_next()
        os.sync()
        pygit2.settings.enable_fsync_gitdir(False)
        times = in_turn({place: side.merge_next for place, side in sides.items()}, sizes.rounds)
        pygit2.settings.enable_fsync_gitdir(True)
        for files, (otto, git) in pairs.items():
            if otto.trees != git.trees:
                raise RuntimeError(f"on {files} files, Otto and git disagree about a merge")
    return {files: (times[0, files], times[1, files]) for files in sizes.files}


def _prepare(place: Path, files: int, rounds: int) -> "tuple[_Otto, _Git]":
    """Make a tip and changes on a base of so many files, once for either side."""
    environ = environment(place)
    template = make_repository(place, files)
    numbers = [number * (files - 1) // (rounds + 1) for number in range(rounds + 1)]
    changes = {f"refs/bench/{n}": ("refs/heads/main", {file_name(n): "changed\n"}) for n in numbers}
    tip = {"refs/bench/tip": ("refs/heads/main", {file_name(files - 1): "changed\n"})}
    write_commits(template, {**tip, **changes}, environ)
    return _Otto(_copy(template, "otto"), numbers), _Git(_copy(template, "git"), numbers, environ)


def _copy(template: Path, name: str) -> Path:
    return shutil.copytree(template / ".git", template.parent / f"{name}.git", symlinks=True)


class _Git:
    """One process of `git merge-tree` a change."""

    def __init__(self, git_dir: Path, numbers: Iterable[int], environ: Mapping[str, str]) -> None:
        self._command = ("git", f"--git-dir={git_dir}", "merge-tree", "--write-tree", "refs/bench/tip")
        self._numbers = iter(numbers)
        self._environ = environ
        self._out = git_dir.with_name("out")
        self.trees: list[str] = []

    def merge_next(self) -> float:
        """Merge the next change; gives the seconds."""
        command = (*self._command, f"refs/bench/{next(self._numbers)}")
        seconds = timed_process(command, self._environ, self._out)
        self.trees.append(self._out.read_text().strip())
        return seconds


class _Otto:
    """What a landing does with a change, from the write gate to the audit."""

    def __init__(self, git_dir: Path, numbers: Iterable[int]) -> None:
        self._repository = GitRepository.discover(git_dir)
        self._merging = MergeRepository(git_dir.with_name("merging.git"), self._repository)
        self._base, self._tip = (
            self._repository.resolve(ref) for ref in ("refs/heads/main", "refs/bench/tip")
        )
        changes = [(file_name(n), self._repository.resolve(f"refs/bench/{n}")) for n in numbers]
        self._changes = iter(changes)
        self.trees: list[str] = []

    def merge_next(self) -> float:
        """Merge the next change; gives the seconds."""
        name, change = next(self._changes)
        begun = time.perf_counter()
        tree = self._judge(name, change)
        seconds = time.perf_counter() - begun
        self.trees.append(str(tree))
        return seconds

    def _judge(self, name: str, change: Oid) -> Oid:
        repository, merging = self._repository, self._merging
        base, tip, task = (repository.tree_of(oid) for oid in (self._base, self._tip, change))
        scope = Scope(PathSet.parse([name]), _NOTHING)
        changed = admit(repository.repo, base, task, scope)
        merging.use_attributes(flatten(repository.repo, tip))
        merged = merge(merging.repo, self._tip, change, registries=_NOTHING, port=merging, base=self._base)
        match changed, merged:
            case Admitted(), Merged(tree=tree, strategy="tree"):
                landing = admit(repository.repo, tip, tree, scope)
                audited = audit(merging.repo, base, tip, task, tree)
                if isinstance(landing, Admitted) and isinstance(audited, Sound):
                    return tree
        raise RuntimeError(f"the change of {name} did not pass: {changed}, {merged}")
