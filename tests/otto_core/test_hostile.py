"""Tasks that are clumsy or worse: what they do to their surroundings reaches nobody else."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from merge.objects import Oid
from otto_core import events as ev
from otto_core.errors import RepositoryUnusable, UsageError
from otto_core.git.private import MergeRepository
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Outcome, ReasonKind, TaskStatus
from otto_core.reconcile import reconcile_all
from otto_core.slots import worktree_root
from otto_core.state import Run
from tests.builders import git, make_repo, write_commit, write_tree
from tests.otto_core.limits import limits_fire_at
from tests.otto_core.runs import feature, fingerprint, reason_of, run_plan, writes

OWN = (".git/otto", ".git/objects", ".git/refs/otto", ".git/refs/heads/otto", ".git/logs/refs/heads/otto")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"README.md": "Start.\n", "src/app.py": "print('hello')\n"})


@pytest.fixture(autouse=True)
def swept(hermetic: Path) -> Iterator[None]:
    """Remove what the tests' own clean-up cannot: directories too deep for it."""
    yield
    subprocess.run(["rm", "-rf", str(hermetic / ".cache")], check=True)


POISON = {
    "worktree replaced by a link": 'cd ..; rm -rf "$OTTO_WORKTREE"; ln -s {repo} "$OTTO_WORKTREE"',
    "worktree replaced by a file": 'cd ..; rm -rf "$OTTO_WORKTREE"; echo x > "$OTTO_WORKTREE"',
    "worktree removed": 'cd ..; rm -rf "$OTTO_WORKTREE"',
    "worktree moved away": 'cd ..; mv "$OTTO_WORKTREE" elsewhere',
    "result file is a directory": 'mkdir "$OTTO_RESULT_FILE"; echo x > mine.txt',
    "prompt file is a directory": 'rm "$OTTO_PROMPT_FILE"; mkdir "$OTTO_PROMPT_FILE"; echo x > mine.txt',
    "prompt file is a link": 'ln -sf {repo}/README.md "$OTTO_PROMPT_FILE"; echo x > mine.txt',
    "temporary directory is a link": 'rm -rf "$TMPDIR"; ln -s {repo} "$TMPDIR"; echo x > mine.txt',
    "worktree replaced by a link to itself": 'cd /; W="$OTTO_WORKTREE"; rm -rf "$W"; ln -s "$W" "$W"',
    "worktree replaced by a link to the root": 'cd /; rm -rf "$OTTO_WORKTREE"; ln -s / "$OTTO_WORKTREE"',
    "a FIFO among its objects": (
        "mkdir -p .git/objects/12; mkfifo .git/objects/12/34567890123456789012345678901234567890;"
        " echo 1234567890123456789012345678901234567890 > .git/HEAD; echo x > mine.txt"
    ),
    "a FIFO for its alternates": (
        "rm .git/objects/info/alternates; mkfifo .git/objects/info/alternates; echo x > mine.txt;"
        " echo 1234567890123456789012345678901234567890 > .git/HEAD"
    ),
    "notes of occupants that are not text": (
        "for n in $(seq 30000); do sleep 0.02; test -e ../slot-*/beside.txt || continue;"
        " test $(ls ../.otto/*.occupant | wc -l) = 1 && break; done;"  # the other's is off
        " for o in ../.otto/slot-*/; do printf '\\377' > ${{o%/}}.occupant; done; echo x > mine.txt"
    ),
    "a file where worktrees are set aside": "touch ../kept; mkfifo mine.txt",
    "links among Otto's own files": (
        "for o in ../.otto/slot-*/; do ln -sf {repo}/.git $o/merge;"
        " ln -sf {repo}/README.md $o/overlay.index; done;"
        " test $OTTO_ATTEMPT = 2; echo x > mine.txt"
    ),
    "directories too deep": "for n in $(seq 1200); do mkdir d && cd d || break; done; echo x > f",
    "a directory nobody may read": "mkdir x; echo x > x/y; chmod 000 x; echo x > mine.txt",
}


