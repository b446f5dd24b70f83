import contextlib
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

from otto_core.cli.main import VERBS, main
from otto_core.errors import (
    ExitCode,
    IllegalTransition,
    PlanRejected,
    RepositoryUnusable,
    Stale,
    UsageError,
)
from otto_core.store import sum_of
from planner.violations import Violation
from tests.builders import make_repo
from tests.otto_core.cli.conftest import Otto

PROGRAM = [sys.executable, "-m", "otto_core.cli.main"]
SOURCES = Path(__file__).parents[3]

Ending = Callable[[BaseException | int], None]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Ending:
    """Give a function that adds a verb `end`, which ends in the given way."""

    def add(how: BaseException | int) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def end(*, as_json: bool) -> int:  # noqa: ARG001 -- every verb takes it
            if isinstance(how, BaseException):
                raise how
            return how

        module = ModuleType("verb_for_a_test")
        module.end = end  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(VERBS, "end", (module.__name__, "Ends."))

    return add


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def only_error(result: Result) -> dict[str, object]:
    """Give the error of the one JSON document on standard output; anything else there fails the test."""
    document = json.loads(result.stdout)
    assert list(document) == ["error"]
    assert list(document["error"]) == ["kind", "message", "hint", "violations"]
    error: dict[str, object] = document["error"]
    return error


ENDINGS = [
    pytest.param(UsageError("wrong", hint="h"), 2, "usage", id="usage"),
    pytest.param(PlanRejected("wrong", hint="h"), 3, "plan_rejected", id="plan rejected"),
    pytest.param(RepositoryUnusable("wrong", hint="h"), 4, "repository", id="repository not usable"),
    pytest.param(Stale("wrong", hint="h"), 8, "stale", id="stale"),
    pytest.param(click.UsageError("wrong"), 2, "usage", id="click's usage"),
    pytest.param(click.ClickException("wrong"), 2, "usage", id="click's other failures"),
    pytest.param(KeyboardInterrupt(), 130, "interrupted", id="interrupted"),
    pytest.param(click.Abort(), 130, "interrupted", id="aborted at a question"),
    pytest.param(IllegalTransition("wrong"), 70, "bug", id="illegal transition"),
    pytest.param(ValueError("wrong"), 70, "bug", id="any other exception"),
]


@pytest.mark.parametrize(("how", "code", "kind"), ENDINGS)
def test_a_failure_has_its_exit_code_and_with_json_is_one_document(
    ending: Ending, how: BaseException, code: int, kind: str
) -> None:
    ending(how)
    result = run("end", "--json")
    assert result.exit_code == code
    assert only_error(result)["kind"] == kind


@pytest.mark.parametrize(("how", "code", "kind"), ENDINGS)
def test_a_failure_without_json_leaves_standard_output_empty_and_gives_a_hint(
    ending: Ending, how: BaseException, code: int, kind: str
) -> None:
    ending(how)
    result = run("end")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert "\nhint: " in result.stderr
    assert kind == "interrupted" or "wrong" in result.stderr


@pytest.mark.parametrize("code", [0, 1, 7, 9, 10])
def test_a_verb_s_own_exit_code_is_the_program_s(ending: Ending, code: int) -> None:
    ending(code)
    assert run("end").exit_code == code


def test_every_finding_is_told_with_its_file_and_line(ending: Ending) -> None:
    findings = (
        Violation("plan.yaml", 3, "unknown key `own`", "did you mean `owns`?"),
        Violation("plan.yaml", None, "x"),
    )
    ending(PlanRejected("2 faults", hint="mend them", findings=findings))
    result = run("end", "--json")
    assert result.stderr == (
        "error: 2 faults\n"
        "  plan.yaml:3: unknown key `own`\n"
        "    hint: did you mean `owns`?\n"
        "  plan.yaml: x\n"
        "hint: mend them\n"
    )
    assert [v["line"] for v in only_error(result)["violations"]] == [3, None]  # type: ignore[attr-defined]


