"""`otto doctor`: what is well here, what is worth knowing, and what has to be mended."""

from pathlib import Path

import click

from otto_core.cli import output
from otto_core.cli.output import Styled
from otto_core.errors import ExitCode
from otto_core.examination import examine
from otto_core.git.repository import GitRepository

_COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Check git, store, runs, locks, sandbox and disk; mend nothing. Exit 4 if anything is bad."""
    findings = examine(GitRepository.discover(Path.cwd()))
    bad = sum(finding.level == "bad" for finding in findings)
    if as_json:
        rows = [{"level": f.level, "check": f.check, "message": f.message, "hint": f.hint} for f in findings]
        output.json_document({"bad": bad, "findings": rows})
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            level = Styled(finding.level.ljust(4), _COLOURS[finding.level])
            output.line(level, f"  {finding.check.ljust(width)}  {finding.message}")
            if finding.hint:
                output.line(" " * (width + 8), Styled("hint:", "cyan"), f" {finding.hint}")
    context.exit(ExitCode.REPOSITORY if bad else ExitCode.OK)
