"""`otto plan`: check a plan and print it, its id and every violation."""

import json
from pathlib import Path

import click

from otto_core.cli import output
from otto_core.cli.outline import outline
from otto_core.compose import Composed, Locking, compose
from otto_core.errors import UsageError
from otto_core.git.repository import GitRepository
from otto_core.model import json_of
from planner.canonical import plan_id
from planner.durations import is_duration


@click.command()
@click.argument("intent", required=False)
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="The plan file (YAML or JSON).")
@click.option("--base", help="Check against this revision (default: the plan's `base`, else HEAD).")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    help="Write the compiled plan here, as JSON (to read, not to build from).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plan(
    *, intent: str | None, plan_file: Path | None, base: str | None, target: Path | None, as_json: bool
) -> None:
    """Check a plan; nothing is executed and the repository is left alone."""
    given = require_plan("plan", intent, plan_file)
    composed = compose(GitRepository.discover(Path.cwd()), given, base=base)
    if target is not None:
        _write(target, composed)
    tell_warnings(composed)
    show_plan(composed, Locking(), as_json=as_json)


def require_plan(verb: str, intent: str | None, plan_file: Path | None) -> Path:
    """Give the plan file; an intent beside it would be ignored, so it is refused.

    Raises:
        UsageError: there is no plan file, or an intent beside it.

    """
    if plan_file is None:
        raise UsageError(
            "a plan file is needed"
            if intent is None
            else "planning from an intent is not part of this version",
            hint=f"otto {verb} --plan FILE",
        )
    if intent is None:
        return plan_file
    waits = verb == "build" and is_duration(intent)
    raise UsageError(
        f"{intent!r} is an intent, and `--plan` names the plan already",
        hint=f"otto build --wait={intent} --plan {plan_file}"
        if waits
        else "leave out the intent; the plan has its own",
    )


def _write(target: Path, composed: Composed) -> None:
    try:
        target.write_text(json.dumps(json_of(composed.plan), indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}", hint="otto plan -o FILE") from error


def tell_warnings(composed: Composed) -> None:
    """Print what a plan's author should know although the plan is valid, to standard error."""
    for warning in composed.warnings:
        output.warn(f"{warning.file}:{warning.line}: {warning.message}; {warning.hint}")


def show_plan(composed: Composed, locking: Locking, *, as_json: bool, err: bool = False) -> None:
    """Print a compiled plan and all that would execute; to standard error if `err`."""
    compiled = composed.plan
    if as_json:
        output.json_document(
            {
                "plan": {"id": plan_id(compiled)} | json_of(compiled),
                "copy": list(composed.settings.worktrees.copy),
                "sandbox": composed.settings.sandbox,
                "locks": "held" if locking.held else "unlocked",
                "warnings": [
                    {"file": w.file, "line": w.line, "message": w.message} for w in composed.warnings
                ],
            }
        )
        return
    count = f"{len(compiled.tasks)} task{'s' if len(compiled.tasks) != 1 else ''}"
    title = compiled.intent or "Plan"
    output.line(f"{title}: {count} on {compiled.base[:12]}, {composed.settings.concurrency} at once", err=err)
    for told in outline(composed, locking):
        output.line(told, err=err)
    output.line(f"plan {plan_id(compiled)}", err=err)
