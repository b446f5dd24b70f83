"""A small run that does a bit of everything, and what has to hold of it however often it was killed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

from merge.objects import Oid
from merge.trees import entry, walk
from otto_core import events as ev
from otto_core.aside import find_aside
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.locks import holders
from otto_core.model import Outcome, TaskStatus, Verdict
from otto_core.occupancy import occupied
from otto_core.process import MARKER
from otto_core.refnames import run_ref, task_ref
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.failpoints import Ended, Kill, Otto
from tests.otto_core.runs import feature, fingerprint, write_plan

REGISTRY = "routes.txt"
"""What two tasks extend side by side: its lines stand in the order in which they happened to land."""

_FILES: dict[str | bytes, str | bytes] = {"README.md": "A shop.\n", ".gitignore": "made/\n"}
_SETUP = "worktrees: {setup: ['mkdir -p made && echo made > made/it'], setup_key: [README.md]}\n"
_RESULT = {
    "base": {"base.txt": ["base"], REGISTRY: ["routes"]},
    "one": {"one.txt": ["one"], REGISTRY: ["one"]},
    "two": {"two.txt": ["two"], REGISTRY: ["two"]},
    "rough": {"rough.txt": ["good"]},
}
"""What each task that lands adds, as lines; `still` changes nothing."""

_BRIEF = ("base", "one")
_BESIDE = ("one", "two", "rough", "still")
_OURS = (".git/otto", ".git/refs/otto", ".git/objects", ".git/refs/heads/otto", ".git/logs/refs/heads/otto")


@dataclass(frozen=True)
class Scene:
    """A repository in which the run takes place, and the commands on it.

    A `brief` one has one task after another, and no setup. In any other no feature ends before all of them
    have begun, so each has a slot of its own. Where it is `held`, the task `two` writes, also what no tree
    can hold, and then waits until `let_go`; no other feature ends before it has come so far.
    """

    otto: Otto
    repo: Path
    held: bool
    brief: bool
    before: Mapping[str, str]

    @classmethod
    def make(
        cls,
        otto: Otto,
        place: Path,
        *,
        held: bool = False,
        brief: bool = False,
        files: Mapping[str | bytes, str | bytes] = MappingProxyType({}),
    ) -> "Scene":
        """Make the repository, with some files more and a person's own work in its checkout."""
        config = "{}\n" if brief else _SETUP
        repo = make_repo(place.resolve(), {**_FILES, "otto.yaml": config, **files})
        (repo / "README.md").write_text("A shop, being edited.\n")
        (repo / "untracked.txt").write_text("mine\n")
        return cls(otto, repo, held, brief, fingerprint(repo, less=_OURS))

    @property
    def lands(self) -> Mapping[str, Mapping[str, list[str]]]:
        """What each task that lands adds to the result."""
        return {name: added for name, added in _RESULT.items() if not self.brief or name in _BRIEF}

    @property
    def expected(self) -> dict[str, list[str]]:
        """The files of the result by their lines; those of the registry sorted."""
        kept = git(self.repo, "ls-tree", "--name-only", "HEAD").splitlines()
        committed = {name: git(self.repo, "show", f"HEAD:{name}").splitlines() for name in kept}
        added = [(name, lines) for files in self.lands.values() for name, lines in files.items()]
        routes = sorted(line for name, lines in added if name == REGISTRY for line in lines)
        return {**committed, **dict(added), REGISTRY: routes}

    @property
    def store(self) -> Path:
        """Otto's directory of the repository."""
        return self.repo / ".git/otto"

    def build(
        self, kill: Kill | None = None, *, strace: Sequence[str] = (), one_thread: bool = False
    ) -> Ended:
        """Build the plan."""
        args = ("build", "--plan", str(self._plan()))
        return self.otto.run(self.repo, *args, kill=kill, strace=strace, one_thread=one_thread)

    def resume(
        self, kill: Kill | None = None, *, run: str | None = None, strace: Sequence[str] = ()
    ) -> Ended:
        """Resume a run, or the newest."""
        return self.otto.run(self.repo, "resume", *([run] if run else []), kill=kill, strace=strace)

    def let_go(self) -> None:
        """Let a held task end."""
        self._sign("go").touch()

    def run(self, name: str) -> Run:
        """Give a run."""
        [run] = [run for run in self.runs() if run.id == name]
        return run

    def runs(self) -> list[Run]:
        """Give all runs, oldest first."""
        journal = Journal.read(self.store / STORE)
        if journal is None:
            return []
        with journal:
            return [journal.load(name) for name in journal.run_ids()]

    def wrote(self) -> list[str]:
        """List what wrote, in order: `run.task.attempt`."""
        told = self._sign("wrote")
        return told.read_text().splitlines() if told.exists() else []

    def _sign(self, name: str) -> Path:
        return self.repo.parent / name

    def _plan(self) -> Path:
        wrote = f'echo "$OTTO_RUN.$OTTO_TASK.$OTTO_ATTEMPT" >> {self._sign("wrote")}'
        commit = "git add --all && git commit --quiet --message mine"
        begin = f"touch {self._sign('begun')}.$OTTO_RUN.$OTTO_TASK"
        all_begun = " && ".join(f"[ -e {self._sign('begun')}.$OTTO_RUN.{name} ]" for name in _BESIDE)
        meet = "" if self.brief else f"{begin}; until {all_begun}; do sleep 0.03; done"
        if self.held:
            hold = f"while [ ! -e {self._sign('go')} ]; do sleep 0.02; done"
            wait = f"{commit}; mkfifo pipe; {begin}; {hold}; rm pipe"
        else:
            wait = meet
        rough = [
            meet,
            "case $OTTO_ATTEMPT in",
            f"1) echo bad > rough.txt; mkfifo pipe; {wrote}; exit 1;;",
            "2) echo bad > rough.txt;;",
            "*) echo good > rough.txt;;",
            "esac",
            wrote,
        ]
        after = {"depends_on": ["base"]}
        tasks = (
            feature(
                "base",
                f"echo base > base.txt; echo routes > {REGISTRY}; {wrote}",
                owns=["base.txt", REGISTRY],
                role="foundation",
                provides=["routes"],
            ),
            feature("one", f"echo one > one.txt; echo one >> {REGISTRY}; {wrote}; {commit}; {meet}")
            | {**after, "extends": ["routes"]},
            feature("two", f"echo two > two.txt; echo two >> {REGISTRY}; {wrote}; setsid sleep 60 & {wait}")
            | {**after, "extends": ["routes"]},
            feature("rough", "\n".join(rough), retry_from="attempt", max_attempts=4)
            | {**after, "verify": ["grep good rough.txt"]},
            feature("still", f"true; {meet}") | {**after, "allow_empty": True},
        )
        return write_plan(
            self.repo,
            *(task for task in tasks if not self.brief or task["id"] in _BRIEF),
            contracts=[{"id": "routes", "paths": [REGISTRY], "merge": "union"}],
            verify={
                "each": ["test -e README.md"],
                "final": [
                    "test -e one.txt" if self.brief else "test -e one.txt -a -e two.txt -a -e rough.txt"
                ],
            },
        )


