"""What an interrupted landing means, decided from what Git says.

A landing is on the branch or it never happened.
"""

from collections.abc import Mapping

from otto_core import events as ev
from otto_core.state import Run


def resolve(
    run: Run, found: str | None, contracts: Mapping[str, str | None]
) -> ev.LandingApplied | ev.LandingLost:
    """Give the event that ends the run's started landing.

    `found` is the commit with the task's trailers on the first-parent chain of the run's tip, `contracts`
    their versions there. The agent is never asked again: what it produced is pinned, and lands or is
    prepared anew.

    Raises:
        ValueError: no landing was started.

    """
    started = run.tasks[run.landing].landing if run.landing else None
    if started is None:
        raise ValueError(f"no landing of {run.id} was started")
    if found is None:
        return ev.LandingLost(task=started.task, attempt=started.attempt)
    return ev.LandingApplied(
        task=started.task, attempt=started.attempt, commit=found, contracts=dict(contracts)
    )
