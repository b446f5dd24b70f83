"""Real repositories and real runs for tests: commits made by git, events appended to a real journal."""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from msgspec import structs

from otto_core import events as ev
from otto_core.journal import Appended, Journal
from otto_core.model import Outcome, Reason, ReasonKind, Telemetry, Verdict
from otto_core.refnames import run_ref, task_ref
from otto_core.session import Observer
from otto_core.state import Run
from planner.canonical import plan_id
from planner.model import Command, Contract, Plan, Role, Task, Verify

Files = Mapping[str | bytes, str | bytes | None]
"""Paths and contents; text stands for its UTF-8 bytes, None for a file that is deleted."""

FIRST_DAY = datetime(2026, 11, 20, 19, 0, tzinfo=UTC)
_PERSON = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "Test Person" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "person@example.com" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_DATE": FIRST_DAY.isoformat() for who in ("AUTHOR", "COMMITTER")},
}
TELEMETRY = Telemetry(duration_s=0.4, missing="command agent")


def git(repo: Path, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    """Run git as one person at one moment, so that ids repeat; gives what it prints, stripped."""
    own = {**os.environ, **_PERSON, **(env or {})}
    done = subprocess.run(["git", *args], cwd=repo, input=stdin, env=own, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def make_repo(
    tmp_path: Path, files: Mapping[str | bytes, str | bytes] | None = None, *, name: str = "repo"
) -> Path:
    """Make a repository with one commit on `main`; gives its checkout."""
    repo = tmp_path / name
    repo.mkdir(parents=True)
    git(repo, "init", "--quiet", "--initial-branch=main")
    for path, content in (files or {"README.md": "A shop.\n"}).items():
        place = Path(os.fsdecode(os.fsencode(repo) + b"/" + _bytes(path)))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_bytes(content))
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "start")
    return repo


def write_tree(repo: Path, base: str, files: Files) -> str:
    """Write the tree of `base` with some files in place, without touching checkout or index; gives its id."""
    index = {"GIT_INDEX_FILE": str(repo / ".git" / "index-of-a-test")}
    git(repo, "read-tree", base, env=index)
    rows = []
    for path, content in files.items():
        if content is None:
            rows.append(b"0 %s\t%s" % (b"0" * 40, _bytes(path)))
        else:
            blob = git(repo, "hash-object", "-w", "--stdin", stdin=_bytes(content))
            rows.append(b"100644 %s\t%s" % (blob.encode(), _bytes(path)))
    git(repo, "update-index", "-z", "--index-info", stdin=b"".join(row + b"\0" for row in rows), env=index)
    return git(repo, "write-tree", env=index)


def write_commit(repo: Path, tree: str, *parents: str, message: str) -> str:
    """Write a commit; gives its id."""
    named = itertools.chain.from_iterable(("-p", parent) for parent in parents)
    return git(repo, "commit-tree", tree, *named, "-m", message)


def task(
    name: str,
    *,
    after: Sequence[str] = (),
    depends_on: Sequence[str] | None = None,
    role: Role = "feature",
    title: str = "",
    owns: Sequence[str] | None = None,
    provides: Sequence[str] = (),
    extends: Sequence[str] = (),
    run: str = "true",
    verify: Sequence[str] = (),
    max_attempts: int = 3,
    allow_empty: bool = False,
) -> Task:
    """Make a compiled task; `plan` sets its generation."""
    return Task(
        id=name,
        role=role,
        title=title or f"Add {name}",
        owns=tuple(owns if owns is not None else [f"{name}/**"]),
        provides=tuple(provides),
        depends_on=tuple(after if depends_on is None else depends_on),
        after=tuple(after),
        reads=(),
        extends=tuple(extends),
        prompt="",
        run=Command(shell=run),
        agent="command",
        verify=tuple(Command(shell=command) for command in verify),
        timeout_s=60.0,
        max_attempts=max_attempts,
        retry_from="tip",
        allow_empty=allow_empty,
        generation=0,
        priority=1,
    )