def result(repository: GitRepository, run: Run) -> dict[str, list[str]]:
    """Give the files of a run's result by their lines; those of the registry in no order."""
    tree = repository.tree_of(Oid(hex=run.tip))
    lines = {
        path.decode(): repository.blob(entry.oid).decode().splitlines()
        for path, entry in walk(repository.repo, tree)
    }
    return lines | {REGISTRY: sorted(lines[REGISTRY])}


def require_whole(scene: Scene, run: Run) -> None:
    """Demand of a run that came to its end what has to hold of any."""
    repository = GitRepository.discover(scene.repo)
    assert run.outcome is Outcome.LANDED
    assert result(repository, run) == scene.expected
    _require_landed_once(scene, repository, run)
    _require_ends(scene, repository, run)
    _require_nothing_left(scene, run)
    assert fingerprint(scene.repo, less=_OURS) == scene.before
    git(scene.repo, "fsck", "--strict", "--no-dangling")


def require_still(scene: Scene, run: Run) -> None:
    """Demand that another resume changes nothing: neither journal nor refs nor worktrees."""
    before = _all_of_it(scene)
    again = scene.resume(run=run.id)
    assert again.code == 0, again.printed
    assert _all_of_it(scene) == before


def _all_of_it(scene: Scene) -> tuple[list[Run], str, dict[str, str]]:
    runs = scene.runs()
    places = {run.settings.worktrees for run in runs}
    worktrees = {
        f"{place}/{name}": told for place in places for name, told in fingerprint(Path(place)).items()
    }
    return runs, git(scene.repo, "for-each-ref"), worktrees


