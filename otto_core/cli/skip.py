"""`otto skip`: leave a task out."""

import click

from otto_core.cli.deciding import about_tasks, decide_about
from otto_core.decisions import skip as decision


@click.command()
@about_tasks
def skip(*, names: tuple[str, ...], run_name: str | None, as_json: bool) -> None:
    """Leave a task out: it neither runs nor lands, and what waits for it is settled.

    TASK is a full id or a unique suffix.
    """
    decide_about(names, run_name, decision, as_json=as_json)
