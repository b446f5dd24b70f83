"""What of an attempt's own commits comes into the user's repository: all that they need, or nothing.

The repository is as whole afterwards as before: git's own check and its garbage collection say so.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from merge.objects import Oid
from otto_core.git.adoption import History, adopt_commits
from otto_core.git.private import prepare_private
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.refnames import run_ref, task_ref
from tests.builders import git, make_repo
from tests.otto_core.cleans import cleaned, kept, pool
from tests.otto_core.runs import feature, run_and_merge, run_plan

WHO = "a <a@example.com> 1 +0000"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path, {"README.md": "Start.\n", "src/app.py": "print('hello')\n"})


@pytest.fixture
def agent(repo: Path, tmp_path: Path) -> Path:
    """Give a checkout that borrows the user's objects, with a commit of its own."""
    place = tmp_path / "agent"
    git(repo, "clone", "--quiet", "--shared", str(repo), str(place))
    (place / "made").write_text("x\n")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "Mine")
    return place


def adopted(repo: Path, agent: Path, head: str) -> History | None:
    repository = GitRepository.discover(repo)
    own = repo.parent / "own"
    prepare_private(own, repository)
    return adopt_commits(repository, own, agent / ".git/objects", Oid(hex=head))


def whole(repo: Path) -> None:
    """Make sure that git finds nothing wrong with a repository and can still collect its garbage."""
    git(repo, "fsck", "--strict")
    git(repo, "gc", "--quiet")
    git(repo, "log", "--all", "--oneline")


def holds(agent: Path, kind: str, content: str | bytes) -> str:
    """Write an object as it is, whatever git thinks of it; gives its id."""
    data = content if isinstance(content, bytes) else content.encode()
    return git(agent, "hash-object", "-t", kind, "-w", "--stdin", "--literally", stdin=data)


def commit(agent: Path, *lines: str, tree: str = "HEAD^{tree}") -> str:
    """Write a commit with these lines after that of its tree."""
    at = git(agent, "rev-parse", tree)
    return holds(agent, "commit", "\n".join((f"tree {at}", *lines, "", "forged\n")))


def ordinary(agent: Path, *, tree: str) -> str:
    return commit(agent, f"author {WHO}", f"committer {WHO}", tree=tree)


def tree(agent: Path, *entries: tuple[str, str, str]) -> str:
    """Write a tree of modes, names and what they name, in this order."""
    ids = (bytes.fromhex(git(agent, "rev-parse", at)) for _, _, at in entries)
    rows = (f"{mode} {name}\0".encode() + raw for (mode, name, _), raw in zip(entries, ids, strict=True))
    return holds(agent, "tree", b"".join(rows))


def listed(agent: Path, *entries: tuple[str, str, str]) -> str:
    return ordinary(agent, tree=tree(agent, *entries))


def tagged(agent: Path, name: str, *what: str) -> str:
    git(agent, "tag", "--annotate", "--message", "A release", name, *what)
    return git(agent, "rev-parse", f"refs/tags/{name}")


BLOB, TREE = "HEAD:made", "HEAD:src"