@pytest.mark.parametrize("name", POISON)
def test_r_x5_i8_nothing_that_a_task_does_to_its_places_reaches_the_user_or_a_later_run(
    repo: Path, name: str
) -> None:
    before = fingerprint(repo, less=OWN)
    bad = run_plan(
        repo,
        feature("mine", POISON[name].format(repo=repo), max_attempts=2, retry_from="attempt"),
        writes("beside"),
    )
    assert bad.tasks["beside"].status is TaskStatus.LANDED
    assert fingerprint(repo, less=OWN) == before
    assert run_plan(repo, writes("one"), writes("two")).outcome is Outcome.LANDED
    assert fingerprint(repo, less=OWN) == before


MALFORMED = {
    "a HEAD with a NUL": r"printf 'ref: refs/heads/a\000b' > .git/HEAD",
    "a result that nests without end": "head -c 60000 /dev/zero | tr '\\0' '[' > \"$OTTO_RESULT_FILE\"",
    "a result with half a character": r"""printf '{"summary": "\\ud800"}' > "$OTTO_RESULT_FILE" """,
    "objects nested too deep": (
        "echo 1234567890123456789012345678901234567890 > .git/HEAD; cd .git/objects;"
        " for n in $(seq 1200); do mkdir d && cd d || break; done"
    ),
    "a commit in an encoding that nobody knows": (
        "git add . && git -c i18n.commitEncoding=none-such commit -qm mine"
    ),
    "a linked HEAD that no ref can be named": "echo 'ref: refs/heads/a..b' > $(git rev-parse --git-dir)/HEAD",
}
"""What an attempt may say of itself."""


@pytest.mark.parametrize("name", MALFORMED)
def test_what_an_attempt_says_of_itself_costs_it_nothing_where_it_is_malformed(repo: Path, name: str) -> None:
    isolation = "linked" if "linked" in name else "private"
    (repo / "otto.yaml").write_text(f"worktrees: {{isolation: {isolation}}}\n")
    run = run_plan(repo, feature("mine", f"echo x > mine.txt; {MALFORMED[name]}", max_attempts=1))
    assert run.outcome is Outcome.LANDED


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("mkdir -p src/.GIT; echo x > src/.GIT/config", "src/.GIT/config is a path that"),
        ("mkdir git~1; echo x > git~1/x", "git~1/x is a path that"),
        ("ln -s README.md .gitmodules", ".gitmodules is a link"),
    ],
)
@pytest.mark.parametrize("attributes", ["", "*.x text\n"], ids=["raw", "converting"])
@pytest.mark.parametrize("retry_from", ["tip", "attempt"])
def test_names_that_git_forbids_are_told_and_end_nothing_else(
    tmp_path: Path, script: str, words: str, attributes: str, retry_from: str
) -> None:
    repo = make_repo(tmp_path, {".gitattributes": attributes, "README.md": "x\n"})
    bad = feature("bad", script, owns=["*"], retry_from=retry_from, max_attempts=2)
    run = run_plan(repo, bad | {"depends_on": ["one"]}, writes("one"))
    assert reason_of(run, "bad").kind is ReasonKind.UNSAFE_CONTENT
    assert words in reason_of(run, "bad").message
    assert run.tasks["one"].status is TaskStatus.LANDED
    git(repo, "fsck", "--strict")


def test_i7_a_file_over_the_cap_is_kept_with_its_worktree(repo: Path, hermetic: Path) -> None:
    (repo / "otto.yaml").write_text("defaults: {max_file_mb: 1}\n")
    run = run_plan(repo, feature("mine", "head -c 1500000 /dev/zero > mine.txt", max_attempts=1))
    [kept] = hermetic.rglob(f"kept/{run.id}/mine.1/mine.txt")
    assert kept.stat().st_size == 1_500_000


def test_an_object_that_an_attempt_left_cut_off_is_not_waited_for(repo: Path) -> None:
    script = [
        "head -c 50000 /dev/urandom > mine.txt; git add -A; git commit -qm large",
        "object=$(git rev-parse HEAD:mine.txt | sed 's,^..,.git/objects/&/,'); chmod u+w $object",
        "echo x > mine.txt; git commit -qam small; truncate -s 4000 $object",
    ]
    run = run_plan(repo, feature("mine", "; ".join(script)))
    assert run.outcome is Outcome.LANDED
    git(repo, "fsck", "--strict")