def plan(
    base: str,
    *tasks: Task,
    intent: str = "Add accounts and billing to the shop",
    each: Sequence[str] = ("make test",),
    final: Sequence[str] = (),
    contracts: Sequence[Contract] = (),
) -> Plan:
    """Make a compiled plan of tasks that are listed after those they stand on."""
    generation: dict[str, int] = {}
    for one in tasks:
        generation[one.id] = 1 + max((generation[before] for before in one.after), default=-1)
    return Plan(
        intent=intent,
        base=base,
        contracts=tuple(contracts),
        verify=Verify(
            each=tuple(Command(shell=command) for command in each),
            final=tuple(Command(shell=command) for command in final),
            timeout_s=900.0,
        ),
        tasks=tuple(structs.replace(one, generation=generation[one.id]) for one in tasks),
    )


def reason(
    kind: ReasonKind = ReasonKind.AGENT_FAILED,
    message: str = "the command exited with 1",
    *,
    hint: str = "otto logs it",
    evidence: str | None = None,
    paths: Sequence[bytes] = (),
) -> Reason:
    """Make a reason."""
    return Reason(kind=kind, message=message, hint=hint, evidence=evidence, paths=tuple(paths))


class RunBuilder:
    """Appends the events of a run to a repository's journal, with the commits and refs they name."""

    def __init__(
        self,
        repo: Path,
        *tasks: Task,
        run_id: str = "r-20261120-aaaa",
        whole: Plan | None = None,
        concurrency: int = 4,
        wall_s: float | None = None,
        observe: Observer = lambda _event, _run: None,
    ) -> None:
        self.repo = repo
        self.store = Path(git(repo, "rev-parse", "--path-format=absolute", "--git-common-dir")) / "otto"
        self.base = git(repo, "rev-parse", "HEAD")
        self.plan = whole or plan(self.base, *tasks)
        self.journal = Journal.open(self.store / "otto.db", now=ticking())
        self.run = Run(run_id)
        self.elapsed_s = 0.0
        self._observe = observe
        self._files: dict[str, Files] = {}
        self._update_ref(run_ref(run_id, "base"), self.base)
        self._update_ref(run_ref(run_id, "tip"), self.base)
        slug = f"add-accounts{'' if run_id.endswith('aaaa') else '-' + run_id[-4:]}"
        self.append(
            ev.RunStarted(
                intent=self.plan.intent,
                slug=slug,
                base=self.base,
                branch=f"otto/{slug}",
                settings=_settings(concurrency, wall_s),
                driver="4711@workshop",
                contracts={contract.id: None for contract in self.plan.contracts},
            ),
            ev.PlanStored(revision=1, plan_id=plan_id(self.plan), plan=self.plan),
        )

    def append(self, *events: ev.Event) -> None:
        """Journal events, a tenth of a second apart."""
        for event in events:
            self.elapsed_s = round(self.elapsed_s + 0.1, 3)
            timed = structs.replace(event, elapsed_s=self.elapsed_s)
            outcome = self.journal.append(self.run, [timed])
            assert isinstance(outcome, Appended)
            self.run = outcome.run
            self._observe(timed, self.run)

    def start(self, name: str, *, log: bytes = b"working\n") -> None:
        """Begin an attempt, with a log."""
        number = len(self.run.tasks[name].attempts) + 1
        started = ev.AttemptStarted(
            task=name,
            attempt=number,
            revision=self.run.stored[0].revision,
            plan_id=self.run.stored[0].plan_id,
            base=self.run.tip,
            contracts=dict(self.run.contracts),
            prompt_digest="0" * 64,
            agent="command",
            log=f"{name.replace('/', '.')}.{number}.log",
        )
        self._write_log(started.log, log)
        self.append(started)

    def produce(self, name: str, files: Files | None = None) -> None:
        """End the running attempt well; `files` is what it wrote."""
        made = files or {f"{name}/made.txt": f"{name}\n"}
        self._files[name] = made
        snapshot, tree = self._snapshot(name, made)
        self.append(
            ev.AttemptProduced(
                task=name,
                attempt=self._attempt(name),
                snapshot=snapshot,
                tree=tree,
                changed=len(made),
                telemetry=TELEMETRY,
            )
        )

    def fail(
        self,
        name: str,
        why: Reason | None = None,
        *,
        then: ev.Then = "hold",
        files: Files | None = None,
        telemetry: Telemetry = TELEMETRY,
    ) -> None:
        """End the running attempt badly; `files` is what it left behind."""
        self.append(
            ev.AttemptFailed(
                task=name,
                attempt=self._attempt(name),
                reason=why or reason(),
                then=then,
                snapshot=self._snapshot(name, files)[0] if files else None,
                exit_code=1,
                telemetry=telemetry,
            )
        )

    def interrupt(self, name: str) -> None:
        """Stop the running attempt from outside."""
        self.append(
            ev.AttemptInterrupted(task=name, attempt=self._attempt(name), snapshot=None, telemetry=TELEMETRY)
        )

    def unchanged(self, name: str) -> None:
        """End the running attempt well without a change."""
        self.append(ev.AttemptUnchanged(task=name, attempt=self._attempt(name), telemetry=TELEMETRY))

    def check(
        self,
        name: str,
        command: str,
        tree: str,
        *,
        scope: Literal["task", "each"] = "each",
        result: Literal["passed", "failed", "timeout"] = "passed",
    ) -> None:
        """Judge a tree on behalf of a task, with a log."""
        log = f"{name.replace('/', '.')}.{self._attempt(name)}.{scope}-1.{tree[:8]}.log"
        self._write_log(log, f"{command}: {result}\n".encode())
        code = {"passed": 0, "failed": 1, "timeout": None}[result]
        verdict = Verdict(
            command=command,
            scope=scope,
            tree=tree,
            digest="d" * 64,
            result=result,
            exit_code=code,
            duration_s=0.2,
            log=log,
        )
        self.append(ev.Checked(task=name, attempt=self._attempt(name), verdict=verdict))

    def reject(self, name: str, why: Reason, *, then: ev.Then = "hold") -> None:
        """Refuse to land what the task produced."""
        self.append(ev.LandingRejected(task=name, attempt=self._attempt(name), reason=why, then=then))

    def land(self, name: str, *, strategy: str = "tree") -> str:
        """Check and land what the task produced, and publish the branch; gives the commit."""
        produced = self.run.tasks[name].produced
        assert produced is not None
        tip, spec = self.run.tip, self.run.spec(name)
        tree = write_tree(self.repo, tip, self._files[name])
        commit = write_commit(self.repo, tree, tip, produced.snapshot, message=spec.title)
        for command in spec.verify:
            self.check(name, command.text, tree, scope="task")
        for command in self.plan.verify.each:
            self.check(name, command.text, tree)
        number = self._attempt(name)
        self.append(
            ev.LandingStarted(
                task=name, attempt=number, expected_tip=tip, candidate=commit, tree=tree, strategy=strategy
            )
        )
        self._update_ref(run_ref(self.run.id, "tip"), commit)
        self._update_ref(f"refs/heads/{self.run.branch}", commit)
        self.append(
            ev.LandingApplied(
                task=name, attempt=number, commit=commit, contracts=dict.fromkeys(self.run.contracts, tree)
            ),
            ev.BranchPublished(branch=self.run.branch, commit=commit),
        )
        return commit

    def do(self, name: str, files: Files | None = None) -> str:
        """Take a task through one good attempt onto the branch; gives the commit."""
        self.start(name)
        self.produce(name, files)
        return self.land(name)

    def settle(self, name: str, why: Reason | None = None) -> None:
        """End a task for good, by default with the reason it is held for."""
        found = why or self.run.tasks[name].reason
        assert found is not None
        self.append(ev.TaskFailed(task=name, reason=found))

    def pause(
        self, outcome: Outcome = Outcome.BUDGET, message: str = "`budget.wall` of 2h is used up"
    ) -> None:
        """Stop the driver."""
        self.append(ev.RunPaused(outcome=outcome, message=message))

    def finish(self, outcome: Outcome = Outcome.LANDED) -> None:
        """End the run."""
        self.append(ev.RunFinished(outcome=outcome))

    def _attempt(self, name: str) -> int:
        return len(self.run.tasks[name].attempts)

    def _snapshot(self, name: str, files: Files) -> tuple[str, str]:
        base = self.run.tasks[name].attempts[-1].start.base
        tree = write_tree(self.repo, base, files)
        commit = write_commit(self.repo, tree, base, message=f"{name}: attempt")
        self._update_ref(task_ref(self.run.id, name, f"attempt-{self._attempt(name)}"), commit)
        return commit, tree

    def _write_log(self, name: str, content: bytes) -> None:
        place = self.store / "logs" / self.run.id / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def _update_ref(self, name: str, commit: str) -> None:
        git(self.repo, "update-ref", name, commit)


