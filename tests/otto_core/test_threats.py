"""The threat list: what agents do to Git by accident or otherwise, each with its right behaviour.

Every row runs for real, swept and in a namespace. Three things can be right: the trick reaches nobody; it
hides nothing; it runs no program of the agent's with Otto's hands.
"""

from pathlib import Path

import pytest

from otto_core.model import Outcome, ReasonKind
from tests.builders import git, make_repo
from tests.otto_core.runs import content, feature, files, fingerprint, reason_of, run_plan
from tests.otto_core.sandboxes import NAMESPACE

OWN = (".git/otto", ".git/objects", ".git/refs/otto", ".git/refs/heads/otto", ".git/logs/refs/heads/otto")


@pytest.fixture(autouse=True, params=["subreaper", pytest.param("bwrap", marks=NAMESPACE)])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run in each mode; OTTO_SANDBOX is what a person would set."""
    monkeypatch.setenv("OTTO_SANDBOX", request.param)
    return str(request.param)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a stash, a tag, a second branch and a hook of the user's."""
    made = make_repo(tmp_path, {"README.md": "Start.\n", "src/app.py": "print('hello')\n"})
    (made / "README.md").write_text("stashed\n")
    git(made, "stash")
    git(made, "branch", "topic")
    git(made, "tag", "v1")
    hook = made / ".git/hooks/post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
    hook.chmod(0o755)
    (made / "dirty.txt").write_text("not committed\n")
    return made


# --- it reaches nobody

REACH = {
    "configuration": "git config core.pager evil; git config user.name Mallory; git config alias.st '!evil'",
    "hooks": "mkdir -p .git/hooks; echo 'evil' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit",
    "a stash made": "echo other > src/app.py; git stash",
    "a stash popped": "git stash pop; git stash drop; git stash clear; true",
    "branches and tags": "git branch -f main HEAD; git branch -D topic; git tag -d v1; git branch mine; true",
    "a hard reset": "git commit -q --allow-empty -m x; git reset -q --hard HEAD~1; git checkout -q -b other",
    "collected garbage": "git reflog expire --expire=now --all; git gc -q --prune=now",
    "a worktree of its own": "git worktree add -q $TMPDIR/other; echo x > $TMPDIR/other/README.md",
    "a lock left on its index": "touch .git/index.lock .git/HEAD.lock .git/config.lock",
    "replaced objects": 'git replace "$(git rev-parse HEAD:README.md)" "$(git rev-parse HEAD:src/app.py)"',
    "a .git that points at the user's": "rm -rf .git; echo 'gitdir: {repo}/.git' > .git",
    "a .git that links to the user's": "rm -rf .git; ln -s {repo}/.git .git",
    "grafts and alternates": "echo /nowhere > .git/objects/info/alternates; echo x > .git/info/grafts",
    "a rebase left half done": "mkdir .git/rebase-merge; echo x > .git/MERGE_HEAD; echo x > .git/ORIG_HEAD",
}


@pytest.mark.parametrize("trick", REACH)
def test_i8_what_an_agent_does_to_its_git_reaches_neither_the_user_nor_the_next_attempt(
    repo: Path, tmp_path: Path, trick: str
) -> None:
    before = fingerprint(repo, less=OWN)
    bad = run_plan(repo, feature("mine", REACH[trick].format(repo=repo) + "; echo mine > mine.txt"))
    assert bad.outcome is Outcome.LANDED
    assert content(repo, bad, "mine.txt") == "mine"
    check = (
        'test "$(cat README.md)" = Start. && test -z "$(git status --porcelain)" && git stash list > one.txt'
        ' && ! test -s one.txt && test "$(git log -1 --format=%s)" = start && ! git config alias.st'
    )
    good = run_plan(repo, feature("one", f"{check} && echo one > one.txt"))
    assert good.outcome is Outcome.LANDED, good.tasks["one"].reason
    assert fingerprint(repo, less=OWN) == before
    assert not (tmp_path / "hook-ran").exists()
    git(repo, "fsck", "--strict")


def test_i8_an_attempt_that_commits_through_a_swapped_git_file_lands_its_files_only(
    repo: Path, mode: str
) -> None:
    before = fingerprint(repo, less=OWN)
    swap = f"echo 'gitdir: {repo}/.git' > x; echo mine > mine.txt; rm -rf .git; mv x .git; echo ok"
    commit = "git add -A; git commit -qm sneak; true" if mode == "bwrap" else "true"
    run = run_plan(repo, feature("mine", f"{swap}; {commit}"))
    assert files(repo, run) == ["README.md", "mine.txt", "src/app.py"]
    assert fingerprint(repo, less=OWN) == before


def test_r_m2_objects_that_the_user_replaced_are_not_what_is_built_on(repo: Path) -> None:
    git(repo, "replace", git(repo, "rev-parse", "HEAD:README.md"), git(repo, "rev-parse", "HEAD:src/app.py"))
    run = run_plan(repo, feature("mine", "sed 's/^/is /' README.md > mine.txt"))
    assert content(repo, run, "mine.txt") == "is Start."