def test_i7_work_in_a_worktree_that_cannot_be_captured_is_kept_and_told(repo: Path, hermetic: Path) -> None:
    (repo / ".gitattributes").write_text("*.txt working-tree-encoding=UTF-16\n")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "attributes")
    run = run_plan(
        repo, feature("mine", "printf 'odd' > mine.txt", max_attempts=1), feature("b", "echo > b", owns=["b"])
    )
    assert reason_of(run, "mine").kind is ReasonKind.UNSAFE_CONTENT
    [kept] = hermetic.rglob(f"kept/{run.id}/mine.1/mine.txt")
    assert kept.read_text() == "odd"
    assert str(kept.parent) in reason_of(run, "mine").hint
    assert run.tasks["b"].status is TaskStatus.LANDED


def test_i7_where_a_task_takes_the_place_of_what_is_set_aside_its_own_worktree_is_kept_and_told(
    repo: Path, hermetic: Path
) -> None:
    leave = "echo > ../kept; mkfifo pipe; echo precious > mine.txt"
    run = run_plan(
        repo,
        feature("mine", leave, max_attempts=1),
        feature("later", "sleep 0.2; echo > later.txt"),
        writes("last") | {"depends_on": ["later"]},
        overrides={"concurrency": 1},
    )
    assert run.tasks["last"].status is TaskStatus.LANDED
    assert run_plan(repo, writes("other")).outcome is Outcome.LANDED
    [kept] = hermetic.rglob(f"kept.{run.id}.mine.1")
    assert (kept / "mine.txt").read_text() == "precious\n"
    assert str(kept) in reason_of(run, "mine").hint


def test_filters_planted_in_ottos_own_git_directory_never_run(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, {".gitattributes": "*.txt filter=planted\n"})
    proof = tmp_path / "proof"
    plant = (
        f'git config -f "$OTTO_WORKTREE/../.otto/slot-0/git/config" filter.planted.clean "touch {proof}; cat"'
    )
    run_plan(repo, feature("mine", f"{plant}; echo x > mine.txt"))
    run_plan(repo, writes("again"))
    assert not proof.exists()


def test_attributes_left_by_a_killed_capture_convert_nothing_later(repo: Path, hermetic: Path) -> None:
    run_plan(repo, writes("first"))
    [own] = hermetic.rglob(".otto/slot-0/git")
    (own / "info/attributes").write_text("* text eol=crlf\n")
    (own.parent / "capture.index.lock").write_text("")
    (own.parent / "overlay.index.lock").write_text("")
    run = run_plan(repo, feature("mine", "printf 'a\\r\\n' > mine.txt"))
    assert git(repo, "cat-file", "-s", f"{run.tip}:mine.txt") == "3"


def test_a_foreign_directory_where_a_slot_would_be_is_refused_and_left_alone(
    repo: Path, tmp_path: Path
) -> None:
    (repo / "otto.yaml").write_text(f"worktrees: {{root: {tmp_path / 'pool'}}}\n")
    place = worktree_root(GitRepository.discover(repo), tmp_path / "pool") / "slot-0"
    place.mkdir(parents=True)
    (place / "only-copy").write_text("mine")
    with pytest.raises(RepositoryUnusable, match="nothing beside it says that Otto made it"):
        run_plan(repo, writes("one"))
    assert (place / "only-copy").read_text() == "mine"


@pytest.mark.parametrize("root", [".", "worktrees", "{repo}/sub", "{repo}/.git/sub"])
def test_a_root_for_worktrees_that_is_relative_or_inside_the_repository_is_refused(
    repo: Path, root: str
) -> None:
    (repo / "otto.yaml").write_text(f"worktrees: {{root: '{root.format(repo=repo)}'}}\n")
    with pytest.raises(UsageError, match=r"worktrees\.root"):
        run_plan(repo, writes("one"))


@pytest.mark.parametrize("line", ["!", "\\", "a\\", "[", "x\u2028mine.txt"])
def test_a_line_that_is_no_pattern_ignores_nothing(tmp_path: Path, line: str) -> None:
    repo = make_repo(tmp_path, {".gitignore": f"{line}\n*.log\n"})
    run = run_plan(repo, writes("mine"))
    assert run.outcome is Outcome.LANDED


