"""Each thing that `otto doctor` calls bad, made bad for real."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.delivery import Order, deliver
from otto_core.examination import examine
from otto_core.findings import Finding
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.linked import entry_of
from otto_core.locks import LockTable
from otto_core.marker import marker_of
from otto_core.model import Outcome
from otto_core.process import MARKER
from otto_core.refnames import run_ref
from otto_core.runlock import hold, hold_delivery
from otto_core.slots import borrow
from otto_core.writesets import WriteSet
from tests.builders import RunBuilder, git, make_repo, plan, shop_run, task
from tests.otto_core.runs import fingerprint, run_plan, writes
from tests.waiting import until_marked


def found(repo: Path, check: str, **options: object) -> list[Finding]:
    """Give what one check says."""
    every = examine(GitRepository.discover(repo), **options)  # type: ignore[arg-type]
    return [finding for finding in every if finding.check == check]


def the(repo: Path, check: str, **options: object) -> tuple[str, str]:
    """Give the level and the words of a check that says one thing."""
    [finding] = found(repo, check, **options)
    assert (finding.level == "ok") == (finding.hint == ""), "what is not well has a hint, and nothing else"
    return finding.level, finding.message


def test_all_is_well_after_a_build_and_looking_writes_nothing(repo: Path, hermetic: Path) -> None:
    run_plan(repo, writes("one"))
    before, home = fingerprint(repo), fingerprint(hermetic)
    findings = examine(GitRepository.discover(repo))
    assert [f for f in findings if f.level == "bad"] == []
    assert fingerprint(repo, less=[".git/otto"]) == {
        name: digest for name, digest in before.items() if not name.startswith(".git/otto")
    }
    assert fingerprint(hermetic) == home


def test_before_the_first_build_all_is_well_too(repo: Path) -> None:
    assert the(repo, "store") == ("ok", "none yet: nothing was built here")
    assert not (repo / ".git/otto").exists()


def test_without_git_that_is_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repo))
    assert the(repo, "git") == ("bad", "there is no git program on PATH")


def test_an_old_git_is_told(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho git version 2.30.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert the(repo, "git") == ("note", "2.30.1: too old to merge (strategy ort)")


def test_a_repository_without_a_commit_is_bad(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "unborn")
    assert the(tmp_path / "unborn", "repository") == ("bad", "the repository has no commit yet")


def test_a_network_file_system_is_bad(repo: Path, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:9 / {tmp_path} rw shared:1 - nfs4 far:/x rw\n"
    )
    level, words = the(repo, "repository", mounts=mounts)
    assert level == "bad"
    assert "on a network file system (nfs4)" in words


def test_a_configuration_that_is_not_valid_is_bad(repo: Path) -> None:
    (repo / "otto.yaml").write_text("concurrency: 0\n")
    level, words = the(repo, "configuration")
    assert level == "bad"
    assert words.startswith("otto.yaml:1: `concurrency`")


def _not_a_database(store: Path) -> None:
    store.write_bytes(b"not a database, and long enough to be looked at " * 100)


def _from_the_future(store: Path) -> None:
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA user_version=99")


def _without_tables(store: Path) -> None:
    with sqlite3.connect(store) as db:
        db.execute("DROP TABLE events")


def _with_an_event_that_nobody_wrote(store: Path) -> None:
    with sqlite3.connect(store) as db:
        db.execute("UPDATE events SET body = '{}' WHERE seq = 3")


def _with_a_torn_index(store: Path) -> None:
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'events_of_run'")


@pytest.mark.parametrize(
    "harm",
    [
        _not_a_database,
        _from_the_future,
        _without_tables,
        _with_an_event_that_nobody_wrote,
        _with_a_torn_index,
    ],
)
def test_r_g7_a_store_that_cannot_be_read_is_bad(repo: Path, harm: Callable[[Path], None]) -> None:
    shop_run(repo).journal.close()
    harm(repo / ".git/otto/otto.db")
    assert the(repo, "store")[0] == "bad"


def test_every_unfinished_run_is_told_with_who_drives_it(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    [left] = found(repo, "runs")
    assert (left.level, left.message) == ("note", "r-20261120-aaaa was left by its driver, 4711@workshop")
    with hold(built.store, built.run.id):
        assert the(repo, "runs") == ("ok", "r-20261120-aaaa is driven by 4711@workshop")
    built.pause()
    assert the(repo, "runs")[1] == "r-20261120-aaaa is paused: `budget.wall` of 2h is used up"


def test_r_s1_a_landing_that_git_does_not_have_is_bad(repo: Path) -> None:
    run = run_plan(repo, writes("one"), writes("two"))
    assert the(repo, "landings")[0] == "ok"
    ref = run_ref(run.id, "tip")
    git(repo, "update-ref", ref, f"{run.tip}^")
    [bad] = found(repo, "landings")
    assert bad.level == "bad"
    assert f"landed, but {ref} does not have it" in bad.message
    git(repo, "update-ref", "-d", ref)
    [gone] = found(repo, "landings")
    assert (gone.level, gone.message, gone.hint) == (
        "bad",
        f"{ref} is gone",
        f"git update-ref {ref} {run.tip}",
    )


def test_a_result_branch_that_somebody_moved_is_told(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    git(repo, "branch", "--force", run.branch, "main")
    level, words = the(repo, "branches")
    assert level == "note"
    assert f"{run.branch} is at {run.start.base[:12]}" in words
    git(repo, "branch", "-D", run.branch)
    assert f"{run.branch} is gone" in the(repo, "branches")[1]


def test_locks_are_told_with_their_holders(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    assert the(repo, "locks") == ("ok", "none held")
    with hold(built.store, built.run.id):
        table = LockTable(built.store, built.run.id)
        assert table.acquire("a", WriteSet(owns=("a/**",), extends=("routes.py",))) is None
        level, words = the(repo, "locks")
        table.release("a")
    assert level == "ok"
    assert words.startswith("'a' of r-20261120-aaaa (")
    assert words.endswith("is writing a/**, routes.py")


def test_a_lock_file_of_a_ref_is_bad_once_it_is_old(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    lock = repo / ".git" / f"{run_ref(run.id, 'tip')}.lock"
    lock.write_text("")
    assert the(repo, "ref locks")[0] == "note"
    os.utime(lock, (1, 1))
    [bad] = found(repo, "ref locks")
    assert (bad.level, bad.hint) == ("bad", f"rm {lock}")


def test_r_s4_a_process_left_over_from_a_run_is_bad_and_only_while_nobody_drives_it(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    marker = marker_of(built.store, built.run.id, "a/1")
    env = {**os.environ, MARKER: marker}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        until_marked(child.pid, marker)
        assert [f for f in found(repo, "processes") if f.message == f"{child.pid} is left over from {marker}"]
        with hold(built.store, built.run.id):
            assert the(repo, "processes")[0] == "ok"
            (built.store / f"runs/{built.run.id}.lock").unlink()
            assert the(repo, "processes")[0] == "ok", "its driver lives, whatever became of the file"
            assert the(repo, "runs")[0] == "ok"
        child.communicate(b"\n")
    assert the(repo, "processes")[0] == "ok"


def test_where_nothing_was_built_another_repositorys_processes_are_not_looked_into(
    repo: Path, tmp_path: Path
) -> None:
    other = RunBuilder(make_repo(tmp_path, name="other"), task("a"))
    env = {**os.environ, "OTTO_MARKER": marker_of(other.store, other.run.id, "a/1")}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        assert the(repo, "processes")[0] == "ok"
        child.communicate(b"\n")


def test_a_sandbox_that_is_turned_off_is_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTO_SANDBOX", "subreaper")
    assert the(repo, "sandbox") == ("note", "off by `sandbox: subreaper`")


def test_without_bubblewrap_the_sandbox_is_a_note_and_where_demanded_bad(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_git = tmp_path / "bin"
    only_git.mkdir()
    found_git = next(p for p in os.environ["PATH"].split(os.pathsep) if (Path(p) / "git").exists())
    (only_git / "git").symlink_to(Path(found_git) / "git")
    monkeypatch.setenv("PATH", str(only_git))
    monkeypatch.delenv("OTTO_SANDBOX", raising=False)
    assert the(repo, "sandbox") == ("note", "bubblewrap is not installed")
    (repo / "otto.yaml").write_text("sandbox: bwrap\n")
    assert the(repo, "sandbox") == ("bad", "bubblewrap is not installed")


def test_a_worktree_root_where_nothing_can_be_made_is_bad(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OTTO_WORKTREES_ROOT", str(tmp_path / "file/below"))
    assert the(repo, "worktrees") == ("bad", f"{tmp_path / 'file'} cannot be written")
    monkeypatch.setenv("OTTO_WORKTREES_ROOT", "relative")
    assert the(repo, "worktrees") == ("bad", "`worktrees.root` is relative: relative")


def test_little_free_space_is_told(repo: Path) -> None:
    assert the(repo, "worktrees", low_bytes=0)[0] == "ok"
    level, words = the(repo, "worktrees", low_bytes=1 << 80)
    assert level == "note"
    assert words.startswith("only ")


def test_r_s5_what_otto_keeps_on_the_disk_is_told_in_bytes(repo: Path, hermetic: Path) -> None:
    run_plan(repo, writes("one"))
    [slot] = (hermetic / ".cache/otto/worktrees").glob("*/slot-0")
    (slot / "big").write_bytes(os.urandom(5_000_000))
    (slot / "link").symlink_to("/")
    words = the(repo, "disk")[1]
    assert words.startswith("worktrees 5.")
    assert " MB, logs " in words


def test_a_run_that_is_over_is_no_news(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    built.do("a")
    built.finish(Outcome.LANDED)
    assert the(repo, "runs") == ("ok", "every run is over")


def test_a_landing_that_was_cut_off_is_told_with_who_settles_it(repo: Path) -> None:
    built = RunBuilder(repo, task("a"), whole=plan(git(repo, "rev-parse", "HEAD"), task("a"), each=[]))
    built.start("a")
    built.produce("a")
    produced = built.run.tasks["a"].produced
    assert produced is not None
    started = ev.LandingStarted(
        task="a",
        attempt=1,
        expected_tip=built.base,
        candidate=produced.snapshot,
        tree=produced.tree,
        strategy="tree",
    )
    built.append(started)
    assert the(repo, "landings") == ("note", "r-20261120-aaaa: the landing of a was cut off")


def test_a_landing_in_a_persons_branch_that_was_cut_off_is_bad_and_otto_land_ends_it(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    target, store = "refs/heads/main", repo / ".git/otto"
    started = ev.DeliveryStarted(target=target, before=run.start.base, after=run.tip, result=run.tip)
    with Journal.open(store / STORE) as journal:
        journal.append(run, [started])
    with hold_delivery(store):
        assert the(repo, "landings") == ("ok", "1 run compared with Git"), "it is under way"
    [bad] = found(repo, "landings")
    assert (bad.level, bad.message, bad.hint) == (
        "bad",
        f"{run.id}: its landing on main was cut off",
        f"otto land {run.id}",
    )
    with Journal.open(store / STORE) as journal:
        deliver(GitRepository.discover(repo), journal, Order(run.id, target))
    assert the(repo, "landings")[0] == "ok"


def test_a_run_that_waits_for_another_is_not_over(repo: Path) -> None:
    built = RunBuilder(repo, task("a"))
    built.append(ev.RunPaused(outcome=Outcome.WAITING, message="'slow' of r-20261120-bbbb is in the way"))
    assert the(repo, "runs") == (
        "note",
        "r-20261120-aaaa is paused: 'slow' of r-20261120-bbbb is in the way",
    )


def test_a_linked_worktree_that_a_killed_driver_left_is_told_with_the_branch_that_counts_as_checked_out(
    repo: Path, tmp_path: Path, hermetic: Path
) -> None:
    repository = GitRepository.discover(repo)
    built = RunBuilder(repo, task("a"))
    git(repo, "worktree", "add", "-q", str(tmp_path / "theirs"))
    assert the(repo, "linked") == ("ok", "none left behind")
    with borrow(hermetic / "slots", "slot") as slot:
        entry = entry_of(slot, repository)
    entry.mkdir(parents=True)
    (entry / "HEAD").write_text(f"{built.base}\n")
    [left] = found(repo, "linked")
    assert (left.level, left.message, left.hint) == (
        "note",
        f"{entry} was left by a driver that is gone",
        f"rm -r {entry}",
    )
    (entry / "HEAD").write_text("ref: refs/heads/mine\n")
    [left] = found(repo, "linked")
    assert (left.level, left.message) == (
        "bad",
        f"{entry} was left by a driver that is gone; to Git, mine is still checked out there",
    )
