"""The option `--wait`: how long a run waits for the locks of others."""

from typing import Final

import click

from planner.durations import parse_duration

_NO_LIMIT: Final = "without limit"


def _read_wait(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Give how long to wait for a lock, in seconds: 0 unless asked for, None without limit."""
    if value is None:
        return 0.0
    try:
        return None if value == _NO_LIMIT else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


wait_option = click.option(
    "--wait",
    "wait_s",
    metavar="[=DUR]",
    is_flag=False,
    flag_value=_NO_LIMIT,
    callback=_read_wait,
    help="Wait for tasks of other runs that are writing the same paths, each at most so long"
    " (default: refuse, exit 6).",
)
"""Gives the parameter `wait_s`: seconds, None without limit."""