FORGED: dict[str, Callable[[Path], str]] = {
    "a blob for a head": lambda a: git(a, "rev-parse", BLOB),
    "a tree for a head": lambda a: git(a, "rev-parse", TREE),
    "a tag of a tree": lambda a: tagged(a, "v1", TREE),
    "a tag that names a blob a commit": lambda a: holds(
        a, "tag", f"object {git(a, 'rev-parse', BLOB)}\ntype commit\ntag v1\ntagger {WHO}\n\nx\n"
    ),
    "a tag of what is missing": lambda a: holds(
        a, "tag", f"object {'12' * 20}\ntype commit\ntag v1\ntagger {WHO}\n\nx\n"
    ),
    "a blob for a tree": lambda a: ordinary(a, tree=BLOB),
    "the user's blob for a tree": lambda a: ordinary(a, tree="HEAD:README.md"),
    "a commit for a tree": lambda a: ordinary(a, tree="HEAD"),
    "a missing tree": lambda a: holds(a, "commit", f"tree {'12' * 20}\nauthor {WHO}\ncommitter {WHO}\n\nx\n"),
    "a tree for a parent": lambda a: commit(
        a, f"parent {git(a, 'rev-parse', TREE)}", f"author {WHO}", f"committer {WHO}"
    ),
    "a tag for a parent": lambda a: commit(
        a, f"parent {tagged(a, 'v1')}", f"author {WHO}", f"committer {WHO}"
    ),
    "a missing parent": lambda a: commit(a, f"parent {'12' * 20}", f"author {WHO}", f"committer {WHO}"),
    "a file that is a tree": lambda a: listed(a, ("100644", "x", TREE)),
    "a link that is a commit": lambda a: listed(a, ("120000", "x", "HEAD")),
    "a directory that is a blob": lambda a: listed(a, ("40000", "x", BLOB)),
    "a directory that is the user's blob": lambda a: listed(a, ("40000", "x", "HEAD:README.md")),
    "a directory that is a commit": lambda a: listed(a, ("40000", "x", "HEAD")),
    "a mode that git does not have": lambda a: listed(a, ("100600", "x", BLOB)),
    "a mode with a zero before it": lambda a: listed(a, ("040000", "x", TREE)),
    "names out of order": lambda a: listed(a, ("100644", "y", BLOB), ("100644", "x", BLOB)),
    "a name twice": lambda a: listed(a, ("100644", "x", BLOB), ("100644", "x", BLOB)),
    "a file and a directory of one name": lambda a: listed(
        a, ("100644", "x", BLOB), ("100644", "x-", BLOB), ("40000", "x", TREE)
    ),
    "a name that is a path": lambda a: listed(a, ("100644", "x/y", BLOB)),
    "a link that git reads submodules from": lambda a: listed(a, ("120000", ".gitmodules", BLOB)),
    "a tree that is cut off": lambda a: ordinary(a, tree=holds(a, "tree", b"100644 x\0short")),
    "no committer": lambda a: commit(a, f"author {WHO}"),
    "two authors": lambda a: commit(a, f"author {WHO}", f"author {WHO}", f"committer {WHO}"),
    "a date that is none": lambda a: commit(a, "author a <a@example.com> 01 +0000", f"committer {WHO}"),
    "a NUL in the message": lambda a: commit(a, f"author {WHO}", f"committer {WHO}", "", "a\0b"),
}
"""Heads that are no commit, or need an object that is missing or another than its place asks for."""


@pytest.mark.parametrize("name", FORGED)
def test_i8_of_commits_that_do_not_hold_together_nothing_is_adopted(
    repo: Path, agent: Path, name: str
) -> None:
    before = git(repo, "count-objects", "-v")
    assert adopted(repo, agent, FORGED[name](agent)) is None
    assert git(repo, "count-objects", "-v") == before
    whole(repo)


SOUND: dict[str, Callable[[Path], str]] = {
    "a commit": lambda a: git(a, "rev-parse", "HEAD"),
    "a tag of a commit": lambda a: tagged(a, "v1"),
    "a tag of a tag": lambda a: tagged(a, "v2", tagged(a, "v1")),
}


@pytest.mark.parametrize("name", SOUND)
def test_i7_what_a_tag_leads_to_is_adopted_and_the_tag_is_not(repo: Path, agent: Path, name: str) -> None:
    head = git(agent, "rev-parse", "HEAD")
    found = adopted(repo, agent, SOUND[name](agent))
    assert found == History(Oid(hex=head), ("Mine",))
    git(repo, "update-ref", "refs/otto/mine", head)
    whole(repo)
    assert git(repo, "show", "refs/otto/mine:made") == "x"


