"""`otto build --approve`: a person sees the plan and says yes or no, on a terminal."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.builders import git, make_repo
from tests.otto_core.cli.conftest import Otto
from tests.otto_core.cli.test_main import program
from tests.otto_core.runs import fingerprint, write_plan, writes
from tests.otto_core.test_mounts import mounted


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path)


def test_nobody_is_asked_where_no_run_could_be_driven(
    repo: Path, otto: Otto, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(repo, writes("one"))
    monkeypatch.setattr("otto_core.mounts.MOUNTS", mounted(repo.parent, "nfs4"))
    monkeypatch.setattr(
        "otto_core.cli.build.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    )
    before = fingerprint(repo)
    result = otto("build", "--plan", str(plan), "--approve", at=repo)
    assert result.exit_code == 4
    assert "on a network file system (nfs4)" in result.stderr
    assert "Run this plan?" not in result.stderr
    assert fingerprint(repo) == before


class Terminal:
    """A build that asks on a terminal: what it says on standard error, and what is typed."""

    def __init__(self, repo: Path, *args: str) -> None:
        self._keyboard, follower = pty.openpty()
        self.child: subprocess.Popen[bytes] = program(
            "build", "--plan", str(repo.parent / "plan.yaml"), "--approve", *args, at=repo, stdin=follower
        )
        os.close(follower)

    def asked(self) -> str:
        """Give what was said up to the question."""
        assert self.child.stderr is not None
        said = b""
        while b"Run this plan? [y/N]" not in said:
            piece = os.read(self.child.stderr.fileno(), 1 << 16)
            assert piece, said
            said += piece
        return said.decode()

    def answer(self, keys: bytes) -> tuple[int, bytes, bytes]:
        """Type something; give the exit code and what came on both streams."""
        os.write(self._keyboard, keys)
        with self.child:
            out, err = self.child.communicate()
        os.close(self._keyboard)
        return self.child.returncode, out, err


def test_r_x2_what_was_approved_is_what_executes(repo: Path) -> None:
    write_plan(repo, writes("one"))
    terminal = Terminal(repo, "--json")
    said = terminal.asked()
    assert "    one  owns one.txt" in said
    base = git(repo, "rev-parse", "HEAD")
    write_plan(repo, writes("other"))
    (repo / "otto.yaml").write_text("branch_prefix: mine\n")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "meanwhile")
    code, out, _ = terminal.answer(b"y\n")
    told = json.loads(out)
    assert (code, told["outcome"], told["base"]) == (0, "landed", base)
    assert [task["id"] for task in told["tasks"]] == ["one"]
    assert told["branch"] == "otto/test"
    shown = re.search(r"^plan ([0-9a-f]{64})$", said, re.MULTILINE)
    assert shown is not None
    assert shown[1] == told["plan"]["id"]


@pytest.mark.parametrize("keys", [b"n\n", b"\n", b"\x04"], ids=["no", "enter alone", "end of input"])
def test_what_is_not_approved_writes_nothing_and_is_exit_130(repo: Path, hermetic: Path, keys: bytes) -> None:
    write_plan(repo, writes("one"))
    before, home = fingerprint(repo), fingerprint(hermetic)
    terminal = Terminal(repo, "--json")
    terminal.asked()
    code, out, _ = terminal.answer(keys)
    assert (code, json.loads(out)["error"]["kind"]) == (130, "interrupted")
    assert fingerprint(repo) == before
    assert fingerprint(hermetic) == home


def test_without_a_terminal_to_ask_on_it_is_a_usage_error(repo: Path, otto: Otto) -> None:
    result = otto("build", "--plan", str(write_plan(repo, writes("one"))), "--approve", at=repo)
    assert result.exit_code == 2
    assert "hint: look with `--dry-run`" in result.stderr
    assert not (repo / ".git/otto").exists()
