"""What `otto clean` removes of a run and what it must not: its refs, its logs, what only they keep."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from otto_core.decide import decide_on
from otto_core.decisions import cancel, retry
from otto_core.delivery import Order as Landing
from otto_core.delivery import deliver
from otto_core.errors import UsageError
from otto_core.examination import examine
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome
from otto_core.refnames import run_ref, task_ref
from otto_core.resume import Limits, resume
from otto_core.runlock import hold
from otto_core.sweep import Cleaned, Order
from tests.builders import git
from tests.otto_core.cleans import DRY, NOW, cleaned, gone, kept, pool, refs
from tests.otto_core.held import Otto, newest
from tests.otto_core.runs import feature, fingerprint, run_and_merge, run_plan, writes

OURS = (".git/otto", ".git/refs/otto", ".git/objects")


def fails(name: str, **more: object) -> dict[str, object]:
    """Describe a task that writes something and fails."""
    return feature(name, f"echo {name} > {name}.txt; exit 1", max_attempts=1, **more)  # type: ignore[arg-type]


def test_r_s5_worktrees_refs_and_logs_of_a_finished_run_go_and_its_history_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), writes("two"), verify={"each": ["true"]})
    logs = repo / ".git/otto/logs" / run.id
    assert logs.is_dir()
    done = cleaned(repo)
    assert done.kept == ()
    assert run.id in gone(done)
    assert done.freed_bytes > 0
    assert refs(repo) == ""
    assert not (repo / ".git/refs/otto/runs" / run.id).exists()
    assert not logs.exists()
    left = [place.name for place in pool(run).rglob("*") if not place.is_dir()]
    assert left
    assert all(name.endswith(".lock") for name in left)
    assert git(repo, "rev-parse", "otto/test") == run.tip
    after = newest(repo)
    assert after.cleaned is not None
    assert after.cleaned.refs[run_ref(run.id, "tip")] == run.tip
    assert cleaned(repo) == Cleaned((), ()), "a second one finds nothing"


def test_r_i8_cleaning_leaves_the_users_repository_alone(repo: Path) -> None:
    run_and_merge(repo, writes("one"), fails("two"))
    before = fingerprint(repo, less=OURS)
    cleaned(repo)
    assert fingerprint(repo, less=OURS) == before
    assert git(repo, "fsck", "--strict") == ""


def test_r_i15_a_dry_run_writes_nothing_and_says_what_would_go(repo: Path, hermetic: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    shared = (".git/otto/otto.db-shm", ".git/otto/otto.db-wal")  # SQLite's, of whoever reads
    before, home = fingerprint(repo, less=shared), fingerprint(hermetic)
    told = cleaned(repo, DRY)
    assert (fingerprint(repo, less=shared), fingerprint(hermetic)) == (before, home)
    assert gone(told) == {run.id, "slot-0"}
    done = cleaned(repo)
    assert gone(done) == gone(told)
    assert done.freed_bytes == told.freed_bytes


def test_before_the_first_build_there_is_nothing_to_clean(repo: Path) -> None:
    assert cleaned(repo, DRY) == Cleaned((), ())
    assert cleaned(repo) == Cleaned((), ())
    assert not (repo / ".git/otto").exists()


def test_without_its_store_a_repository_is_cleaned_of_worktrees_and_what_is_left_of_runs_is_named(
    repo: Path,
) -> None:
    run = run_and_merge(repo, writes("one"))
    shutil.rmtree(repo / ".git/otto")
    for order in (DRY, NOW):
        done = cleaned(repo, order)
        assert gone(done) == {"slot-0"}
        assert kept(done) == {run.id: "it has refs or logs, and the journal knows no such run"}
    assert run_ref(run.id, "tip") in refs(repo)


def test_r_s3_what_a_task_wrote_that_did_not_land_stays_with_its_run_until_a_person_lets_it_go(
    repo: Path,
) -> None:
    run = run_and_merge(repo, writes("one"), fails("two"))
    assert run.outcome is Outcome.PARTIAL
    ref, before = task_ref(run.id, "two", "attempt-1"), refs(repo)
    done = cleaned(repo)
    assert kept(done) == {
        ref: f"it is the only copy of what 'two' wrote, which did not land; {run.id} stays with it"
    }
    assert refs(repo) == before
    [stays] = done.kept
    assert stays.hint.endswith(f"git update-ref -d {ref}")
    git(repo, "update-ref", "-d", ref)
    assert run.id in gone(cleaned(repo))
    assert refs(repo) == ""


def test_r_s3_a_failed_task_that_was_rescued_to_a_branch_keeps_nothing(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), fails("two"))
    git(repo, "branch", "rescued", task_ref(run.id, "two", "attempt-1"))
    assert kept(cleaned(repo)) == {}
    assert git(repo, "show", "rescued:two.txt") == "two"


def test_a_failed_task_that_wrote_nothing_keeps_nothing(repo: Path) -> None:
    run_and_merge(repo, writes("one"), feature("two", "exit 1", max_attempts=1))
    assert kept(cleaned(repo)) == {}
    assert refs(repo) == ""


def test_what_an_earlier_attempt_of_a_landed_task_wrote_is_superseded(repo: Path) -> None:
    again = 'echo "$OTTO_ATTEMPT" > one.txt; test "$OTTO_ATTEMPT" = 2'
    run = run_and_merge(repo, feature("one", again, max_attempts=2))
    assert run.outcome is Outcome.LANDED
    assert task_ref(run.id, "one", "attempt-1") in refs(repo)
    assert kept(cleaned(repo)) == {}
    assert refs(repo) == ""


def test_r_s3_a_result_whose_branch_was_deleted_stays_until_it_is_on_one_again(repo: Path) -> None:
    run = run_plan(repo, writes("one"))
    git(repo, "branch", "-D", run.branch)
    before = refs(repo)
    assert kept(cleaned(repo)) == {run.id: f"its result, {run.tip}, is on no branch but its own"}
    assert refs(repo) == before
    git(repo, "tag", "v1", run.tip)
    assert kept(cleaned(repo)) == {}


def test_a_base_that_only_its_run_keeps_stays(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "loose")
    run = run_plan(repo, feature("one", "exit 1", max_attempts=1))
    git(repo, "checkout", "--quiet", "main")
    assert kept(cleaned(repo)) == {run.id: f"its base, {run.start.base}, is on no branch"}


def test_a_branch_whose_objects_are_missing_proves_nothing(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    (repo / ".git/refs/heads/broken").write_text("1" * 40 + "\n")
    before = refs(repo)
    assert run.id in kept(cleaned(repo))
    assert refs(repo) == before


def test_a_ref_that_was_written_after_its_run_was_cleaned_is_no_part_of_it(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    cleaned(repo)
    ref = run_ref(run.id, "mine")
    git(repo, "update-ref", ref, run.tip)
    assert kept(cleaned(repo)) == {ref: "it was written after its run was cleaned"}


def test_a_run_that_is_not_over_stays_with_what_to_type(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    assert kept(cleaned(repo))[run.id] == f"it is driven by {run.driver}"
    assert kept(cleaned(repo))[str(pool(run) / "slot-0")] == f"it is in use by {run.id}/one/1"
    otto.kill(signal.SIGTERM)
    [stays] = [one for one in cleaned(repo).kept if one.what == run.id]
    assert stays.why == "it is not over: interrupted"
    assert f"otto resume {run.id}" in stays.hint


def test_with_an_age_what_is_younger_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    done = cleaned(repo, Order("ada@workshop", older_than_s=3600.0))
    assert done.removed == ()
    assert set(kept(done)) == {run.id, str(pool(run) / "slot-0")}
    assert all("ago" in why for why in kept(done).values())
    for place in (".otto/slot-0/note", ".otto/slot-0", ".io/slot-0", "slot-0"):
        os.utime(pool(run) / place, (1, 1))
    assert gone(cleaned(repo, Order("ada@workshop", older_than_s=3600.0))) == {"slot-0"}


def test_links_planted_in_place_of_logs_lead_nowhere(repo: Path, tmp_path: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    mine = tmp_path / "mine"
    (mine / run.id).mkdir(parents=True)
    (mine / run.id / "precious").write_text("mine")
    logs = repo / ".git/otto/logs"
    shutil.rmtree(logs / run.id)
    (logs / run.id).symlink_to(mine / run.id)
    assert run.id in gone(cleaned(repo))
    assert not os.path.lexists(logs / run.id)
    other = run_and_merge(repo, writes("two"))
    shutil.move(logs / other.id, mine)
    logs.rmdir()
    logs.symlink_to(mine)
    cleaned(repo)
    assert (mine / run.id / "precious").exists()
    assert (mine / other.id).exists(), "who leads the logs elsewhere has them"


def test_a_merge_directory_that_a_killed_driver_left_goes_and_a_living_ones_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    left = repo / ".git/otto/merge" / f"{run.id}.git"
    (left / "objects").mkdir(parents=True)
    with hold(repo / ".git/otto", run.id):
        cleaned(repo)
        assert left.exists()
    assert left.name in gone(cleaned(repo))
    assert not left.exists()


def test_what_is_done_with_a_cleaned_run_is_refused_with_the_reason(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), feature("two", "exit 1", max_attempts=1))
    cleaned(repo)
    repository = GitRepository.discover(repo)
    with pytest.raises(UsageError, match="was cleaned"):
        resume(repository, run.id, Limits())
    with pytest.raises(UsageError, match="was cleaned"):
        decide_on(repository, run.id, lambda now: retry(now, "two", "ada@workshop"))
    with pytest.raises(UsageError, match="is over"):
        decide_on(repository, run.id, lambda now: cancel(now, "ada@workshop"))
    with (
        Journal.open(repository.store / STORE) as journal,
        pytest.raises(UsageError, match="was cleaned") as told,
    ):
        deliver(repository, journal, Landing(run.id, "refs/heads/main"))
    assert told.value.hint == f"git merge {run.tip}, or build anew"


def test_a_cleaned_run_is_no_news_to_the_doctor(repo: Path) -> None:
    run_and_merge(repo, writes("one"))
    cleaned(repo)
    git(repo, "branch", "-D", "otto/test")
    assert [f for f in examine(GitRepository.discover(repo)) if f.level == "bad"] == []
    with Journal.open(repo / ".git/otto" / STORE) as journal:
        assert journal.unfinished() == []
