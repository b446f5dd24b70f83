import io
import os
import re
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from otto_core import events as ev
from otto_core.cli import live
from otto_core.cli.live import Live, Plain
from otto_core.cli.output import Styled
from otto_core.cli.tree import tree
from otto_core.cli.words import introduction
from otto_core.model import Outcome
from otto_core.state import Run
from tests.builders import WRITE_GATE, RunBuilder, git, make_repo, plan, shop_run, task
from tests.otto_core.runs import run_plan, writes


def text_of(run: Run, *, space: int | None = None) -> list[str]:
    """Draw the tree without remarks."""
    return [
        "".join(part.text for part in line).rstrip() for line in tree(run, lambda _: Styled(""), space=space)
    ]


def frame(view: Live, *, width: int = 100, height: int = 40) -> list[str]:
    """Render what the view shows at this moment."""
    view._console.size = (width, height)
    page = Console(file=io.StringIO(), width=width, height=height)
    page.print(view._frame())
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue().splitlines()


@pytest.fixture
def clock() -> list[float]:
    """Give the time that the view of a test reads, in seconds."""
    return [100.0]


@pytest.fixture
def view(clock: list[float]) -> Live:
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True)
    return Live(console, clock=lambda: clock[0])


def test_plain_tells_each_event_that_matters_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Plain() as plain:
        built = shop_run(make_repo(tmp_path), observe=plain)
    out, err = capsys.readouterr()
    assert out == ""
    told = err.splitlines()
    base, again = built.base[:12], "; it will be tried again"
    for line in (
        f"r-20261120-aaaa: 6 tasks on base {base}, 4 at once",
        "  agent command (no model); locks unlocked; sandbox subreaper; wall budget none",
        "  checks before every landing: make test",
        "  results land on branch otto/add-accounts; your checkout is left alone",
        f"    0.3s  models: attempt 1 of 3 starts from {base}",
        "    0.4s  models: attempt 1 is done after 0.4s: 1 file changed",
        f"    1.9s  coupons: attempt 1 failed after 0.4s (write_gate): {WRITE_GATE.message}{again}",
        "    3.1s  coupons: failed for good (agent_failed): the command exited with 1: no such coupon",
        "    3.3s  run: finished: partial",
    ):
        assert line in told
    assert any(line.startswith("    0.7s  models: landed as ") for line in told)
    assert any("models: check passes on the merged tree" in line for line in told)


def test_plain_introduces_the_run_once_and_skips_what_tells_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    plain = Plain()
    plain(ev.Shown(target="", target_commit=None, commit=None), built.run)
    plain(ev.RunFinished(outcome=Outcome.LANDED), built.run)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5
    assert told[-1] == "    0.2s  run: finished: landed"


def test_r_p12_the_introduction_says_what_the_run_will_run_with(tmp_path: Path) -> None:
    repo = make_repo(tmp_path)
    tasks = [task(name, verify=["true"]) for name in "abcdefg"]
    whole = plan(git(repo, "rev-parse", "HEAD"), *tasks, each=["make test"], final=["make journey"])
    run = RunBuilder(repo, whole=whole, wall_s=5400.0, concurrency=2).run
    assert run.started is not None
    dirty = (b"mine-0", b"mine-1", b"mine-2", b"mine-3", b"caf\xe9")
    for count, told in ((0, None), (5, ""), (12, " and 7 more")):
        start = ev.RunStarted(
            intent=run.start.intent,
            slug=run.start.slug,
            base=run.start.base,
            branch=run.start.branch,
            settings=run.start.settings,
            driver=run.start.driver,
            contracts={},
            dirty=dirty if count else (),
            dirty_count=count,
        )
        named = "mine-0, mine-1, mine-2, mine-3, caf\\xe9"
        line = [] if told is None else [f"  not committed, so not part of this run: {named}{told}"]
        assert introduction(replace(run, started=start)) == (
            f"r-20261120-aaaa: 7 tasks on base {run.start.base[:12]}, 2 at once",
            "  agent command (no model); locks unlocked; sandbox subreaper; wall budget 1h30m",
            "  checks before every landing: make test",
            "  tasks with checks of their own: a, b, c, d, e and 2 more",
            "  checks of the result: make journey",
            *line,
            "  results land on branch otto/add-accounts; your checkout is left alone",
        )


def test_r_p12_the_introduction_names_setup_and_copied_files(tmp_path: Path) -> None:
    repo = make_repo(
        tmp_path,
        {"otto.yaml": "worktrees: {copy: [.env], setup: [touch made, 'true']}\n", ".gitignore": "made\n"},
    )
    (repo / ".env").write_text("A=1\n")
    told = introduction(run_plan(repo, writes("one")))
    assert "  setup of a worktree: touch made; true" in told
    assert "  copied into worktrees: .env" in told