def _settings(concurrency: int, wall_s: float | None) -> ev.RunSettings:
    return ev.RunSettings(
        concurrency=concurrency,
        wall_s=wall_s,
        grace_s=5.0,
        max_file_bytes=100_000_000,
        verify_timeout_s=900.0,
        locks="unlocked",
        sandbox="subreaper",
    )


def ticking(first: datetime = FIRST_DAY) -> Callable[[], str]:
    """Give a clock for a journal that moves by a tenth of a second with each event."""
    ticks: Iterator[int] = itertools.count()
    return lambda: (first + timedelta(milliseconds=100 * next(ticks))).isoformat(timespec="microseconds")


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


SHOP = (
    task("models", role="foundation", title="Model accounts and billing", owns=["shop/models.py"]),
    task("routes", role="foundation", title="Start a registry of commands", owns=["shop/routes.py"]),
    task("accounts", after=["models", "routes"], depends_on=["models"], title="Open and list accounts"),
    task("billing", after=["models", "routes"], depends_on=["models"], title="Write invoices"),
    task("coupons", after=["models", "routes"], depends_on=[], title="Take coupons"),
    task("changelog", after=["models", "routes", "accounts", "coupons"], title="Tell what is new"),
)
"""Two foundations, three features side by side, and one that waits for two of them."""

