"""Nothing executes but through the execution gate, and nothing is admitted but through the write gate.

The sources are read as syntax trees, so an alias hides nothing: imports are followed by what they bind.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for package in ("otto_core", "planner", "merge") for path in (ROOT / package).rglob("*.py")
)

SPAWNERS = {
    "subprocess",
    "os.system",
    "os.popen",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.posix_spawnp",
    *(f"os.exec{kind}" for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    *(f"os.spawn{kind}" for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    "pty.spawn",
    "multiprocessing",
    "psutil.Popen",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "asyncio.subprocess",
    "concurrent.futures.ProcessPoolExecutor",
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def used(tree: ast.AST) -> Iterator[str]:
    """Give every dotted name that a module uses, with names bound by imports written out."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield ".".join([bound.get(inner.id, inner.id), *reversed(parts)])


@cache
def used_in(path: Path) -> frozenset[str]:
    """Give every dotted name that a source file uses."""
    return frozenset(used(ast.parse(path.read_text())))


def users_of(*names: str) -> set[str]:
    """Name the modules that use any of some dotted names, or anything below them."""
    found = set()
    for path in SOURCES:
        for name in used_in(path):
            if any(name == wanted or name.startswith(f"{wanted}.") for wanted in names):
                found.add(module_of(path))
    return found


def test_r_g1_i1_commands_are_spawned_by_one_module_and_ottos_own_programs_by_another() -> None:
    assert users_of(*SPAWNERS) == {"otto_core.process", "otto_core.capture", "otto_core.children"}


def test_r_g1_i1_only_executions_are_spawned() -> None:
    assert users_of("otto_core.process.spawn") == {"otto_core.execution"}


def test_r_g1_i1_only_the_gate_executes_commands_and_invokes_agents() -> None:
    assert users_of("otto_core.execution.execute") == {"otto_core.gate"}
    assert users_of("otto_core.execution.Command") == {"otto_core.gate"}
    invokers = {module_of(p) for p in SOURCES if ".invoke(" in p.read_text() and p.parent.name != "cli"}
    assert invokers == {"otto_core.gate"}


def test_r_s4_processes_are_signalled_only_where_they_are_started_and_where_a_slot_is_reused() -> None:
    assert users_of("otto_core.leftovers.end_all") == {
        "otto_core.mending",
        "otto_core.recover",
        "otto_core.salvage",
    }
    assert users_of("otto_core.kernel.send") == {"otto_core.process_tree"}
    assert users_of("otto_core.kernel.send_to") == {"otto_core.leftovers"}
    assert users_of("os.kill", "os.killpg", "signal.pthread_kill", "signal.pidfd_send_signal") == {
        "otto_core.capture",
        "otto_core.execution",
        "otto_core.kernel",
        "otto_core.process_tree",
    }


def test_r_g1_only_git_and_the_probe_of_the_sandbox_are_short_programs() -> None:
    assert users_of("otto_core.capture.capture") == {"otto_core.git.program", "otto_core.sandbox"}


def test_r_g1_code_is_not_looked_up_by_name_where_it_could_reach_around_the_gate() -> None:
    assert users_of("importlib.import_module", "__import__", "eval", "exec") == {"otto_core.cli.main"}


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess as harmless\nharmless.run(['x'])",
        "from subprocess import run as walk\nwalk(['x'])",
        "import os\nos.system('x')",
        "from os import system as call\ncall('x')",
        "import asyncio as a\na.create_subprocess_exec('x')",
    ],
)
def test_r_g1_an_alias_hides_no_spawner(source: str) -> None:
    names = set(used(ast.parse(source)))
    assert any(n == s or n.startswith(f"{s}.") for n in names for s in SPAWNERS)


def test_r_o5_the_write_gate_is_one_function_called_at_every_admission_point() -> None:
    assert users_of("merge.gate.admit") == {
        "otto_core.attempts",
        "otto_core.landing",
        "otto_core.proposal",
    }


def test_r_x1_only_the_landing_moves_the_tip_and_only_known_modules_move_any_ref() -> None:
    assert users_of("merge.swap.swap") == {
        "otto_core.driver",
        "otto_core.landing",
        "otto_core.publish",
        "otto_core.refs",
        "otto_core.transfer",
    }
    assert users_of("otto_core.refs.unpin") == {"otto_core.clean"}
    by_libgit2 = re.compile(r"(references|branches|transaction)\.(delete|remove)\(")
    assert [str(place) for place in SOURCES if by_libgit2.search(place.read_text())] == []
    for path in SOURCES:
        text = path.read_text()
        assert "references.create(" not in text, f"{module_of(path)} sets a ref without comparing"
        assert ".set_target(" not in text or module_of(path) == "merge.swap"


def test_r_l1_one_module_writes_the_transitions_of_an_attempt() -> None:
    events = ("AttemptStarted", "AttemptProduced", "AttemptUnchanged", "AttemptFailed", "AttemptInterrupted")
    makers = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in events
            ):
                makers.add(module_of(path))
    assert makers == {"otto_core.attempts"}
