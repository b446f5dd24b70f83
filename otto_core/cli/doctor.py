"""`otto doctor`: what is well here, what is worth knowing, and what has to be mended."""

from pathlib import Path

import click

from otto_core.cli import output
from otto_core.cli.output import Styled
from otto_core.errors import ExitCode, OttoError
from otto_core.examination import Mended, examine, mend
from otto_core.git.repository import GitRepository

_COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


@click.command()
@click.option("--fix", is_flag=True, help="Mend what is provably Otto's own, of runs that nobody drives.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def doctor(context: click.Context, *, fix: bool, as_json: bool) -> None:
    """Check git, store, runs, locks, sandbox and disk. Exit 4 if anything is bad, or still is after `--fix`.

    Without `--fix` nothing is mended. With it, what dead drivers left is: lock files of refs, processes,
    landings of tasks that were cut off, unfinished attempts (kept as commits), entries of linked worktrees
    and of the lock table, places for merging, refs of bases.
    """
    repository = GitRepository.discover(Path.cwd())
    findings = examine(repository)
    mended = list(mend(findings)) if fix else []
    if mended:
        findings = examine(repository)
    bad = sum(finding.level == "bad" for finding in findings)
    if as_json:
        rows = [
            {
                "level": f.level,
                "check": f.check,
                "message": f.message,
                "hint": f.hint,
                "mendable": f.mend is not None,
            }
            for f in findings
        ]
        done = [
            {"check": one.finding.check, "message": one.finding.message, "failure": _why(one)}
            for one in mended
        ]
        output.json_document({"bad": bad, "mended": done, "findings": rows})
    else:
        for one in mended:
            _print_mended(one)
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            level = Styled(finding.level.ljust(4), _COLOURS[finding.level])
            output.line(level, f"  {finding.check.ljust(width)}  {finding.message}")
            if finding.hint:
                output.line(" " * (width + 8), Styled("hint:", "cyan"), f" {finding.hint}")
        if mendable := sum(finding.mend is not None for finding in findings):
            output.line(f"`otto doctor --fix` mends {mendable} of these.")
    context.exit(ExitCode.REPOSITORY if bad else ExitCode.OK)


def _print_mended(mended: Mended) -> None:
    told = f"  {mended.finding.check}: {mended.finding.message}"
    if (why := _why(mended)) is None:
        output.line(Styled("mended", "green"), told)
    else:
        output.line(Styled("not mended", "red"), f"{told}: {why}")


def _why(mended: Mended) -> str | None:
    """Say why something was not mended; None where it was."""
    match mended.failure:
        case OttoError(message=message, hint=hint):
            return f"{message} ({hint})"
        case OSError() as error:
            return str(error)
        case _:
            return None
