"""`otto clean`: remove what finished runs left, as far as nothing is lost by it."""

import re
import sys
from pathlib import Path

import click

from otto_core.clean import clean as remove
from otto_core.cli import output
from otto_core.cli.output import Styled
from otto_core.disk import format_bytes
from otto_core.environment import person
from otto_core.git.repository import GitRepository
from otto_core.sweep import Cleaned, Order
from planner.durations import parse_duration

_LONG = re.compile(r"(\d{1,6})([dw])", re.ASCII)
_DAYS = {"d": 1, "w": 7}


def _read_age(_context: click.Context, _option: click.Parameter, value: str | None) -> float:
    """Give an age in seconds; 0 where nothing is said."""
    try:
        if value is not None and (days := _LONG.fullmatch(value.strip())):
            return int(days[1]) * _DAYS[days[2]] * 86_400.0
        return 0.0 if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; or 30d, 2w") from error


@click.command()
@click.option(
    "--older-than",
    "older_than_s",
    metavar="AGE",
    callback=_read_age,
    help="Only runs that ended, and worktrees unused, longer ago than this, such as `12h`, `30d`, `2w`.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed, and what not; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def clean(*, older_than_s: float, dry_run: bool, as_json: bool) -> None:
    """Remove worktrees, refs and logs of runs that are over, as far as nothing is lost by it.

    A run goes as a whole, if its result is on a branch, a tag or a remote, and nothing that a task wrote
    would be lost; the journal keeps its history. An unfinished attempt is kept as a commit before its
    worktree goes. All that stays is named with its reason, and with what to type if you do not need it.
    """
    order = Order(person(), older_than_s=older_than_s, dry_run=dry_run)
    cleaned = remove(GitRepository.discover(Path.cwd()), order, before=_tell_step)
    if as_json:
        output.json_document(_document(cleaned, dry_run))
    else:
        _print(cleaned, dry_run)


def _tell_step(step: str) -> None:
    """Tell a person who waits what is being done: a large worktree takes minutes to remove."""
    if sys.stderr.isatty():
        output.line(Styled(step, dim=True), err=True)


def _document(cleaned: Cleaned, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "freed_bytes": cleaned.freed_bytes,
        "removed": [{"what": r.what, "bytes": r.taken_bytes, "note": r.how} for r in cleaned.removed],
        "kept": [{"what": k.what, "why": k.why, "hint": k.hint} for k in cleaned.kept],
    }


def _print(cleaned: Cleaned, dry_run: bool) -> None:
    goes = "would go" if dry_run else "removed"
    width = len(goes)
    for gone in cleaned.removed:
        size = f", {format_bytes(gone.taken_bytes)}" if gone.taken_bytes else ""
        output.line(Styled(goes, "green"), f"  {gone.what}{size}{f' ({gone.how})' if gone.how else ''}")
    for kept in cleaned.kept:
        output.line(Styled("kept".ljust(width), "yellow"), f"  {kept.what}: {kept.why}")
        if kept.hint:
            output.line(" " * (width + 2), Styled("hint:", "cyan"), f" {kept.hint}")
    if not cleaned.removed and not cleaned.kept:
        output.line("There is nothing to clean.")
    else:
        output.line(f"{format_bytes(cleaned.freed_bytes)} {'would be freed' if dry_run else 'freed'}")
