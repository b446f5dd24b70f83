"""`otto retry`: have a task tried again."""

import click

from otto_core.cli.deciding import about_tasks, decide_about
from otto_core.decisions import retry as decision


@click.command()
@about_tasks
def retry(*, names: tuple[str, ...], run_name: str | None, as_json: bool) -> None:
    """Have a task tried again, and with it all that ended only because it did.

    TASK is a full id or a unique suffix. A driver that lives goes on with it; else `otto resume` does.
    """
    decide_about(names, run_name, decision, as_json=as_json)