# --- it hides nothing

HIDE = {
    "assume-unchanged": "git add -A; git update-index --assume-unchanged README.md; echo y >> README.md",
    "skip-worktree": "git update-index --skip-worktree README.md; echo y >> README.md",
    "committed": "echo y >> README.md; git add -A; git commit -qm sneak",
    "amended": "echo y >> README.md; git commit -qa --amend -m start",
    "forged times": "touch -r README.md s; echo Stare. > README.md; touch -r s README.md; rm s",
    "a poisoned index": "printf 'junk' > .git/index; echo y >> README.md",
    "no git directory": "rm -rf .git; echo y >> README.md",
    "core.worktree": "git config core.worktree /; echo y >> README.md",
    "a sparse checkout": "git sparse-checkout set --no-cone src; git config core.sparseCheckout true; true",
    "filters": "git config core.fileMode false; git config filter.x.clean true; echo y >> README.md",
    "info/exclude": "echo 'new.txt' >> .git/info/exclude; echo y > new.txt; echo y >> README.md",
    "a planted .gitignore": "echo '*' > .gitignore; echo y >> README.md",
    "planted attributes": "echo '* -diff binary export-ignore' > .gitattributes; echo y >> README.md",
    "a global ignore file": "echo '*' > ~/.gitignore; git config --global core.excludesFile ~/.gitignore;"
    " echo y >> README.md",
    "a link in its place": "rm README.md; ln -s src/app.py README.md",
    "only its mode": "chmod +x README.md",
    "its name in another case": "mv README.md readme.md",
}


@pytest.mark.parametrize("trick", HIDE)
def test_i4_no_trick_with_git_hides_a_foreign_edit(repo: Path, trick: str) -> None:
    before = fingerprint(repo, less=OWN)
    run = run_plan(repo, feature("mine", f"echo x > mine.txt; {HIDE[trick]}", max_attempts=1))
    assert reason_of(run, "mine").kind is ReasonKind.WRITE_GATE
    assert b"README.md" in reason_of(run, "mine").paths
    assert run.tip == run.start.base
    assert fingerprint(repo, less=OWN) == before


# --- it runs no program

PROGRAMS = {
    "core.fsmonitor": "git config core.fsmonitor '{evil}'",
    "a hook": "mkdir -p .git/hooks; for h in post-checkout post-index-change pre-commit;"
    " do printf '#!/bin/sh\\n{evil}\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done",
    "core.hooksPath": "mkdir h; printf '#!/bin/sh\\n{evil}\\n' > h/post-index-change; chmod +x h/*;"
    " git config core.hooksPath h",
    "a filter": "git config filter.evil.clean '{evil}; cat'; git config filter.evil.smudge '{evil}; cat';"
    " echo '* filter=evil' > .git/info/attributes",
    "a merge driver": "git config merge.evil.driver '{evil}'; echo '* merge=evil' > .git/info/attributes",
    "an external diff": "git config diff.external '{evil}'; git config core.pager '{evil}'",
    "signing": "git config commit.gpgSign true; git config gpg.program '{evil}'",
    "an editor and ssh": "git config core.sshCommand '{evil}'; git config core.editor '{evil}'",
}


@pytest.mark.parametrize("trick", PROGRAMS)
def test_configuration_of_the_agents_runs_no_program_with_ottos_hands(
    repo: Path, tmp_path: Path, trick: str
) -> None:
    plant = PROGRAMS[trick].replace("{evil}", f"touch {tmp_path}/ran")
    plan = [
        feature("mine", f"{plant}; rm -f {tmp_path}/ran; echo mine > mine.txt", owns=["mine.txt", "h/"]),
        feature("other", "echo other > other.txt", depends_on=["mine"]),
    ]
    assert run_plan(repo, *plan).outcome is Outcome.LANDED
    assert not (tmp_path / "ran").exists()


def test_r_m9_attributes_planted_by_a_task_that_owns_them_do_not_convert_its_own_result(
    repo: Path,
) -> None:
    plant = "echo '* text eol=lf' > .gitattributes; printf 'a\\r\\n' > mine.txt"
    run = run_plan(repo, feature("mine", plant, owns=["mine.txt", ".gitattributes"]))
    assert git(repo, "cat-file", "-s", f"{run.tip}:mine.txt") == "3"


# --- secrets


def test_values_passed_to_an_attempt_do_not_reach_its_log(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "s3cr3t-value")
    (repo / "otto.yaml").write_text("env_pass: [API_KEY]\n")
    run = run_plan(repo, feature("mine", "echo key $API_KEY; echo ok > mine.txt"))
    assert run.outcome is Outcome.LANDED
    [log] = (repo / ".git/otto/logs" / run.id).iterdir()
    assert log.read_text() == "key [redacted API_KEY]\n"
    assert log.stat().st_mode & 0o777 == 0o600
