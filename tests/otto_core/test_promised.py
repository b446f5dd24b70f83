"""Partial clones: what a base needs and only the remote has is told before there is a run."""

from pathlib import Path

import pytest

from otto_core.errors import RepositoryUnusable
from otto_core.examination import examine
from otto_core.git.promised import require_fetched
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.refnames import task_ref
from tests.builders import git, make_repo
from tests.otto_core.runs import feature, run_plan, writes

HINT = "git fetch --refetch --no-filter origin"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Make a repository that lets others clone a part of it."""
    place = make_repo(
        tmp_path / "served", {"README.md": "x\n", "src/a.py": "a\n", "otto.yaml": "concurrency: 1\n"}
    )
    git(place, "config", "uploadpack.allowFilter", "true")
    return place


def cloned(served: Path, tmp_path: Path, *options: str) -> Path:
    place = tmp_path / "partial"
    git(served, "clone", "--quiet", *options, served.as_uri(), str(place))
    return place


def fetch(repo: Path) -> None:
    git(repo, *HINT.split()[1:], "--quiet")


@pytest.mark.parametrize(
    ("kept_out", "named"), [("blob:none", "README.md of "), ("tree:0", "a directory of ")]
)
def test_a_base_that_a_partial_clone_lacks_is_refused_before_there_is_a_run_until_it_is_fetched(
    served: Path, tmp_path: Path, kept_out: str, named: str
) -> None:
    repo = cloned(served, tmp_path, f"--filter={kept_out}", "--no-checkout")
    with pytest.raises(RepositoryUnusable, match=f"^{named}.* is not here: .* of 'origin'$") as caught:
        run_plan(repo, writes("one"))
    assert caught.value.hint.endswith(HINT)
    assert not (repo / ".git/otto").exists()
    bad = {found.check: found.hint for found in examine(GitRepository.discover(repo)) if found.level == "bad"}
    assert bad == {"repository": caught.value.hint, "configuration": "run `otto doctor`"}
    fetch(repo)
    assert run_plan(repo, writes("one")).outcome is Outcome.LANDED
    git(repo, "fsck", "--strict")


def test_a_partial_clone_that_has_all_of_the_base_is_built_in(served: Path, tmp_path: Path) -> None:
    git(served, "rm", "-q", "src/a.py")
    git(served, "commit", "-qm", "Less")
    repo = cloned(served, tmp_path, "--filter=blob:none")
    assert "?" in git(repo, "rev-list", "--objects", "--missing=print", "HEAD")
    assert run_plan(repo, writes("one")).outcome is Outcome.LANDED


def test_the_checkout_of_a_part_of_a_partial_clone_lacks_the_rest(served: Path, tmp_path: Path) -> None:
    repo = cloned(served, tmp_path, "--filter=blob:none", "--sparse")
    with pytest.raises(RepositoryUnusable, match=r"^src/a.py of "):
        run_plan(repo, writes("one"))


@pytest.mark.parametrize(("said", "refused"), [("false", False), ("yes", True)])
def test_only_where_a_promisor_is_configured_is_a_base_looked_at(
    tmp_path: Path, said: str, refused: bool
) -> None:
    repo = make_repo(tmp_path)
    git(repo, "config", "remote.origin.promisor", said)
    repository = GitRepository.discover(repo)
    head = repository.resolve("HEAD")
    blob = git(repo, "rev-parse", "HEAD:README.md")
    (repo / ".git/objects" / blob[:2] / blob[2:]).unlink()
    if refused:
        with pytest.raises(RepositoryUnusable, match=r"^README.md of "):
            require_fetched(repository, head)
    else:
        require_fetched(repository, head)


def test_i7_what_a_linked_attempt_committed_in_a_partial_clone_is_kept_while_the_remote_is_gone(
    served: Path, tmp_path: Path
) -> None:
    """Its history needs old files of a branch that it merged, which nobody has fetched; nor does Otto."""
    (served / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    git(served, "commit", "-qam", "Linked")
    git(served, "checkout", "-qb", "side")
    for content in ("old", "new"):
        (served / "mine.txt").write_text(content)
        git(served, "add", "-A")
        git(served, "commit", "-qm", content)
    git(served, "checkout", "-q", "-")
    repo = cloned(served, tmp_path, "--filter=blob:none")
    commits = "git merge -q --no-ff -m Merge origin/side; echo x > mine.txt; git commit -qam Mine"
    run = run_plan(repo, feature("mine", f"{commits}; mv {served} {served}.gone"))
    assert run.outcome is Outcome.LANDED
    kept = task_ref(run.id, "mine", "evidence-1")
    assert git(repo, "log", "-1", "--format=%s", kept) == "Mine"