def test_plain_goes_on_silently_when_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        built = RunBuilder(make_repo(tmp_path), task("a"), observe=Plain())
        built.start("a")
        built.produce("a")
    assert built.run.queue == ("a",)
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_the_live_view_says_what_each_task_does_now(tmp_path: Path, view: Live, clock: list[float]) -> None:
    tasks = (task("a"), task("b"), task("c"), task("d", after=["a", "b"]), task("e", max_attempts=1))
    built = RunBuilder(make_repo(tmp_path), *tasks, observe=view)
    commit = built.do("a")
    for name in ("b", "c", "e"):
        built.start(name)
    built.fail("b", then="retry")
    built.fail("e")
    built.produce("c")
    built.start("b")
    clock[0] += 2.5
    elapsed = f"{built.elapsed_s + 2.5:.1f}s"
    assert frame(view) == [
        "Add accounts and billing to the shop",
        "├─ generation 1",
        f"│  ├─ ✓ a  {commit[:12]}  Add a",
        "│  ├─ ● b  attempt 2 of 3  2.5s",
        "│  ├─ ◇ c  checking",
        "│  └─ ! e  agent_failed: the command exited with 1",
        "└─ generation 2",
        "   └─ · d  waits for b",
        f"1 of 5 tasks landed, 1 running, 1 waiting to land, 1 held, 1 pending  {elapsed}  r-20261120-aaaa",
    ]


def test_a_retry_that_has_not_begun_is_announced(tmp_path: Path, view: Live) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"), observe=view)
    assert "   └─ · a  ready" in frame(view)
    built.start("a")
    built.fail("a", then="retry")
    assert "   └─ · a  to be tried again: agent_failed" in frame(view)


def test_a_narrow_terminal_cuts_lines_and_loses_none(tmp_path: Path, view: Live) -> None:
    shop_run(make_repo(tmp_path), observe=view)
    shown = frame(view, width=24)
    assert len(shown) == len(frame(view, width=100))
    assert all(len(line) <= 24 for line in shown)
    assert "│  └─ ✗ coupons    agen…" in shown


def test_a_low_terminal_shows_what_moves_and_counts_the_rest(tmp_path: Path, view: Live) -> None:
    many = [task(f"t{place:03}") for place in range(100)]
    built = RunBuilder(make_repo(tmp_path), *many, task("last", after=["t000"]), observe=view)
    built.start("t041")
    built.start("t007")
    assert frame(view, height=12)[1:-1] == [
        "└─ generation 1 (98 pending not shown)",
        "   ├─ ● t007  attempt 1 of 3  0.0s",
        "   └─ ● t041  attempt 1 of 3  0.0s",
    ]


@pytest.mark.parametrize("space", range(30))
def test_the_tree_never_takes_more_lines_than_it_may(tmp_path: Path, space: int) -> None:
    names = [task(f"a{n}") for n in range(8)] + [task(f"b{n}", after=["a7"]) for n in range(8)]
    built = RunBuilder(make_repo(tmp_path), *names)
    for name in ("a0", "a1", "a2"):
        built.start(name)
    built.fail("a2")
    assert len(text_of(built.run, space=space)) <= space
    assert len(text_of(built.run, space=18)) == len(text_of(built.run)) == 18


def test_the_live_view_leaves_its_tree_and_what_went_wrong_on_the_screen(tmp_path: Path, view: Live) -> None:
    with view:
        shop_run(make_repo(tmp_path), observe=view)
    assert isinstance(view._console.file, io.StringIO)
    screen = re.sub(r"\x1b\[[0-9;]*m", "", view._console.file.getvalue())
    assert "6 tasks on base" in screen
    assert "coupons: attempt 1 failed after 0.4s (write_gate)" in screen
    last = screen[screen.rindex("├─ generation 1") :]
    assert "4 of 6 tasks landed, 2 failed" in last
    assert "\x1b[?25h" in last  # the cursor is back


def test_what_waited_for_a_check_when_the_run_stopped_is_not_shown_as_being_checked(
    tmp_path: Path, view: Live
) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"), observe=view)
    with view:
        built.start("a")
        built.produce("a")
        built.pause(Outcome.INTERRUPTED, "interrupted")
    assert "   └─ ◇ a  waits to land" in frame(view)


@pytest.mark.parametrize(
    ("term", "kind"),
    [
        pytest.param("xterm-256color", Live, id="terminal"),
        pytest.param("dumb", Plain, id="dumb terminal"),
        pytest.param("", Live, id="terminal without a name"),
    ],
)
def test_a_terminal_gets_the_live_view(monkeypatch: pytest.MonkeyPatch, term: str, kind: type) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        patched.setenv("TERM", term)
        assert isinstance(live.choose(), kind)
    os.close(master)


def test_a_pipe_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(live.choose(), Plain)