def test_a_message_cannot_steer_the_terminal(ending: Ending) -> None:
    ending(UsageError("no \x1b[2Jfile\udce9", hint="a\nb"))
    assert run("end").stderr == "error: no \\x1b[2Jfile\\xe9\nhint: a\\nb\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["stats", "--json"], "there is no command 'stats'", id="unknown command"),
        pytest.param(["status", "--jsn", "--json"], "No such option '--jsn'", id="unknown option"),
        pytest.param(["show", "--json"], "Missing argument 'TASK'", id="missing argument"),
        pytest.param(["status", "a", "b", "--json"], "unexpected extra argument", id="extra argument"),
        pytest.param(
            ["diff", "x", "--attempt", "two", "--json"], "'two' is not a valid integer", id="no number"
        ),
        pytest.param(["-C", "nowhere", "status", "--json"], "cannot go to 'nowhere'", id="no directory"),
        pytest.param(["graph", "--format", "json", "--deep"], "No such option '--deep'", id="graph as json"),
    ],
)
def test_a_wrong_command_line_is_one_document_and_exit_2(args: list[str], message: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    error = only_error(result)
    assert (error["kind"], error["violations"]) == ("usage", [])
    assert message in str(error["message"])


def test_json_behind_two_dashes_is_an_argument() -> None:
    result = run("runs", "--", "--json")
    assert (result.exit_code, result.stdout) == (2, "")


def test_an_unknown_command_is_met_with_the_one_that_was_meant() -> None:
    assert "hint: did you mean otto status?" in run("stats").stderr
    assert "hint: otto --help" in run("xyzzy").stderr


def test_no_command_at_all_prints_the_help() -> None:
    result = run()
    assert result.exit_code == ExitCode.USAGE
    assert "New here?  otto demo" in result.stdout


def test_the_help_lists_every_verb() -> None:
    result = run("--help")
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(VERBS)


@pytest.mark.parametrize("verb", ["runs", "status", "graph", "show", "diff", "logs", "log"])
def test_every_reading_verb_explains_itself(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: otto {verb}")


def test_the_version_is_one_line() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("otto ")
    assert result.stdout.count("\n") == 1


def test_c_runs_as_if_started_there(shop: Path, otto: Otto, tmp_path: Path) -> None:
    inside = shop / "deep" / "down"
    inside.mkdir(parents=True)
    for place in (shop, inside):
        result = otto("-C", str(place), "status", "--json", at=tmp_path)
        assert json.loads(result.stdout)["run"] == "r-20261120-aaaa"


@pytest.mark.parametrize("verb", [["status"], ["show", "x"], ["diff", "x"], ["log"]])
def test_outside_of_a_repository_the_exit_code_is_4(tmp_path: Path, otto: Otto, verb: list[str]) -> None:
    result = otto(*verb, "--json", at=tmp_path)
    assert result.exit_code == 4
    assert only_error(result)["kind"] == "repository"


def test_a_bug_is_written_down_in_the_store_and_the_report_is_named(shop: Path, otto: Otto) -> None:
    with contextlib.closing(sqlite3.connect(shop / ".git/otto/otto.db")) as db, db:
        row = db.execute(
            "SELECT run_id, at, type, body FROM events WHERE type = 'landing_applied'"
        ).fetchone()
        last = sum_of(db.execute("SELECT sum FROM heads").fetchone()[0], *row)
        db.execute("INSERT INTO events (run_id, at, type, body, sum) VALUES (?, ?, ?, ?, ?)", (*row, last))
        db.execute("UPDATE heads SET sum = ?, seq = (SELECT MAX(seq) FROM events)", (last,))
    result = otto("status", "--json")
    assert result.exit_code == 70
    reports = list((shop / ".git/otto/reports").iterdir())
    assert len(reports) == 1
    assert str(reports[0]) in str(only_error(result)["hint"])
    report = reports[0].read_text()
    assert "argv: ['status', '--json']" in report
    assert "Traceback (most recent call last)" in report
    assert "otto_core.errors.IllegalTransition: landing_applied on r-20261120-aaaa" in report


def test_a_bug_outside_of_a_repository_is_written_down_all_the_same(
    ending: Ending, otto: Otto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ending(ValueError("odd"))
    result = otto("end", at=tmp_path)
    assert "error: a bug in Otto: ValueError: odd" in result.stderr
    (report,) = tmp_path.glob("otto-bug-*.txt")
    assert str(report) in result.stderr


def program(*args: str, at: Path, **options: object) -> "subprocess.Popen[bytes]":
    """Start the real program."""
    env = {**os.environ, "PYTHONPATH": str(SOURCES)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([*PROGRAM, *args], cwd=at, env=env, **pipes)  # type: ignore[call-overload,no-any-return]


def test_the_real_program_prints_and_exits_like_the_tests_say(shop: Path) -> None:
    with program("status", "--json", at=shop) as child:
        out, err = child.communicate()
    assert (child.returncode, err) == (0, b"")
    assert json.loads(out)["outcome"] == "partial"
    with program("show", "nothing", "--json", at=shop) as child:
        out, err = child.communicate()
    assert child.returncode == 2
    assert json.loads(out)["error"]["kind"] == "usage"
    assert b"error: r-20261120-aaaa has no task 'nothing'" in err


def test_a_reader_who_leaves_early_is_no_bug(shop: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with program("log", at=shop, stdout=writer) as child:
        os.close(writer)
        _, err = child.communicate()
    assert (child.returncode, err) == (128 + signal.SIGPIPE, b"")
    assert not (shop / ".git/otto/reports").exists()


def test_a_symbol_that_the_terminal_cannot_write_is_escaped(shop: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*PROGRAM, "graph"], cwd=shop, env=env, capture_output=True, check=True)
    assert b"\\u2713 models" in done.stdout


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        pytest.param("otto_core.cli.main", ["networkx", "rich", "pygit2", "pydantic", "asyncio"], id="help"),
        pytest.param(
            "otto_core.cli.status",
            [
                *("networkx", "rich", "pygit2", "pydantic", "yaml", "asyncio", "portalocker", "psutil"),
                *("importlib.metadata", "logging", "concurrent.futures"),
            ],
            id="status",
        ),
    ],
)
def test_starting_imports_nothing_heavy(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print(sorted(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True, text=True)
    assert [name for name in heavy if f"'{name}'" in done.stdout] == []


def test_a_verb_is_imported_with_the_collector_at_rest_and_it_works_again_then(
    shop: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "otto_core.cli.runs", raising=False)
    frozen = gc.get_freeze_count()
    assert otto("runs", at=shop).exit_code == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen


def test_a_repository_without_runs_says_how_to_start_one(tmp_path: Path, otto: Otto) -> None:
    repo = make_repo(tmp_path)
    result = otto("status", "--json", at=repo)
    assert result.exit_code == 2
    assert only_error(result)["hint"] == "otto build --plan FILE"
    assert not (repo / ".git/otto").exists()
