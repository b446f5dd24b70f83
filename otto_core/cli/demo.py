"""`otto demo`: the bundled sample, from nothing to a landed history."""

import os
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import click

from otto_core import events as ev
from otto_core.build import build
from otto_core.cli import live, output
from otto_core.compose import compose
from otto_core.errors import UsageError
from otto_core.git.repository import GitRepository, init_sample
from otto_core.model import Reason
from otto_core.refnames import run_ref
from otto_core.report import summary
from otto_core.scheduler import exit_code
from otto_core.state import Run

SAMPLE = "shop"


def sample() -> Path:
    """Find the bundled sample: inside the installed package, or beside it in a checkout."""
    inside = Path(str(files("otto_core"))) / "fixtures" / SAMPLE
    return inside if inside.is_dir() else Path(str(files("otto_core"))).parent / "fixtures" / SAMPLE


@click.command()
@click.option(
    "--dir", "place", type=click.Path(path_type=Path), help="Where to put the sample (must not exist)."
)
@click.pass_context
def demo(context: click.Context, *, place: Path | None) -> None:
    """Run the bundled sample: no network, no keys, a repository of its own."""
    program = _program()
    _prefer_this_python()
    home = place or Path(tempfile.mkdtemp(prefix="otto-demo-")) / SAMPLE
    if home.exists():
        raise UsageError(f"{home} exists already", hint="otto demo --dir NEW-DIRECTORY")
    try:
        shutil.copytree(sample(), home, ignore=shutil.ignore_patterns("__pycache__", "ledger.json"))
    except OSError as error:
        raise UsageError(f"{home} cannot be written: {error}", hint="otto demo --dir DIRECTORY") from error
    init_sample(home, "A small shop")
    repository = GitRepository.discover(home)
    output.line(f"A small shop, in a repository of its own: {home}")
    output.line(f"$ cd {home} && {program} build --plan plan.yaml")
    composed = compose(repository, home / "plan.yaml")
    with live.choose() as view:
        refusals = _Refusals(view)
        run = build(repository, composed, observe=refusals)
    output.lines(summary(run))
    output.line("")
    output.line("Both gates were at work. Turned down at first, told to the next attempt, and mended:")
    for task, reason in refusals.told:
        output.line(f"  {task}: {reason.message}")
    output.line("")
    output.line(f"$ git log --first-parent --format='%h %s' {run.branch}")
    for commit in repository.first_parents(run_ref(run.id, "tip")):
        output.line(f"{str(commit.id)[:7]} {commit.subject}")
    output.line("")
    output.line(f"Look around: cd {home} && {program} status   (or graph, show TASK, diff TASK, log)")
    context.exit(exit_code(run))


class _Refusals:
    """Remembers what was turned down, and shows everything to the view as well."""

    def __init__(self, view: live.View) -> None:
        self._view = view
        self.told: list[tuple[str, Reason]] = []

    def __call__(self, event: ev.Event, run: Run) -> None:
        if isinstance(event, ev.AttemptFailed | ev.LandingRejected):
            self.told.append((event.task, event.reason))
        self._view(event, run)


def _program() -> str:
    """Name the command to type: `otto` where the shell finds it, else where it is installed."""
    return "otto" if shutil.which("otto") else str(Path(sys.executable).parent / "otto")


def _prefer_this_python() -> None:
    """Let `python3` in the sample be the interpreter that runs Otto, which is new enough."""
    directory = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([directory, os.environ.get("PATH", os.defpath)])
