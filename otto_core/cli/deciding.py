"""What the verbs of a person's decisions have in common: which tasks of which run, and what is said after."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from otto_core.cli import output, select
from otto_core.cli.words import sentence, subject
from otto_core.decide import Decided, decide_on
from otto_core.decisions import Verb, together
from otto_core.environment import person
from otto_core.git.repository import GitRepository
from otto_core.model import Outcome
from otto_core.runlock import is_driven

F = TypeVar("F", bound=Callable[..., object])


def about_tasks(command: F) -> F:
    """Give a verb the parameters `names`, `run_name` and `as_json`."""
    options = (
        click.argument("names", metavar="TASK...", nargs=-1, required=True),
        click.option("--run", "run_name", help="The run, by a unique prefix (default: the newest)."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def decide_about(names: Sequence[str], run_name: str | None, verb: Verb, *, as_json: bool) -> None:
    """Decide about tasks of a run, all or none, and say what came of it."""
    with select.opened() as (_, journal):
        run = select.run(journal, run_name)
    chosen = {select.task(run, name).id for name in names}
    repository = GitRepository.discover(Path.cwd())
    by = person()
    tell(
        repository,
        decide_on(repository, run.id, partial(together, verb, names=chosen, by=by)),
        as_json=as_json,
    )


def tell(repository: GitRepository, decided: Decided, *, as_json: bool) -> None:
    """Say what was decided, and who goes on."""
    run = decided.run
    driven = run.outcome is Outcome.RUNNING and is_driven(repository.store, run.id)
    told = [(subject(event), sentence(event, run)) for event in decided.events]
    if as_json:
        output.json_document(
            {
                "run": run.id,
                "outcome": run.outcome.value,
                "driven": driven,
                "decided": [{"subject": about, "message": words} for about, words in told],
            }
        )
        return
    output.lines([f"{about}: {words}" for about, words in told])
    if driven:
        output.line(f"{run.driver} drives {run.id} and goes on with it.")
    elif not run.outcome.is_final:
        output.line(f"next: otto resume {run.id}")
