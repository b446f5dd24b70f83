"""`otto graph`: the tasks by generation and what they stand on, coloured by state."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import click

from otto_core.cli import output, select
from otto_core.cli.output import MARKS, Styled, safe
from otto_core.cli.tree import generations, tree
from otto_core.state import Run
from planner.model import Task

Format = Literal["text", "mermaid", "json"]

_FILLS: Mapping[str, str] = {
    "bright_black": "fill:#eee,stroke:#999,color:#333",
    "cyan": "fill:#d6f3f7,stroke:#0b7285,color:#000",
    "blue": "fill:#dbe7ff,stroke:#1c4fd6,color:#000",
    "green": "fill:#d8f5dc,stroke:#1b7a2d,color:#000",
    "yellow": "fill:#fff3c4,stroke:#a07800,color:#000",
    "red": "fill:#ffdcdc,stroke:#b3261e,color:#000",
}
"""A box's style in Mermaid for each colour of a state."""


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--format", "form", type=click.Choice(["text", "mermaid", "json"]), default="text", show_default=True
)
def graph(*, run_name: str | None, form: Format) -> None:
    """Draw the tasks of a run by generation, with what each stands on, coloured by state."""
    with select.opened() as (_, journal):
        run = select.run(journal, run_name)
    _FORMATS[form](run)


def edges(run: Run) -> Iterator[tuple[str, str, bool]]:
    """Give (before, after, implied) for each direct predecessor of each task."""
    for task in run.plan.tasks:
        for before in task.after:
            yield before, task.id, before not in task.depends_on


def _print_text(run: Run) -> None:
    output.line(Styled(run.start.intent or run.id, bold=True), f"  {run.id}: {run.outcome}")
    for drawn in tree(run, lambda name: _stands_on(run.spec(name))):
        output.line(*drawn)


def _stands_on(task: Task) -> Styled:
    parts = ["foundation"] if task.role == "foundation" else []
    return Styled("  ".join([*parts, f"after {', '.join(task.after)}"] if task.after else parts), dim=True)


def _print_mermaid(run: Run) -> None:
    r"""Print a flowchart (mermaid.js.org/syntax/flowchart.html).

    Nodes are numbered, since an id such as `end` is a keyword there.
    """
    number = {task.id: f"t{place}" for place, task in enumerate(run.plan.tasks)}
    output.line("flowchart LR")
    for generation, tasks in generations(run):
        output.line(f'  subgraph g{generation}["generation {generation}"]')
        for task in tasks:
            state = run.tasks[task.id].status
            output.line(
                f'    {number[task.id]}["{MARKS[state].symbol} {task.id}<br/>{_label(task.title)}"]:::{state}'
            )
        output.line("  end")
    for before, after, implied in edges(run):
        output.line(f"  {number[before]} {'-.->' if implied else '-->'} {number[after]}")
    for state, mark in MARKS.items():
        output.line(f"  classDef {state} {_FILLS[mark.colour]}")


def _label(text: str) -> str:
    """Write text for a quoted label: what has a meaning there goes by its number."""
    return "".join(char if char.isalnum() or char in " .,:/()_-" else f"#{ord(char)};" for char in safe(text))


def _print_json(run: Run) -> None:
    tasks = [
        {
            "id": task.id,
            "role": task.role,
            "title": task.title,
            "state": run.tasks[task.id].status.value,
            "generation": task.generation + 1,
            "after": list(task.after),
        }
        for task in run.plan.tasks
    ]
    drawn = [{"from": before, "to": after, "implied": implied} for before, after, implied in edges(run)]
    output.json_document({"run": run.id, "outcome": run.outcome.value, "tasks": tasks, "edges": drawn})


_FORMATS: Mapping[Format, Callable[[Run], None]] = {
    "text": _print_text,
    "mermaid": _print_mermaid,
    "json": _print_json,
}
