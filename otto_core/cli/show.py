"""`otto show`: the history of one task, attempt by attempt."""

from dataclasses import dataclass

import click

from merge.objects import Oid
from merge.paths import show as path_shown
from otto_core import events as ev
from otto_core.cli import changed, output, select
from otto_core.cli.log import clock, event_document
from otto_core.cli.output import MARKS, Styled, symbol
from otto_core.cli.words import sentence
from otto_core.git.repository import GitRepository
from otto_core.journal import Journal, Stored
from otto_core.model import Reason, Telemetry, Verdict, json_of
from otto_core.presence import landed_in_git
from otto_core.report import SHORT, format_elapsed, task_document, waits_for
from otto_core.state import Attempt, Run, TaskState

_PATHS_TOLD = 20


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt with all that is known of it; `refused` says why what it produced may not land."""

    attempt: Attempt
    verdicts: tuple[Verdict, ...]
    refused: Reason | None
    paths: tuple[tuple[bytes, str], ...]


@click.command()
@click.argument("name", metavar="TASK")
@click.option("--run", "run_name", help="The run, by a unique prefix (default: the newest).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(*, name: str, run_name: str | None, as_json: bool) -> None:
    """Tell the history of one task. TASK is a full id or a unique suffix of one."""
    with select.opened() as (view, journal):
        repository = GitRepository.at(view.git_dir)
        run = select.run(journal, run_name)
        task = select.task(run, name)
        history = history_of(journal, run, task.id)
        tried = [_tried(repository, run, history, attempt) for attempt in task.attempts]
        on_branch = landed_in_git(repository, run)
    if as_json:
        output.json_document(_document(run, task, history, tried, on_branch))
    else:
        _print(run, task, history, tried)


def history_of(journal: Journal, run: Run, task: str) -> list[Stored]:
    """Collect the events that name a task, oldest first."""
    return [stored for stored in journal.events(run.id) if getattr(stored.event, "task", None) == task]


def _tried(repository: GitRepository, run: Run, history: list[Stored], attempt: Attempt) -> Tried:
    own = [s.event for s in history if getattr(s.event, "attempt", None) == attempt.number]
    kept = changed.snapshot(attempt)
    if kept is not None and run.cleaned is not None and not repository.has(Oid(hex=kept.new)):
        kept = None  # Git has collected it since
    return Tried(
        attempt=attempt,
        verdicts=tuple(e.verdict for e in own if isinstance(e, ev.Checked)),
        refused=next((e.reason for e in own if isinstance(e, ev.LandingRejected)), None),
        paths=tuple(changed.paths(repository, kept)) if kept else (),
    )


def _document(
    run: Run, task: TaskState, history: list[Stored], tried: list[Tried], on_branch: frozenset[str]
) -> dict[str, object]:
    spec = run.spec(task.id)
    return {
        "run": run.id,
        "task": {**task_document(run, task.id, on_branch), "title": spec.title, "owns": list(spec.owns)},
        "attempts": [_attempt_document(one) for one in tried],
        "history": [event_document(stored) for stored in history],
    }


def _attempt_document(one: Tried) -> dict[str, object]:
    start, end = one.attempt.start, one.attempt.end
    reason = end.reason if isinstance(end, ev.AttemptFailed) else one.refused
    return {
        "attempt": one.attempt.number,
        "result": end.type.removeprefix("attempt_") if end else "running",
        "base": start.base,
        "plan": {"id": start.plan_id, "revision": start.revision},
        "agent": start.agent,
        "log": start.log,
        "snapshot": getattr(end, "snapshot", None),
        "reason": json_of(reason) if reason else None,
        "checks": [json_of(verdict) for verdict in one.verdicts],
        "telemetry": json_of(end.telemetry) if end else None,
        "paths": changed.path_documents(list(one.paths)),
    }


def _print(run: Run, task: TaskState, history: list[Stored], tried: list[Tried]) -> None:
    spec = run.spec(task.id)
    state = Styled(task.status.value, MARKS[task.status].colour)
    output.line(symbol(task.status), " ", Styled(task.id, bold=True), " ", state, f"  {spec.title}")
    facts = [
        ("run", run.id),
        ("role", spec.role),
        ("owns", ", ".join(spec.owns)),
        *((("extends", ", ".join(spec.extends)),) if spec.extends else ()),
        *((("command", spec.run.text),) if spec.run else ()),
        *((("waits for", waiting),) if (waiting := waits_for(run, task.id)) else ()),
        *((("commit", task.commit),) if task.commit else ()),
        *((("strategy", task.landing.strategy),) if task.landing else ()),
    ]
    output.table(((Styled(label, dim=True), value) for label, value in facts), indent="  ")
    if task.reason:
        _print_reason(task.reason, indent="  ")
    for one in tried:
        _print_attempt(one)
    if history:
        output.line(Styled("history", bold=True))
        for stored in history:
            output.line(f"  {clock(stored.at)}  {sentence(stored.event, run)}")


def _print_attempt(one: Tried) -> None:
    end = one.attempt.end
    result = end.type.removeprefix("attempt_") if end else "running"
    output.line(
        Styled(f"attempt {one.attempt.number}", bold=True),
        f"  {result}, from {one.attempt.start.base[:SHORT]}",
    )
    reason = end.reason if isinstance(end, ev.AttemptFailed) else one.refused
    if reason:
        _print_reason(reason, indent="  ")
    for verdict in one.verdicts:
        colour = "green" if verdict.result == "passed" else "red"
        took = format_elapsed(verdict.duration_s)
        output.line("  check ", Styled(verdict.result, colour), f" in {took}: {verdict.command}")
    if end:
        output.line(f"  {_telemetry(end.telemetry)}")
    for path, kind in one.paths[:_PATHS_TOLD]:
        output.line(f"  {kind:<8} {path_shown(path)}")
    if len(one.paths) > _PATHS_TOLD:
        output.line(f"  and {len(one.paths) - _PATHS_TOLD} more: otto diff, or otto show --json")


def _print_reason(reason: Reason, *, indent: str) -> None:
    output.line(indent, Styled(reason.kind.value, "red"), f": {reason.message}")
    if reason.hint:
        output.line(indent, Styled("hint:", "cyan"), f" {reason.hint}")
    for path in reason.paths[:_PATHS_TOLD]:
        output.line(f"{indent}  {path_shown(path)}")


def _telemetry(telemetry: Telemetry) -> str:
    spent = [f"took {format_elapsed(telemetry.duration_s)}"]
    if model := telemetry.actual_model or telemetry.requested_model:
        spent.append(f"model {model}")
    if telemetry.input_tokens or telemetry.output_tokens:
        read = f"{telemetry.input_tokens} tokens in ({telemetry.cached_input_tokens} cached)"
        spent.append(f"{read}, {telemetry.output_tokens} out")
    if telemetry.cost_usd is not None:
        spent.append(f"{telemetry.cost_usd:.2f} USD")
    if telemetry.missing:
        spent.append(f"no telemetry: {telemetry.missing}")
    return ", ".join(spent)
