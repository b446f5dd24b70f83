"""What `otto clean` removes and what it must not: with real runs, and what people and tasks do to them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otto_core.clean import clean
from otto_core.decide import decide_on
from otto_core.decisions import cancel, retry
from otto_core.delivery import Order as Landing
from otto_core.delivery import deliver
from otto_core.errors import Locked, UsageError
from otto_core.examination import examine
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.linked import entries
from otto_core.model import Outcome
from otto_core.refnames import run_ref, task_ref
from otto_core.resume import Limits, resume
from otto_core.runlock import hold, hold_cleaning
from otto_core.slots import borrow
from otto_core.state import Run
from otto_core.sweep import Cleaned, Order
from tests.builders import git, make_repo
from tests.otto_core.held import Otto, newest
from tests.otto_core.runs import feature, fingerprint, run_and_merge, run_plan, writes

OURS = (".git/otto", ".git/refs/otto", ".git/objects")
NOW = Order("ada@workshop")
DRY = Order("ada@workshop", dry_run=True)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path)


@pytest.fixture
def otto(repo: Path, tmp_path: Path) -> Iterator[Otto]:
    with Otto.at(repo, tmp_path / "signals") as made:
        yield made


def cleaned(repo: Path, order: Order = NOW, before: Callable[[str], None] = lambda _: None) -> Cleaned:
    return clean(GitRepository.discover(repo), order, before=before)


def kept(done: Cleaned) -> dict[str, str]:
    return {one.what: one.why for one in done.kept}


def gone(done: Cleaned) -> set[str]:
    return {Path(one.what).name for one in done.removed}


def pool(run: Run) -> Path:
    return Path(run.settings.worktrees)


def refs(repo: Path) -> str:
    return git(repo, "for-each-ref", "refs/otto")


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


def test_a_run_that_is_not_over_stays_with_what_to_type(repo: Path, otto: Otto) -> None:
    run = otto.build(otto.holds("one"))
    assert kept(cleaned(repo))[run.id] == f"it is driven by {run.driver}"
    assert kept(cleaned(repo))[str(pool(run) / "slot-0")] == f"it is in use by {run.id}/one/1"
    otto.kill(signal.SIGTERM)
    [stays] = [one for one in cleaned(repo).kept if one.what == run.id]
    assert stays.why == "it is not over: interrupted"
    assert f"otto resume {run.id}" in stays.hint


def test_r_s3_an_unfinished_attempt_in_a_slot_is_kept_as_a_commit_before_its_slot_goes(
    repo: Path, otto: Otto
) -> None:
    run = otto.build(otto.holds("one"))
    otto.kill()
    assert kept(cleaned(repo, DRY)) == {run.id: "it is not over: interrupted"}
    assert gone(cleaned(repo, DRY)) == {"slot-0"}
    done = cleaned(repo)
    assert gone(done) == {"slot-0"}
    assert not (pool(run) / "slot-0").exists()
    assert git(repo, "show", f"{task_ref(run.id, 'one', 'salvage-1')}:one.txt") == "one"
    otto.let_go("one")
    assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.LANDED


def test_r_s3_a_note_that_cannot_be_read_keeps_the_slot(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    note = pool(run) / ".otto/slot-0.occupant"
    note.write_text("of a later version")
    assert kept(cleaned(repo)) == {str(pool(run) / "slot-0"): "the note of who worked there cannot be read"}
    assert (pool(run) / "slot-0/one.txt").exists()


@pytest.mark.parametrize("way", ["works there", "has a file open"])
def test_r_s3_a_slot_that_a_persons_process_is_in_stays_and_says_whose(repo: Path, way: str) -> None:
    run = run_and_merge(repo, writes("one"))
    slot = pool(run) / "slot-0"
    script = {
        "works there": f"cd {slot} && cat",
        "has a file open": f"cat - {slot}/README.md 9< {slot}/README.md",
    }
    with subprocess.Popen(["sh", "-c", script[way]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(b"x")
        shell.stdin.flush()
        assert shell.stdout.read(1) == b"x"
        why = kept(cleaned(repo))[str(slot)]
        shell.stdin.close()
    assert "process " in why
    assert {"works there": "by its working directory", "has a file open": "by an open file"}[way] in why
    assert (slot / "one.txt").exists()
    assert "slot-0" in gone(cleaned(repo))


def test_a_slot_that_another_run_has_borrowed_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    with borrow(pool(run), "slot") as slot:
        assert kept(cleaned(repo)) == {str(slot.path): "it is in use by another Otto"}
        assert kept(cleaned(repo, DRY)) == kept(cleaned(repo))
        assert slot.path.exists()


def test_a_link_planted_in_place_of_a_slot_goes_and_what_it_leads_to_stays(
    repo: Path, tmp_path: Path
) -> None:
    run = run_and_merge(repo, writes("one"))
    mine = tmp_path / "mine"
    (mine / "git").mkdir(parents=True)
    (mine / "git/index").write_text("precious")
    for place in (pool(run) / "slot-0", pool(run) / ".otto/slot-0", pool(run) / ".io/slot-0"):
        shutil.rmtree(place)
        place.symlink_to(mine)
    assert kept(cleaned(repo)) == {}
    assert not os.path.lexists(pool(run) / "slot-0")
    assert (mine / "git/index").read_text() == "precious"


@pytest.mark.parametrize("name", [".otto", ".io", "kept"])
def test_a_link_planted_in_place_of_ottos_own_place_of_a_pool_keeps_all_of_it(
    repo: Path, tmp_path: Path, name: str
) -> None:
    run = run_and_merge(repo, writes("one"))
    mine = tmp_path / "mine"
    (mine / "slot-0").mkdir(parents=True)
    (mine / "slot-0/precious").write_text("mine")
    place = pool(run) / name
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(mine)
    assert kept(cleaned(repo))[str(place)].startswith("it is no directory of Otto's")
    assert (mine / "slot-0/precious").exists()
    assert (pool(run) / "slot-0").exists()


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


def test_the_pool_of_a_repository_that_this_one_was_copied_from_is_not_touched(
    repo: Path, tmp_path: Path
) -> None:
    run = run_and_merge(repo, writes("one"))
    copy = Path(shutil.copytree(repo, tmp_path / "copy", symlinks=True))
    assert gone(cleaned(copy)) == {run.id}
    assert (pool(run) / "slot-0/one.txt").exists()
    assert run_ref(run.id, "tip") in refs(repo)


def test_the_pool_of_a_repository_that_was_moved_is_named_and_stays(repo: Path, tmp_path: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    moved = repo.rename(tmp_path / "moved")
    [stays] = cleaned(moved).kept
    assert stays.what == str(pool(run))
    assert str(repo / ".git") in stays.why
    assert (pool(run) / "slot-0/one.txt").exists()


def test_a_worktree_that_was_kept_goes_while_its_commit_holds_all_of_it(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), writes("two"), keep_worktrees=True)
    one, two = pool(run) / "kept" / run.id / "one.1", pool(run) / "kept" / run.id / "two.1"
    (two / "one.txt").write_text("changed by a person since")
    stays = kept(cleaned(repo))
    assert stays == {str(two): "no commit holds all that is in it"}
    assert (one.exists(), two.exists()) == (False, True)
    assert newest(repo).cleaned is not None
    shutil.rmtree(two)
    assert cleaned(repo) == Cleaned((), ())


def test_r_s3_a_worktree_that_no_tree_can_hold_stays(repo: Path) -> None:
    run = run_and_merge(repo, feature("one", "echo 1 > one.txt; mkfifo pipe", max_attempts=1))
    place = pool(run) / "kept" / run.id / "one.1"
    assert kept(cleaned(repo))[str(place)] == "no commit holds all that is in it"
    assert (place / "pipe").is_fifo()


def test_with_an_age_what_is_younger_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    done = cleaned(repo, Order("ada@workshop", older_than_s=3600.0))
    assert done.removed == ()
    assert set(kept(done)) == {run.id, str(pool(run) / "slot-0")}
    assert all("ago" in why for why in kept(done).values())
    for place in (".otto/slot-0/note", ".otto/slot-0", ".io/slot-0", "slot-0"):
        os.utime(pool(run) / place, (1, 1))
    assert gone(cleaned(repo, Order("ada@workshop", older_than_s=3600.0))) == {"slot-0"}


def test_a_merge_directory_that_a_killed_driver_left_goes_and_a_living_ones_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    left = repo / ".git/otto/merge" / f"{run.id}.git"
    (left / "objects").mkdir(parents=True)
    with hold(repo / ".git/otto", run.id):
        cleaned(repo)
        assert left.exists()
    assert left.name in gone(cleaned(repo))
    assert not left.exists()


def test_the_entry_of_a_linked_worktree_goes_with_its_slot(repo: Path, otto: Otto) -> None:
    (repo / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    git(repo, "add", "otto.yaml")
    git(repo, "commit", "--quiet", "--message", "configure")
    otto.build(otto.holds("one"))
    otto.kill()
    assert entries(GitRepository.discover(repo))
    cleaned(repo)
    assert entries(GitRepository.discover(repo)) == ()
    otto.let_go("one")


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


def test_two_cleans_at_once_do_not_meet(repo: Path) -> None:
    run_and_merge(repo, writes("one"))
    with hold_cleaning(repo / ".git/otto"), pytest.raises(Locked, match="being cleaned by"):
        cleaned(repo)
    assert cleaned(repo).kept == ()


class Killed(BaseException):
    """Stands for the end of the process: nothing of the program comes after it."""


def _leftovers(repo: Path, run: Run) -> list[str]:
    places = [repo / ".git/otto/logs" / run.id, *(pool(run) / name for name in ("slot-0", ".otto/slot-0"))]
    return [*(str(place) for place in places if place.exists()), *refs(repo).splitlines()]


def test_r_s3_a_clean_that_is_killed_before_any_of_its_steps_is_finished_by_the_next(repo: Path) -> None:
    """Each round kills one step later than the one before, until none is left to kill."""
    rounds = 0
    while True:
        run = run_and_merge(repo, writes(f"task{rounds}"), verify={"each": ["true"]})
        steps: list[str] = []

        def before(step: str, steps: list[str] = steps, last: int = rounds) -> None:
            steps.append(step)
            if len(steps) > last:
                raise Killed

        try:
            cleaned(repo, before=before)
        except Killed:
            assert git(repo, "rev-parse", run.branch) == run.tip
            assert run_and_merge(repo, writes("between")).outcome is Outcome.LANDED, "the pool can be used"
            assert kept(cleaned(repo)) == {}
            assert _leftovers(repo, run) == []
        else:
            break
        rounds += 1
    assert rounds > 8
    assert git(repo, "fsck", "--strict") == ""


def test_a_ref_that_was_written_after_its_run_was_cleaned_is_no_part_of_it(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    cleaned(repo)
    ref = run_ref(run.id, "mine")
    git(repo, "update-ref", ref, run.tip)
    assert kept(cleaned(repo)) == {ref: "it was written after its run was cleaned"}


def test_a_clean_in_another_process_is_told_who_cleans(repo: Path) -> None:
    run_and_merge(repo, writes("one"))
    with hold_cleaning(repo / ".git/otto"):
        done = subprocess.run(
            [sys.executable, "-m", "otto_core.cli.main", "clean"],
            cwd=repo,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert f"being cleaned by {os.getpid()}@" in done.stderr


def test_r_s3_cleaning_beside_builds_loses_nothing_of_them(repo: Path, otto: Otto) -> None:
    """One run holds a slot and has others done beside it, while another process cleans without a pause."""
    held = otto.build(otto.holds("one"))
    script = f"while [ ! -e {repo.parent}/enough ]; do {sys.executable} -m otto_core.cli.main clean; done"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(["sh", "-c", script], cwd=repo, env=env, stdout=subprocess.DEVNULL) as cleaner:
        try:
            runs = [run_and_merge(repo, *(writes(f"{name}{turn}") for name in "abc")) for turn in range(4)]
        finally:
            (repo.parent / "enough").touch()
        assert cleaner.wait() == 0
    assert [run.outcome for run in runs] == [Outcome.LANDED] * 4
    for turn, run in enumerate(runs):
        names = git(repo, "ls-tree", "-r", "--name-only", run.branch).splitlines()
        assert {f"{name}{turn}.txt" for name in "abc"} <= set(names)
    otto.let_go("one")
    assert otto.ended() == 0
    assert newest_of(repo, held.id).outcome is Outcome.LANDED
    assert git(repo, "fsck", "--strict") == ""


def newest_of(repo: Path, run_id: str) -> Run:
    with Journal.open(repo / ".git/otto" / STORE) as journal:
        return journal.load(run_id)


def test_r_s3_a_clean_that_is_killed_for_real_is_finished_by_the_next(repo: Path) -> None:
    run = run_and_merge(repo, *(writes(f"task{number}") for number in range(6)))
    program = (
        "import os, pathlib, sys\n"
        "from otto_core.clean import clean\n"
        "from otto_core.sweep import Order\n"
        "from otto_core.git.repository import GitRepository\n"
        "steps = iter(range(int(sys.argv[1])))\n"
        "def before(step):\n"
        "    next(steps, None) is None and os.kill(os.getpid(), 9)\n"
        "clean(GitRepository.discover(pathlib.Path('.')), Order('ada'), before=before)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    codes = []
    for steps in (1, 4, 5, 9, 2, 7, 100):
        argv = [sys.executable, "-c", program, str(steps)]
        codes.append(subprocess.run(argv, cwd=repo, env=env, check=False).returncode)
        assert git(repo, "rev-parse", run.branch) == run.tip
    assert codes[0] == -signal.SIGKILL
    assert codes[-1] == 0
    assert refs(repo) == ""
    assert cleaned(repo) == Cleaned((), ())


def test_a_person_who_retries_at_the_same_moment_goes_first(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"), feature("two", "exit 1", max_attempts=1))

    def before(step: str) -> None:
        if step == f"noting that {run.id} is cleaned":
            decide_on(GitRepository.discover(repo), run.id, lambda now: retry(now, "two", "bob@workshop"))

    done = cleaned(repo, before=before)
    assert kept(done) == {run.id: "somebody decided something about it meanwhile"}
    assert newest(repo).cleaned is None
    assert run_ref(run.id, "tip") in refs(repo)
    assert resume(GitRepository.discover(repo), run.id, Limits()).outcome is Outcome.PARTIAL


def test_a_ref_that_moves_at_the_last_moment_stays(repo: Path) -> None:
    run = run_and_merge(repo, writes("one"))
    ref = run_ref(run.id, "tip")

    def before(step: str) -> None:
        if step == f"removing {ref}":
            git(repo, "update-ref", ref, run.start.base)

    assert kept(cleaned(repo, before=before)) == {ref: "somebody moved it meanwhile"}
    assert git(repo, "rev-parse", ref) == run.start.base
