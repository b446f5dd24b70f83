"""`otto approve`: confirm what only a person can."""

import click

from otto_core.cli.deciding import about_tasks, decide_about
from otto_core.decisions import approve as decision


@click.command()
@about_tasks
def approve(*, names: tuple[str, ...], run_name: str | None, as_json: bool) -> None:
    """Confirm what only a person can: that a landing did happen which nobody can determine.

    TASK is a full id or a unique suffix. `otto retry` and `otto skip` say that it did not.
    """
    decide_about(names, run_name, decision, as_json=as_json)