def _require_landed_once(scene: Scene, repository: GitRepository, run: Run) -> None:
    """Demand that history, journal and refs tell the same, and that each tree has passed its checks."""
    told = "--format=%T %(trailers:key=Otto-Task,valueonly,separator=%x2C)"
    log = git(scene.repo, "log", "--first-parent", told, f"{run.start.base}..{run.tip}").splitlines()
    landed = [(task, tree) for tree, _, task in (line.partition(" ") for line in log)]
    assert sorted(task for task, _ in landed) == sorted(scene.lands), "each task lands once"
    assert {
        name for name, task in run.tasks.items() if task.status is TaskStatus.LANDED
    } == scene.lands.keys()
    passed = {(v.tree, v.command) for v in _verdicts(scene, run) if v.result == "passed"}
    for task, tree in landed:
        checks = (*run.plan.verify.each, *run.plan.task(task).verify)
        assert {(tree, check.text) for check in checks} <= passed, f"{task} landed unchecked"
    assert str(repository.ref(run_ref(run.id, "tip"))) == run.tip
    stale = scene.repo / f".git/refs/heads/{run.branch}.lock"
    if stale.exists():  # not below refs/otto, so it is told and not removed
        assert run.withheld is not None
        assert f"remove {stale}" in run.withheld.why
    else:
        assert str(repository.ref(f"refs/heads/{run.branch}")) == run.tip


def _verdicts(scene: Scene, run: Run) -> list[Verdict]:
    journal = Journal.read(scene.store / STORE)
    assert journal is not None
    with journal:
        events = [stored.event for stored in journal.events(run.id)]
    return [event.verdict for event in events if isinstance(event, ev.Checked)]


def _require_ends(scene: Scene, repository: GitRepository, run: Run) -> None:
    """Demand that what was executed is journalled, once and with its end, and that what it wrote is kept."""
    wrote = [name.removeprefix(f"{run.id}.") for name in scene.wrote() if name.startswith(run.id)]
    assert len(wrote) == len(set(wrote)), "an attempt was executed twice"
    for task, state in run.tasks.items():
        for attempt in state.attempts:
            assert attempt.end is not None, f"attempt {attempt.number} of {task} has no end"
    for name in wrote:
        task, _, number = name.partition(".")
        [attempt] = [one for one in run.tasks[task].attempts if one.number == int(number)]
        assert isinstance(attempt.end, ev.AttemptProduced | ev.AttemptFailed | ev.AttemptInterrupted)
        refs = [task_ref(run.id, task, f"{kind}-{number}") for kind in ("attempt", "salvage")]
        kept = {str(commit): commit for ref in refs if (commit := repository.ref(ref)) is not None}
        aside = find_aside([Path(run.settings.worktrees)], run.id, task, attempt.number)
        whole = aside is not None and (aside / f"{task}.txt").exists()
        there = whole if attempt.end.snapshot is None else attempt.end.snapshot in kept
        assert there, f"what attempt {name} wrote is not kept"
        for commit in kept.values():
            assert entry(repository.repo, repository.tree_of(commit), f"{task}.txt".encode()) is not None


def _require_nothing_left(scene: Scene, run: Run) -> None:
    assert carriers(run) == []
    assert list((scene.repo / ".git" / run_ref(run.id)).rglob("*.lock")) == []
    occupants = [occupant.marker for _, occupant in occupied(Path(run.settings.worktrees))]
    assert [marker for marker in occupants if marker.startswith(run.id)] == []
    assert [holder for holder in holders(scene.store) if holder.run == run.id] == []


def carriers(run: Run) -> list[int]:
    """List the living processes of a run's attempts and checks."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER, "").startswith(f"{run.id}/"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
