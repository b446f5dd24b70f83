"""What a command sees of the machine: a namespace made by bubblewrap, where the machine allows one.

Inside, the user's repository can be read and not written, Otto's own places and the other worktrees are
not there, and the home is an empty one of the attempt's own, save for what is named. All else, the network
too, is as the machine has it. Whether bubblewrap works is found out by running it: containers and hardened
systems often have the program and forbid what it does.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import which

from otto_core.capture import capture
from otto_core.config import Settings
from otto_core.environment import home
from otto_core.errors import UsageError
from otto_core.git.repository import GitRepository
from otto_core.model import SandboxMode

_NAMESPACE = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-drop", "ALL"),
    *("--dev-bind", "/", "/", "--proc", "/proc"),
)
"""No capabilities, which root keeps in a user namespace too: with them it could take mounts away."""

_BINARIES = frozenset({"bin", "sbin", "shims"})


@dataclass(frozen=True, slots=True)
class Usable:
    """Bubblewrap works here."""

    program: str
    version: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """Bubblewrap does not work here: why, and what a person could do about it."""

    why: str
    hint: str


def probe(environ: Mapping[str, str] = os.environ) -> Usable | Unusable:
    """Find out whether a namespace can be made, by making one."""
    program = which("bwrap", path=environ.get("PATH", os.defpath))
    if program is None:
        return Unusable("bubblewrap is not installed", "install bubblewrap (the program is called bwrap)")
    try:
        done = capture(
            [program, "--as-pid-1", *_NAMESPACE, "sh", "-c", "echo $$"], env=environ, timeout_s=30.0
        )
        version = capture([program, "--version"], env=environ, timeout_s=30.0).out.decode("ascii", "replace")
    except (OSError, TimeoutError) as error:
        return Unusable(f"bubblewrap cannot be run: {error}", f"run `{program} --version`")
    if done.code == 0 and done.out.strip() == b"1":
        return Usable(program, version.removeprefix("bubblewrap").strip())
    said = " ".join(done.err.decode("utf-8", "replace").split()) or f"it ended with {done.code}"
    return Unusable(
        f"bubblewrap is installed, but may not make a namespace: {said}",
        "allow user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0,"
        " kernel.unprivileged_userns_clone=1; in a container: its seccomp and AppArmor profiles)",
    )


def choose(wanted: str, environ: Mapping[str, str] = os.environ) -> tuple[SandboxMode, str]:
    """Settle the mode of a run and the program it needs (empty for none).

    Raises:
        UsageError: bubblewrap is demanded and does not work here.

    """
    if wanted == "subreaper":
        return "subreaper", ""
    match probe(environ):
        case Usable(program):
            return "bwrap", program
        case Unusable(why, hint) if wanted == "bwrap":
            raise UsageError(
                f"`sandbox: bwrap` is configured, but {why}", hint=f"{hint}, or write `sandbox: auto`"
            )
        case _:
            return "subreaper", ""


@dataclass(frozen=True, slots=True)
class View:
    """What the commands of a run see: all places absolute and without links.

    `hidden` places are empty inside, `readable` ones cannot be written, `shared` ones can; of two that lie
    in one another the inner one decides.
    """

    program: str
    home: Path | None
    hidden: frozenset[Path]
    readable: frozenset[Path]
    shared: frozenset[Path] = frozenset()

    def cage(self, *, work: Path, writable: Iterable[Path], home: Path) -> tuple[str, ...]:
        """Give the command line that another one is put behind.

        `work` is the working directory, `home` the directory that stands in for the user's home.
        """
        mounts: dict[Path, tuple[str, ...]] = {place: ("--tmpfs", str(place)) for place in self.hidden}
        mounts |= {place: ("--ro-bind-try", str(place), str(place)) for place in self.readable}
        if self.home is not None:
            mounts[self.home] = ("--bind", str(home), str(self.home))
        mounts |= {place: ("--bind", str(place), str(place)) for place in (*self.shared, work, *writable)}
        outer_first = sorted(mounts, key=lambda place: len(place.parts))
        told = [word for place in outer_first for word in mounts[place]]
        return (self.program, *_NAMESPACE, *told, "--chdir", str(work), "--")


def view_of(program: str, repository: GitRepository, settings: Settings, worktrees: Path) -> View:
    """Compose the view of the commands of a run in a repository.

    Its checkouts and Git directories may be read, unless they lie in the home; its objects may be read
    wherever they lie, because every worktree borrows them.
    """
    return compose_view(
        program,
        home=home(),
        repository=(repository.git_dir, repository.common_dir, *repository.checkouts()),
        objects=_with_borrowed(repository.objects_dir),
        hidden=(repository.store, worktrees),
        named=settings.home_pass,
        path=os.environ.get("PATH", os.defpath),
    )


def with_repository(view: View, repository: GitRepository) -> View:
    """Let commands write the Git directory of the repository, as a linked worktree must; not Otto's store."""
    common = repository.common_dir.resolve()
    return replace(
        view,
        hidden=view.hidden | _resolved([repository.store]),
        readable=frozenset(place for place in view.readable if not place.is_relative_to(common)),
        shared=view.shared | {common},
    )


def compose_view(
    program: str,
    *,
    home: Path,
    repository: Iterable[Path],
    objects: Iterable[Path],
    hidden: Iterable[Path],
    named: Iterable[str] = (),
    path: str = "",
) -> View:
    """Compose a view from places.

    `repository` may be read unless it is in the home, `objects` in any case. `named` are paths below the
    home that may be read too, `path` is a search path: what is installed in the home and found by it may be
    read.
    """
    home = home.resolve()
    covered = home if home.is_dir() and home != Path(home.anchor) else None

    def is_covered(place: Path) -> bool:
        return covered is not None and place.is_relative_to(covered)

    shown = {place for place in _resolved(repository) if not is_covered(place)} | _resolved(objects)
    if covered is not None:
        shown |= _resolved(covered / name for name in named) | _resolved(_installed(path, covered))

    def is_seen(place: Path) -> bool:
        return not is_covered(place) or any(place.is_relative_to(around) for around in shown)

    return View(
        program,
        covered,
        hidden=frozenset(place for place in _resolved(hidden) if is_seen(place)),
        readable=frozenset(shown),
    )


def _resolved(places: Iterable[Path]) -> set[Path]:
    return {place.resolve() for place in places if place.exists()}


def _installed(path: str, home: Path) -> Iterable[Path]:
    """Find what the programs of a search path need below the home: where they, or their links, lead."""
    for entry in filter(None, path.split(os.pathsep)):
        try:
            with os.scandir(entry) as entries:
                links = [e.path for e in entries if e.is_symlink()]
        except OSError:
            continue
        leads = {Path(os.path.realpath(entry)), *(Path(os.path.realpath(link)).parent for link in links)}
        for lead in leads:
            if lead.is_relative_to(home) and lead != home:
                prefix = lead.parent if lead.name in _BINARIES else lead
                yield prefix if prefix != home else lead


def _with_borrowed(objects: Path) -> tuple[Path, ...]:
    """List an object store and those that it borrows from (gitrepository-layout(5), `alternates`)."""
    found: list[Path] = []
    waiting = [objects]
    while waiting:
        store = waiting.pop().resolve()
        if store in found or not store.is_dir():
            continue
        found.append(store)
        listed = store / "info/alternates"
        lines = listed.read_text("utf-8", "surrogateescape").splitlines() if listed.is_file() else []
        waiting += [store / line for line in lines if line and not line.startswith("#")]
    return tuple(found)