ODD: dict[str, Callable[[Path], str]] = {
    "a gitlink to what is nowhere": lambda a: ordinary(
        a, tree=git(a, "mktree", "--missing", stdin=b"160000 commit " + b"12" * 20 + b"\tsub\n")
    ),
    "an empty tree": lambda a: ordinary(a, tree=holds(a, "tree", "")),
    "an empty tree that was never written": lambda a: ordinary(
        a, tree=git(a, "hash-object", "-t", "tree", "--stdin")
    ),
    "links and programs": lambda a: listed(
        a, ("100755", "a", BLOB), ("120000", "b", BLOB), ("40000", "b-", TREE), ("100644", "b.c", BLOB)
    ),
    "two parents, one of them unrelated": lambda a: commit(
        a,
        f"parent {git(a, 'rev-parse', 'HEAD')}",
        f"parent {ordinary(a, tree=TREE)}",
        f"author  <> 1 +0000\ncommitter {WHO}\nencoding none-such\ngpgsig x\n y",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_commits_that_are_odd_and_hold_together_are_adopted(repo: Path, agent: Path, name: str) -> None:
    head = ODD[name](agent)
    found = adopted(repo, agent, head)
    assert found is not None
    git(repo, "update-ref", "refs/otto/mine", head)
    whole(repo)


# --- through a build

MINE = "echo x > mine.txt; git add -A; git commit -qm Mine"
TAG = f"{MINE}; git tag -a v9.9 -m 'A release'; git symbolic-ref HEAD refs/tags/v9.9"
LINKED_TAG = (
    f"{MINE}; git tag -a v9.9 -m x; H=$(git rev-parse v9.9); echo $H > $(git rev-parse --git-dir)/HEAD"
)
FORGE = (
    f"printf 'tree %s\\nauthor {WHO}\\ncommitter {WHO}\\n\\nx\\n' $AT"
    " | git hash-object -t commit -w --stdin --literally"
)
FORGED_HEADS = {
    "a blob for a tree": f"AT=$(git hash-object -w mine.txt); {FORGE} > head; mv head .git/HEAD",
    "a missing tree": f"AT={'12' * 20}; {FORGE} > head; mv head .git/HEAD",
    "a tag of a tree": "git tag -a v1 -m x HEAD:src; git rev-parse v1 > head; mv head .git/HEAD",
}


@pytest.mark.parametrize("isolation", ["private", "linked"])
def test_i7_i8_an_attempt_whose_head_is_a_tag_keeps_its_commit_and_the_users_repository_is_whole(
    repo: Path, isolation: str
) -> None:
    (repo / "otto.yaml").write_text(f"worktrees: {{isolation: {isolation}}}\n")
    script = TAG if isolation == "private" else LINKED_TAG
    run = run_and_merge(repo, feature("mine", script))
    assert run.outcome is Outcome.LANDED
    evidence = task_ref(run.id, "mine", "evidence-1")
    assert git(repo, "cat-file", "-t", evidence) == "commit"
    assert git(repo, "log", "-1", "--format=%s", evidence) == "Mine"
    whole(repo)
    assert kept(cleaned(repo)) == {}
    assert git(repo, "for-each-ref", run_ref(run.id)) == ""


@pytest.mark.parametrize("name", FORGED_HEADS)
def test_i7_i8_a_worktree_whose_commits_cannot_be_adopted_is_set_aside_and_stays(
    repo: Path, name: str
) -> None:
    run = run_and_merge(repo, feature("mine", f"{MINE}; {FORGED_HEADS[name]}"))
    assert run.outcome is Outcome.LANDED
    assert git(repo, "for-each-ref", task_ref(run.id, "mine", "evidence-1")) == ""
    whole(repo)
    place = pool(run) / "kept" / run.id / "mine.1"
    assert kept(cleaned(repo)) == {str(place): "no commit holds all that is in it"}
    assert git(place, "log", "-1", "--format=%s", "refs/heads/otto") == "Mine"


def test_i8_a_linked_attempt_whose_head_does_not_hold_together_pins_nothing(repo: Path) -> None:
    (repo / "otto.yaml").write_text("worktrees: {isolation: linked}\n")
    forged = f"AT=$(git hash-object -w mine.txt); {FORGE}"
    run = run_plan(repo, feature("mine", f"{MINE}; H=$({forged}); echo $H > $(git rev-parse --git-dir)/HEAD"))
    assert run.outcome is Outcome.LANDED
    assert git(repo, "for-each-ref", task_ref(run.id, "mine", "evidence-1")) == ""
    git(repo, "rev-list", "--all", "--objects")
