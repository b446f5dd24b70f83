"""A failure in words, or as the one JSON document; the report of a bug. Imported when there is a failure."""

import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from otto_core.cli import output
from otto_core.cli.output import Styled
from otto_core.cli.version import version_of
from otto_core.errors import ExitCode, GitUnfinished, OttoError, RepositoryUnusable
from otto_core.git.program import git_version
from otto_core.git.repository import GitRepository
from otto_core.report import error_document
from planner.violations import Violation

_PARTS: Final = ("otto-core", "click", "msgspec", "pydantic", "pygit2", "rich")


class Bug(OttoError):
    """Otto itself failed."""

    kind = "bug"
    exit_code = ExitCode.BUG


def tell(error: OttoError, *, as_json: bool) -> None:
    """Put a failure on standard error, and with `as_json` the one document on standard output."""
    output.line(Styled("error:", "red", bold=True), f" {error.message}", err=True)
    for finding in error.findings:
        output.line(f"  {_place(finding)}: {finding.message}", err=True)
        if finding.hint:
            output.line("    ", Styled("hint:", "cyan"), f" {finding.hint}", err=True)
    if error.hint:
        output.line(Styled("hint:", "cyan"), f" {error.hint}", err=True)
    if as_json:
        output.json_document(error_document(error))


def bug(error: Exception, argv: Sequence[str]) -> Bug:
    """Write down what is needed to find a bug, and say where it is."""
    what = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    report = _write_report(error, argv)
    hint = f"please report it with {report}" if report else "please report it; no report could be written"
    return Bug(f"a bug in Otto: {what}", hint=hint)


def _place(finding: Violation) -> str:
    return finding.file if finding.line is None else f"{finding.file}:{finding.line}"


def _write_report(error: Exception, argv: Sequence[str]) -> Path | None:
    """Write to the repository's store if it has one, else where temporary files go; None if neither works."""
    now = datetime.now(UTC)
    content = "\n".join((f"at: {now.isoformat()}", f"argv: {list(argv)!r}", *_versions(), "", *_trace(error)))
    for directory in (*_store(), *_temporary()):
        report = directory / f"otto-bug-{now:%Y%m%dT%H%M%S%f}.txt"
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            report.write_text(content, encoding="utf-8", errors="backslashreplace")
        except OSError:  # the next place may work; that none did is told
            continue
        return report
    return None


def _store() -> list[Path]:
    try:
        store = GitRepository.discover(Path.cwd()).store
    except (RepositoryUnusable, OSError):  # a bug may be met anywhere, also outside of a repository
        return []
    return [store / "reports"] if store.is_dir() else []


def _temporary() -> list[Path]:
    try:
        return [Path(tempfile.gettempdir())]
    except OSError:  # it tries to write there first
        return []


def _git() -> str:
    try:
        return ".".join(map(str, git_version())) or "none"
    except GitUnfinished as error:
        return error.message


def _versions() -> list[str]:
    return [
        f"python: {sys.version.split()[0]} on {platform.platform()}",
        f"git: {_git()}",
        *(f"{part}: {version_of(part)}" for part in _PARTS),
    ]


def _trace(error: Exception) -> list[str]:
    return "".join(traceback.format_exception(error)).splitlines()
