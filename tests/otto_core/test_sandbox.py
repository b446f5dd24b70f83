"""What a command sees of the machine: views as plain data, and real runs in a namespace."""

import os
from pathlib import Path

import pytest

from otto_core import events as ev
from otto_core.errors import ExitCode, UsageError
from otto_core.model import Outcome, ReasonKind
from otto_core.sandbox import Unusable, View, choose, compose_view, probe
from otto_core.state import Run
from tests.builders import git, make_repo
from tests.otto_core.runs import content, feature, fingerprint, reason_of, run_plan, writes
from tests.otto_core.sandboxes import NAMESPACE

# --- views


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home/person"
    made.mkdir(parents=True)
    return made


def view(home: Path, **places: object) -> View:
    given = {"repository": (), "objects": (), "hidden": (), "named": (), "path": "", **places}
    return compose_view("/usr/bin/bwrap", home=home, **given)  # type: ignore[arg-type]


def made(*places: Path) -> tuple[Path, ...]:
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    return places


def test_a_repository_outside_the_home_can_be_read(home: Path, tmp_path: Path) -> None:
    places = made(tmp_path / "repo", tmp_path / "repo/.git")
    assert view(home, repository=places).readable == set(places)


def test_of_a_repository_in_the_home_only_its_objects_can_be_read(home: Path) -> None:
    repo, objects = made(home / "repo", home / "repo/.git/objects")
    assert view(home, repository=[repo], objects=[objects]).readable == {objects}


def test_hidden_places_in_the_home_are_hidden_with_it(home: Path, tmp_path: Path) -> None:
    inside, outside = made(home / ".cache/otto", tmp_path / "pool")
    assert view(home, hidden=[inside, outside]).hidden == {outside}


def test_what_is_named_below_the_home_can_be_read_if_it_is_there(home: Path) -> None:
    made(home / ".cargo")
    assert view(home, named=[".cargo", ".rustup"]).readable == {home / ".cargo"}


@pytest.mark.parametrize(
    ("entry", "shown"),
    [(".pyenv/shims", ".pyenv"), (".local/bin", ".local"), ("bin", "bin"), ("tools", "tools")],
)
def test_what_a_search_path_leads_to_in_the_home_can_be_read(home: Path, entry: str, shown: str) -> None:
    [directory] = made(home / entry)
    assert view(home, path=f"/usr/bin:{directory}").readable == {home / shown}


def test_an_interpreter_in_the_home_can_be_read_by_the_links_to_it(home: Path, tmp_path: Path) -> None:
    installed, venv = made(home / ".pyenv/versions/3.11/bin", tmp_path / "venv/bin")
    (installed / "python3").touch()
    (venv / "python").symlink_to(installed / "python3")
    assert view(home, path=str(venv)).readable == {installed.parent}


def test_a_search_path_with_a_loop_of_links_shows_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert view(home, path=f"{tmp_path / 'loop'}:{tmp_path / 'none'}").readable == frozenset()


def test_ottos_store_stays_hidden_in_a_repository_that_a_search_path_shows(home: Path) -> None:
    repo, store, _ = made(home / "repo", home / "repo/.git/otto", home / "repo/bin")
    composed = view(home, hidden=[store], path=str(repo / "bin"))
    assert composed.readable == {repo}
    assert composed.hidden == {store}


def test_the_home_as_a_whole_is_never_shown_by_a_search_path(home: Path) -> None:
    made(home / "bin")
    assert view(home, path=f"{home}:{home / 'bin'}").readable == {home / "bin"}


def test_a_home_at_the_root_is_not_replaced(tmp_path: Path) -> None:
    [repo] = made(tmp_path / "repo")
    composed = view(Path("/"), repository=[repo])
    assert composed.home is None
    assert composed.readable == {repo}


def test_inner_places_are_mounted_after_those_around_them(tmp_path: Path) -> None:
    root, work, repo = tmp_path / "pool", tmp_path / "pool/slot-0", tmp_path / "repo"
    composed = View("bwrap", tmp_path, frozenset({root}), frozenset({repo}))
    cage = composed.cage(work=work, writable=(), home=Path("/elsewhere"))
    told = [cage.index(str(place)) for place in (tmp_path, root, work)]
    assert told == sorted(told)


# --- probing


def fake(tmp_path: Path, script: str) -> dict[str, str]:
    """Put a `bwrap` of the given behaviour first on the search path."""
    place = tmp_path / "bin/bwrap"
    place.parent.mkdir()
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)
    return {**os.environ, "PATH": f"{place.parent}:{os.environ['PATH']}"}