def test_r_m9_attributes_of_the_user_or_of_another_run_decide_no_merge(repo: Path, hermetic: Path) -> None:
    (hermetic / ".config/git").mkdir(parents=True, exist_ok=True)
    (hermetic / ".config/git/attributes").write_text("* merge=union\n")
    git(repo, "config", "core.attributesFile", str(hermetic / ".config/git/attributes"))
    repository = GitRepository.discover(repo)
    sides = [
        Oid(hex=write_commit(repo, write_tree(repo, "HEAD", {"README.md": text}), "HEAD", message="side"))
        for text in ("ours\n", "theirs\n")
    ]
    merging = MergeRepository(repository.store / "merge" / "one.git", repository)
    merging.use_attributes(b"")
    other = MergeRepository(repository.store / "merge" / "two.git", repository)
    other.use_attributes(b"* merge=union\n")
    ours, theirs = sides
    assert merging.repo.merge_commits(ours, theirs).conflicts is not None
    answer = merging.merge_tree(ours, theirs)
    assert getattr(answer, "clean", None) is False


def test_r_x1_what_landed_but_was_not_published_is_published_by_the_next_build(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        """Stands for the instant at which the driver died."""

    def die(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr("otto_core.landing.publish", die)
        with pytest.raises(Cut):
            run_plan(repo, writes("one"))
    run_plan(repo, writes("two"))
    assert git(repo, "show", "otto/test:one.txt") == "one"


@pytest.mark.parametrize("obstacle", ["ref", "lock"])
def test_a_branch_that_cannot_be_written_is_told_and_the_run_goes_on(repo: Path, obstacle: str) -> None:
    def obstruct(event: ev.Event, _: Run) -> None:
        if isinstance(event, ev.LandingStarted):
            if obstacle == "ref":
                git(repo, "update-ref", "refs/heads/otto/test/below", "HEAD")
            else:
                (repo / ".git/refs/heads/otto").mkdir(exist_ok=True)
                (repo / ".git/refs/heads/otto/test.lock").touch()

    run = run_plan(repo, writes("one"), observe=obstruct)
    assert run.outcome is Outcome.LANDED
    assert run.withheld is not None


def test_r_x10_an_old_run_that_cannot_be_settled_is_told_and_blocks_no_other(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        """Stands for the instant at which the driver died."""

    def die(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr("otto_core.landing.swap", die)
        with pytest.raises(Cut):
            run_plan(repo, writes("one"))
    repository = GitRepository.discover(repo)
    with Journal.open(repository.store / STORE) as journal:
        old = journal.load(journal.run_ids()[0])
        git(repo, "update-ref", "-d", f"refs/otto/runs/{old.id}/tip")
        [problem] = reconcile_all(repository, journal)
    landing = old.tasks["one"].landing
    assert landing is not None
    assert old.id in problem
    assert landing.candidate in problem
    assert run_plan(repo, writes("two")).outcome is Outcome.LANDED


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        ("hang", Outcome.LANDED),
        ("test -f mine.txt && hang; exit 1", Outcome.FAILED),
        ("test -f mine.txt && exit 1; hang", Outcome.FAILED),
    ],
    ids=["hangs on both", "fails on the base, hangs on the result", "hangs on the base, fails on the result"],
)
def test_r_m7_only_what_ends_alike_on_the_base_is_excused(
    repo: Path, check: str, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits_fire_at(monkeypatch, tmp_path / "hangs")
    hang = f"hang() {{ touch {tmp_path}/hangs; sleep 600; }}"
    run = run_plan(repo, writes("mine") | {"max_attempts": 1}, verify={"each": [f"{hang}; {check}"]})
    assert run.outcome is outcome
    results = [verdict.result for verdict in run.tasks["mine"].verdicts]
    assert results == ["timeout" if "&& exit" not in check else "failed"]


def test_r_x2_recorded_contract_versions_are_those_of_the_pinned_base(repo: Path) -> None:
    names = [f"t{n}" for n in range(12)]
    run = run_plan(
        repo,
        feature("base", "echo begin > list.txt", owns=["list.txt"], role="foundation", provides=["list"]),
        *(feature(n, f"echo {n} >> list.txt; echo > {n}.txt", extends=["list"]) for n in names),
        contracts=[{"id": "list", "paths": ["list.txt"], "merge": "union"}],
    )
    for name in names:
        start = run.tasks[name].attempts[0].start
        blob = git(repo, "rev-parse", f"{start.base}:list.txt")
        assert blob in git(repo, "ls-tree", start.contracts["list"] or "")
