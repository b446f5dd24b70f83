"""The landing's own gates: what an attempt's gate let through, or forged, still does not reach the tip."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from merge.objects import Oid
from merge.strategies import Merged
from merge.swap import swap
from otto_core import events as ev
from otto_core.checks import Checker
from otto_core.compose import run_settings
from otto_core.config import Settings
from otto_core.driver import create_run
from otto_core.errors import RepositoryUnusable, Waiting
from otto_core.gate import ExecutionGate
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.landing import Lander
from otto_core.model import ReasonKind, TaskStatus, Telemetry
from otto_core.refnames import run_ref
from otto_core.session import Session
from tests.builders import git, make_repo, write_commit, write_tree
from tests.otto_core.plans import a_plan, a_task

Content = dict[str | bytes, str | bytes | None]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"a/x": "1\n", "b/y": "1\n", "shared": "1\n2\n3\n"})


@contextmanager
def opened(repo: Path, tmp_path: Path) -> Iterator[tuple[Session, Lander]]:
    """Open a run of two tasks, `a` (owns a/**) and `b` (owns b/**), with the real lander."""
    repository = GitRepository.discover(repo)
    plan = structs.replace(a_plan(a_task("a"), a_task("b")), base=git(repo, "rev-parse", "HEAD"))
    with Journal.open(repository.store / STORE) as journal:
        settings = run_settings(Settings(), plan, sandbox="subreaper", keep_worktrees=False)
        run = create_run(
            repository, journal, plan, settings, run_id="r-20261120-test", prefix="otto", slug="test"
        )
        session = Session(run, journal, repository, Settings(), tmp_path / "worktrees")
        gate = ExecutionGate(lambda: session.run, session.stop)
        yield session, Lander(session, Checker(session, gate))


def produce(session: Session, repo: Path, name: str, files: Content) -> None:
    """Journal that an attempt of a task produced these files, whatever its own gate would have said."""
    stored = session.run.stored[0]
    tree = write_tree(repo, session.run.start.base, files)
    session.append(
        ev.AttemptStarted(
            task=name,
            attempt=1,
            revision=1,
            plan_id=stored.plan_id,
            base=session.run.start.base,
            contracts={},
            prompt_digest="",
            agent="command",
            log="log",
        )
    )
    session.append(
        ev.AttemptProduced(
            task=name,
            attempt=1,
            snapshot=write_commit(repo, tree, session.run.start.base, message="snapshot"),
            tree=tree,
            changed=1,
            telemetry=Telemetry(duration_s=0, missing="test"),
        )
    )


def land(lander: Lander, name: str) -> None:
    asyncio.run(lander.land(name, lander.session.stop))


def test_what_is_within_bounds_lands(repo: Path, tmp_path: Path) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"a/x": "2\n"})
        land(lander, "a")
        assert session.run.tasks["a"].status is TaskStatus.LANDED
        assert git(repo, "show", "otto/test:a/x") == "2"


def test_i4_a_snapshot_beyond_its_scope_is_refused_at_landing(repo: Path, tmp_path: Path) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"b/y": "2\n"})
        land(lander, "a")
        reason = session.run.tasks["a"].reason
        assert reason is not None
        assert (reason.kind, reason.paths) == (ReasonKind.WRITE_GATE, (b"b/y",))
        assert session.run.tip == session.run.start.base


def test_i4_a_foreign_write_that_the_tip_has_already_is_refused_all_the_same(
    repo: Path, tmp_path: Path
) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "b", {"b/y": "2\n"})
        land(lander, "b")
        produce(session, repo, "a", {"a/x": "2\n", "b/y": "2\n"})
        land(lander, "a")
        reason = session.run.tasks["a"].reason
        assert reason is not None
        assert (reason.kind, reason.paths) == (ReasonKind.WRITE_GATE, (b"b/y",))


def merged_as(monkeypatch: pytest.MonkeyPatch, tree: str) -> None:
    """Have the merge give this tree: a wrong strategy, to be caught by what comes after it."""
    monkeypatch.setattr("otto_core.landing.merge", lambda *_, **__: Merged(Oid(hex=tree), "tree"))


def test_i4_a_merge_that_touches_foreign_paths_is_refused_by_the_second_gate(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"a/x": "2\n"})
        merged_as(monkeypatch, write_tree(repo, "HEAD", {"a/x": "2\n", "b/y": None}))
        land(lander, "a")
        reason = session.run.tasks["a"].reason
        assert reason is not None
        assert (reason.kind, reason.paths) == (ReasonKind.WRITE_GATE, (b"b/y",))


def test_r_s2_r_m10_a_merge_that_drops_the_tasks_own_change_is_refused_by_the_audit(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"a/x": "2\n", "a/new": "new\n"})
        merged_as(monkeypatch, write_tree(repo, "HEAD", {"a/new": "new\n"}))
        land(lander, "a")
        reason = session.run.tasks["a"].reason
        assert reason is not None
        assert (reason.kind, reason.paths) == (ReasonKind.CONFLICT, (b"a/x",))
        assert "audit" in reason.message


def test_i2_a_task_whose_trailers_are_on_the_branch_is_not_landed_again(repo: Path, tmp_path: Path) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"a/x": "2\n"})
        produce(session, repo, "b", {"b/y": "2\n"})
        trailers = f"Otto-Run: {session.run.id}\nOtto-Task: b\nOtto-Attempt: 1\nOtto-Plan: x"
        tree = write_tree(repo, "HEAD", {"b/y": "2\n"})
        ahead = write_commit(repo, tree, "HEAD", message=f"b\n\n{trailers}\n")
        started = ev.LandingStarted(
            task="a", attempt=1, expected_tip=session.run.tip, candidate=ahead, tree=tree, strategy="tree"
        )
        session.append(started, ev.LandingApplied(task="a", attempt=1, commit=ahead, contracts={}))
        with pytest.raises(RepositoryUnusable, match="not in the journal"):
            land(lander, "b")


def test_r_x1_a_tip_that_something_else_moved_is_left_alone_and_told(repo: Path, tmp_path: Path) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"a/x": "2\n"})
        alien = Oid(hex=write_commit(repo, write_tree(repo, "HEAD", {"c": "c"}), "HEAD", message="alien"))
        ref = run_ref(session.run.id, "tip")
        swap(session.repository.repo, ref, Oid(hex=session.run.tip), alien)
        with pytest.raises(Waiting, match="moved"):
            land(lander, "a")
        assert session.run.tasks["a"].status is TaskStatus.PRODUCED
        assert git(repo, "rev-parse", ref) == str(alien)


def test_a_candidate_survives_a_collection_of_garbage_before_its_swap(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"a/x": "2\n"})
        git(repo, "update-ref", "refs/keep", session.run.tasks["a"].produced.snapshot)  # type: ignore[union-attr]
        whole = Lander._mutate

        async def collect(self: Lander, *args: object) -> None:
            git(repo, "reflog", "expire", "--expire=now", "--all")
            git(repo, "gc", "--quiet", "--prune=now")
            await whole(self, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(Lander, "_mutate", collect)
        land(lander, "a")
        assert session.run.tasks["a"].status is TaskStatus.LANDED
        git(repo, "fsck", "--strict")


def test_r_m9_the_tips_attributes_decide_a_merge(repo: Path, tmp_path: Path) -> None:
    (repo / ".gitattributes").write_text("a/x merge=union\n")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "attributes")
    with opened(repo, tmp_path) as (session, lander):
        produce(session, repo, "a", {"a/x": "1\nmine\n"})
        tree = write_tree(repo, "HEAD", {"a/x": "1\ntheirs\n"})
        ahead = write_commit(repo, tree, "HEAD", message="ahead")
        ref = run_ref(session.run.id, "tip")
        swap(session.repository.repo, ref, Oid(hex=session.run.tip), Oid(hex=ahead))
        produce(session, repo, "b", {"b/y": "2\n"})
        started = ev.LandingStarted(
            task="b", attempt=1, expected_tip=session.run.tip, candidate=ahead, tree=tree, strategy="tree"
        )
        session.append(started, ev.LandingApplied(task="b", attempt=1, commit=ahead, contracts={}))
        land(lander, "a")
        assert session.run.tasks["a"].status is TaskStatus.LANDED, session.run.tasks["a"].reason
        assert git(repo, "show", f"{session.run.tip}:a/x") == "1\ntheirs\nmine"