FORBIDDEN = "echo 'bwrap: No permissions to create new namespace' >&2; exit 1"


@pytest.mark.parametrize(
    "script",
    [FORBIDDEN, 'shift; while [ "$1" != sh ]; do shift; done; exec "$@"'],
    ids=["forbidden", "pretends"],
)
def test_bubblewrap_that_makes_no_namespace_is_not_used(tmp_path: Path, script: str) -> None:
    environ = fake(tmp_path, script)
    assert isinstance(probe(environ), Unusable)
    assert choose("auto", environ) == ("subreaper", "")


def test_bubblewrap_that_is_demanded_and_forbidden_is_refused_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No permissions to create new namespace") as refused:
        choose("bwrap", fake(tmp_path, FORBIDDEN))
    assert refused.value.exit_code is ExitCode.USAGE
    assert "sandbox: auto" in refused.value.hint


def test_bubblewrap_that_is_not_installed_is_told(tmp_path: Path) -> None:
    answer = probe({"PATH": str(tmp_path)})
    assert isinstance(answer, Unusable)
    assert "not installed" in answer.why


# --- real runs


@pytest.fixture
def sandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTO_SANDBOX", "bwrap")


@NAMESPACE
@pytest.mark.usefixtures("sandboxed")
class TestNamespace:
    """Runs whose commands are in a namespace of bubblewrap's."""

    def test_r_g6_the_mode_is_journalled(self, tmp_path: Path) -> None:
        run = run_plan(make_repo(tmp_path), writes("one"))
        assert run.outcome is Outcome.LANDED
        assert run.start.settings.sandbox == "bwrap"

    def test_i8_the_users_repository_and_the_journal_are_out_of_reach(self, tmp_path: Path) -> None:
        repo = make_repo(tmp_path)
        git(repo, "config", "some.key", "value")
        before = fingerprint(repo, less=[".git/otto", ".git/refs", ".git/objects", ".git/logs"])
        git_dir = ("config", "HEAD", "hooks/post-commit", "refs/heads/main", "otto/otto.db")
        targets = " ".join([f"{repo}/README.md", f"{repo}/new", *(f"{repo}/.git/{name}" for name in git_dir)])
        attack = f"for p in {targets}; do echo x > $p; done; rm -rf {repo}; echo done > mine.txt"
        run = run_plan(repo, feature("mine", attack))
        assert content(repo, run, "mine.txt") == "done"
        assert run.outcome is Outcome.LANDED
        assert fingerprint(repo, less=[".git/otto", ".git/refs", ".git/objects", ".git/logs"]) == before
        git(repo, "fsck", "--strict")

    def test_i8_what_is_out_of_reach_cannot_be_uncovered(self, tmp_path: Path, hermetic: Path) -> None:
        repo = make_repo(tmp_path)
        (hermetic / "secret").write_text("only copy")
        before = fingerprint(repo, less=[".git/otto", ".git/refs", ".git/objects", ".git/logs"])
        covers = " ".join(
            map(str, (repo / ".git/otto", repo / ".git/objects", repo / ".git", repo, hermetic))
        )
        attack = (
            f"cd /; for p in {covers}; do umount $p; mount -o remount,rw $p; done; echo x > {repo}/written;"
            f" cat {hermetic}/secret > {tmp_path}/stolen;"
            f" for f in secret new; do echo x > {hermetic}/$f; done;"
            ' unshare -Urm true; cd "$OTTO_WORKTREE"; grep CapEff /proc/self/status > mine.txt'
        )
        run = run_plan(repo, feature("mine", attack))
        assert content(repo, run, "mine.txt").split() == ["CapEff:", "0" * 16]
        assert fingerprint(repo, less=[".git/otto", ".git/refs", ".git/objects", ".git/logs"]) == before
        assert (tmp_path / "stolen").read_text() == ""
        assert (hermetic / "secret").read_text() == "only copy"
        assert not (hermetic / "new").exists()

    def test_a_program_of_the_home_that_is_not_shown_lands_nothing_unchecked(
        self, tmp_path: Path, hermetic: Path
    ) -> None:
        tool = hermetic / "tools/check"
        tool.parent.mkdir()
        tool.write_text("#!/bin/sh\nexit 1\n")
        tool.chmod(0o755)
        run = run_plan(
            make_repo(tmp_path), writes("one") | {"max_attempts": 1}, verify={"each": [[str(tool)]]}
        )
        reason = reason_of(run, "one")
        assert reason.kind is ReasonKind.SETUP_FAILED
        assert "in the sandbox" in reason.message
        assert "home_pass" in reason.hint

    def test_a_place_that_vanishes_during_a_run_spoils_no_attempt(self, tmp_path: Path) -> None:
        repo = make_repo(tmp_path)
        linked = tmp_path / "linked"
        git(repo, "worktree", "add", "-q", str(linked))

        def remove(event: ev.Event, _: Run) -> None:
            if isinstance(event, ev.AttemptProduced) and linked.exists():
                git(repo, "worktree", "remove", str(linked))

        run = run_plan(repo, writes("one"), writes("two") | {"depends_on": ["one"]}, observe=remove)
        assert run.outcome is Outcome.LANDED

    def test_a_home_that_is_a_link_works(
        self, tmp_path: Path, hermetic: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "home").symlink_to(hermetic)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/.cache"))
        (hermetic / "secret").touch()
        repo = make_repo(tmp_path)
        run = run_plan(repo, feature("mine", "ls -A ~ > mine.txt"))
        assert run.outcome is Outcome.LANDED
        assert "secret" not in content(repo, run, "mine.txt")

    def test_the_home_is_an_empty_one_that_can_be_written(self, tmp_path: Path, hermetic: Path) -> None:
        (hermetic / "secret").write_text("only copy")
        script = "ls -A ~ > mine.txt; echo made > ~/made && cat ~/made >> mine.txt"
        repo = make_repo(tmp_path)
        run = run_plan(repo, feature("mine", script))
        assert "secret" not in content(repo, run, "mine.txt")
        assert content(repo, run, "mine.txt").endswith("made")
        assert not (hermetic / "made").exists()
        assert (hermetic / "secret").read_text() == "only copy"

    def test_what_home_pass_names_can_be_read_and_not_written(self, tmp_path: Path, hermetic: Path) -> None:
        (hermetic / ".tool").mkdir()
        (hermetic / ".tool/file").write_text("from home\n")
        repo = make_repo(tmp_path, {"otto.yaml": "home_pass: [.tool]\n"})
        run = run_plan(
            repo, feature("mine", "cat ~/.tool/file > mine.txt; ! echo x 2>/dev/null > ~/.tool/file")
        )
        assert content(repo, run, "mine.txt") == "from home"
        assert (hermetic / ".tool/file").read_text() == "from home\n"

    def test_r_x5_an_attempt_sees_no_other_slot(self, tmp_path: Path) -> None:
        repo = make_repo(tmp_path)
        run_plan(repo, writes("a"), writes("b"))
        run = run_plan(repo, feature("mine", 'ls -A "$OTTO_WORKTREE/.." > mine.txt'))
        assert content(repo, run, "mine.txt").split() == [".io", "slot-0"]

    def test_git_works_inside_and_the_prompt_is_there(self, tmp_path: Path) -> None:
        script = (
            'cat "$OTTO_PROMPT_FILE" - > mine.txt; git add -A && git commit -qm "from inside"'
            ' && git log --format=%s >> mine.txt; echo \'{"summary": "told"}\' > "$OTTO_RESULT_FILE"'
        )
        repo = make_repo(tmp_path)
        run = run_plan(repo, feature("mine", script, prompt="do it\n"))
        assert content(repo, run, "mine.txt").splitlines() == ["do it", "do it", "from inside", "start"]
        assert "from inside" in git(repo, "log", "-1", "--format=%b", run.tip)
        assert "told" in git(repo, "log", "-1", "--format=%b", run.tip)

    def test_checks_run_under_the_same_rules(self, tmp_path: Path, hermetic: Path) -> None:
        (hermetic / "secret").touch()
        repo = make_repo(tmp_path)
        check = f"test ! -e ~/secret && ! touch {repo}/x 2>/dev/null"
        run = run_plan(repo, writes("one"), verify={"each": [check], "baseline": False})
        assert run.outcome is Outcome.LANDED
        assert not (repo / "x").exists()

    def test_a_repository_in_the_home_works(self, hermetic: Path) -> None:
        repo = make_repo(hermetic / "work")
        run = run_plan(
            repo, feature("mine", f"ls {repo} 2>&1 > mine.txt; git log -1 --format=%s >> mine.txt")
        )
        assert content(repo, run, "mine.txt").splitlines()[-1] == "start"
        assert "README.md" not in content(repo, run, "mine.txt")

    def test_a_repository_that_borrows_objects_works(self, tmp_path: Path, hermetic: Path) -> None:
        source = make_repo(hermetic / "work")
        git(tmp_path, "clone", "-q", "--shared", str(source), str(tmp_path / "clone"))
        run = run_plan(tmp_path / "clone", feature("mine", "git show HEAD:README.md > mine.txt"))
        assert content(tmp_path / "clone", run, "mine.txt") == "A shop."