WRITE_GATE = reason(
    ReasonKind.WRITE_GATE,
    "the write gate refused the result: README.md is not owned by this task",
    hint="nothing of it has landed; the next attempt is told",
    evidence="coupons.1.log",
    paths=[b"README.md"],
)

STRANDED = reason(ReasonKind.DEPENDENCY_FAILED, "'coupons' did not land", hint="otto show coupons")


def shop_run(
    repo: Path, *, run_id: str = "r-20261120-aaaa", observe: Observer = lambda _event, _run: None
) -> RunBuilder:
    """Make a run in which `coupons` failed after a retry, and `changelog` with it; the others landed."""
    run = RunBuilder(repo, *SHOP, run_id=run_id, observe=observe)
    run.do("models", {"shop/models.py": "ACCOUNTS = []\n"})
    run.do("routes", {"shop/routes.py": "ROUTES = []\n"})
    run.start("accounts")
    run.start("billing")
    run.start("coupons")
    run.produce("billing", {"billing/invoice.py": "def invoice(): ...\n"})
    run.fail("coupons", WRITE_GATE, then="retry", files={"README.md": "mine\n", "coupons/a.py": "A = 1\n"})
    run.land("billing")
    run.start("coupons", log=b"still trying\n\x1b[31mred\x1b[0m \x1b]0;title\x07 caf\xc3\xa9 \xff\n")
    run.produce("accounts", {"accounts/list.py": "def accounts(): ...\n", b"accounts/caf\xe9.txt": "latin\n"})
    run.fail("coupons", reason(message="the command exited with 1: no such coupon", hint="otto logs coupons"))
    run.land("accounts", strategy="pygit2")
    run.settle("coupons")
    run.settle("changelog", STRANDED)
    run.finish(Outcome.PARTIAL)
    return run
