"""`otto status`: where a run stands, task by task, with every reason and its hint."""

from typing import cast

import click

from otto_core.cli import output, select
from otto_core.cli.output import OUTCOME_COLOURS, Styled, symbol
from otto_core.errors import UsageError
from otto_core.freshness import record_shown
from otto_core.git.view import ProgramView
from otto_core.journal import Journal
from otto_core.model import Outcome, TaskStatus
from otto_core.presence import landed_in_git
from otto_core.refnames import run_ref
from otto_core.report import SHORT, document, format_elapsed, last_telemetry, summary, waits_for
from otto_core.runlock import as_seen, is_delivering
from otto_core.state import Run


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--config", is_flag=True, help="Print each setting of a build started now, with where it comes from."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def status(context: click.Context, *, run_name: str | None, config: bool, as_json: bool) -> None:
    """Say where a run stands, and why. RUN is a unique prefix; the newest run is the default."""
    if config:
        if run_name is not None:
            raise UsageError(
                "`--config` is about the next build, not about a run", hint="otto status --config"
            )
        verbs = cast("click.Group", context.find_root().command)
        context.invoke(cast("click.Command", verbs.get_command(context, "status --config")), as_json=as_json)
        return
    with select.opened() as (repository, journal):
        run = select.run(journal, run_name)
        repository.expect(run_ref(run.id, "tip"), f"refs/heads/{run.branch}")
        run = record_shown(repository, journal, run)
        run, warnings = look(repository, journal, run)
        on_branch = landed_in_git(repository, run)
    for warning in warnings:
        output.warn(warning)
    if as_json:
        output.json_document(document(run, on_branch, warnings))
        return
    output.line(Styled(run.start.intent or run.id, bold=True))
    output.table((_row(run, task.id) for task in run.plan.tasks), indent="  ")
    told, *rest = summary(run)
    output.line(Styled(told, OUTCOME_COLOURS[run.outcome]))
    output.lines(rest)


def look(repository: ProgramView, journal: Journal, run: Run) -> tuple[Run, list[str]]:
    """Give the run as it is now, with what `differences` finds twice: once, it may be a driver at work."""
    told: list[str] = []
    while True:
        seen = as_seen(repository.store, run, journal.refresh)
        found = differences(repository, seen)
        if found == told:
            return seen, found
        told = found
        repository.look_again()
        run = journal.refresh(run)


def differences(repository: ProgramView, run: Run) -> list[str]:
    """Compare what the journal says with what Git has (S1); each difference in words.

    A driver moves refs before it journals that: what it is in the midst of is none.
    """
    found = []
    if run.delivery is not None and not is_delivering(repository.store):
        name = run.delivery.target.removeprefix("refs/heads/")
        found.append(f"the landing on {name} was cut off; `otto land {run.id}` finishes or undoes it")
    if run.cleaned is not None:  # what is gone is gone on purpose, and its branch is a person's
        return found
    tip_ref = run_ref(run.id, "tip")
    tip = repository.ref(tip_ref)
    if tip is None:
        found.append(f"{tip_ref} is gone; the journal's last tip is {run.tip[:SHORT]}")
    elif run.landing is not None and run.outcome is not Outcome.RUNNING and str(tip) == _candidate(run):
        found.append(f"{run.landing!r} landed when its driver died; `otto resume {run.id}` records it")
    elif str(tip) != run.tip and run.outcome is not Outcome.RUNNING:
        found.append(f"{tip_ref} is at {str(tip)[:SHORT]}, the journal says {run.tip[:SHORT]}")
    if run.published is not None:
        at = repository.ref(f"refs/heads/{run.branch}")
        if str(at) != run.published.commit and not (run.outcome is Outcome.RUNNING and at == tip):
            where = f"at {str(at)[:SHORT]}" if at else "gone"
            found.append(
                f"branch {run.branch} is {where}, it was published at {run.published.commit[:SHORT]}"
            )
    return found


def _candidate(run: Run) -> str | None:
    """Give the commit that was landing when the driver died."""
    landing = run.tasks[run.landing].landing if run.landing else None
    return landing.candidate if landing else None


def _row(run: Run, name: str) -> tuple[str | Styled, ...]:
    task = run.tasks[name]
    telemetry = last_telemetry(task)
    allowed = task.attempts_allowed(run.spec(name))
    tried = f"{len(task.attempts)} of {allowed} attempts" if task.attempts else ""
    return (
        symbol(task.status),
        name,
        Styled(task.status.value, output.MARKS[task.status].colour),
        tried,
        format_elapsed(telemetry.duration_s) if telemetry else "",
        Styled(_remark(run, name), dim=True),
    )


def _remark(run: Run, name: str) -> str:
    """Say what is worth knowing of a task beside its state."""
    task = run.tasks[name]
    waiting = waits_for(run, name)
    if task.commit:
        return f"{task.commit[:SHORT]} {run.spec(name).title}"
    if task.status is TaskStatus.PENDING and task.reason:
        return f"to be tried again: {task.reason.kind}"
    if waiting:
        return f"waits for {waiting}"
    return task.reason.kind.value if task.reason else run.spec(name).title
