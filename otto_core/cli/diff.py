"""`otto diff`: what a task changed, and what exactly is compared."""

from dataclasses import dataclass
from datetime import UTC, datetime

import click

from merge.objects import Oid
from otto_core.cli import changed, output, select
from otto_core.cli.changed import Comparison, Excerpt
from otto_core.cli.output import Styled
from otto_core.errors import UsageError
from otto_core.freshness import record_shown, target_of
from otto_core.git.repository import GitRepository
from otto_core.state import Run, TaskState

SHOWN_BYTES = 200_000
"""How much of a patch a terminal is given without `--whole`."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a diff was made from, and when (W3): ids are of commits, `made` is UTC in ISO 8601.

    `merge_base` is of target and tip; None without a target, or where the two have nothing in common.
    """

    target: str | None
    target_commit: str | None
    branch: str
    tip: str
    base: str
    merge_base: str | None
    made: str


@click.command()
@click.argument("name", metavar="TASK")
@click.option("--run", "run_name", help="The run, by a unique prefix (default: the newest).")
@click.option("--attempt", "number", type=int, help="The snapshot of this attempt, from 1, against its base.")
@click.option("--whole", is_flag=True, help="Show all of it on a terminal too, however long it is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def diff(*, name: str, run_name: str | None, number: int | None, whole: bool, as_json: bool) -> None:
    """Show what a task changed: its landed commit, else the snapshot of its last attempt.

    TASK is a full id or a unique suffix of one. Piped, the output is a patch that `git apply` takes, and
    whole; on a terminal a long one is cut after a hunk, and says so.
    """
    with select.opened() as (view, journal):
        repository = GitRepository.at(view.git_dir)
        run = select.run(journal, run_name)
        task = select.task(run, name)
        compared = _compared(repository, run, task, number)
        if run.cleaned is not None and not repository.has(Oid(hex=compared.new)):
            raise UsageError(
                f"{run.id} was cleaned, and Git has collected attempt {compared.attempt} of {task.id} since",
                hint=f"otto log {run.id}",
            )
        patch = repository.diff(*changed.trees(repository, compared))
        paths = changed.paths(repository, compared)
        run = record_shown(repository, journal, run)
        made_from = _provenance(repository, run)
    if as_json:
        output.json_document(_document(run, task, compared, made_from, paths, patch))
    else:
        for told in _header(run, task, compared, made_from, len(paths)):
            output.line(Styled(f"# {told}", dim=True))
        part = changed.excerpt(patch, None if whole or not output.on_terminal() else SHOWN_BYTES)
        _print_patch(part.shown)
        if part.truncated:
            chosen = f" --attempt {number}" if number else ""
            command = f"otto diff {task.id} --run {run.id}{chosen} --whole"
            output.line(Styled(f"# {_rest(part, command)}", "yellow"))


def _compared(repository: GitRepository, run: Run, task: TaskState, number: int | None) -> Comparison:
    """Choose what to compare, or say why there is nothing."""
    as_landed = changed.landed(repository, task) if number is None else None
    if as_landed is not None:
        return as_landed
    attempt = select.attempt(run, task, number)
    kept = changed.snapshot(attempt)
    if kept is None:
        why = "is still running" if attempt.end is None else "changed nothing"
        raise UsageError(
            f"attempt {attempt.number} of {task.id} {why}", hint=f"otto logs {task.id} --run {run.id}"
        )
    return kept


def _provenance(repository: GitRepository, run: Run) -> Provenance:
    target = target_of(repository)
    at = repository.ref(target) if target else None
    return Provenance(
        target=target.removeprefix("refs/heads/") if target else None,
        target_commit=str(at) if at else None,
        branch=run.branch,
        tip=run.tip,
        base=run.start.base,
        merge_base=repository.merge_base(at, Oid(hex=run.tip)) if at else None,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _header(
    run: Run, task: TaskState, compared: Comparison, made_from: Provenance, files: int
) -> tuple[str, ...]:
    what = "as it landed" if compared.kind == "landed" else "its snapshot, which has not landed"
    count = "1 file" if files == 1 else f"{files} files"
    target = made_from.target or "none (no branch is checked out)"
    return (
        f"{task.id}, attempt {compared.attempt} of run {run.id}: {what}; {count}",
        f"from {compared.old}",
        f"to   {compared.new}",
        f"target {target} at {made_from.target_commit}, merge base {made_from.merge_base or 'none'}",
        f"branch {made_from.branch} at {made_from.tip}",
        f"base   {made_from.base}",
        f"made   {made_from.made}",
    )


def _document(
    run: Run,
    task: TaskState,
    compared: Comparison,
    made_from: Provenance,
    paths: list[tuple[bytes, str]],
    patch: bytes,
) -> dict[str, object]:
    return {
        "run": run.id,
        "task": task.id,
        "attempt": compared.attempt,
        "kind": compared.kind,
        "from": compared.old,
        "to": compared.new,
        "target": made_from.target,
        "target_commit": made_from.target_commit,
        "branch": made_from.branch,
        "tip": made_from.tip,
        "base": made_from.base,
        "merge_base": made_from.merge_base,
        "made": made_from.made,
        "paths": changed.path_documents(paths),
        "hunks": changed.excerpt(patch, None).of_hunks,
        "bytes": len(patch),
        "patch": patch.decode("utf-8", "surrogateescape"),
    }


def _print_patch(patch: bytes) -> None:
    """Print a patch: byte by byte to a file or pipe, coloured and harmless to a terminal."""
    if not output.on_terminal():
        output.raw(patch)
        return
    for row in patch.decode("utf-8", "surrogateescape").splitlines():
        output.line(_coloured(row))


def _rest(part: Excerpt, command: str) -> str:
    """Say how much of a patch is shown, and how to see the whole (W3)."""
    return (
        f"shown: {part.hunks:,} of {part.of_hunks:,} hunks, {len(part.shown):,} of {part.of_bytes:,} bytes;"
        f" the whole: {command}"
    )


def _coloured(row: str) -> str | Styled:
    if row.startswith(("+++", "---", "diff ", "index ")):
        return Styled(row, bold=True)
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return Styled(row, colours[row[0]]) if row[:1] in colours else row
