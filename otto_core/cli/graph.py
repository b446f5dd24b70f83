"""`otto graph`: the tasks by generation and what they stand on, coloured by state."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import click

from otto_core.cli import output, select
from otto_core.cli.output import MARKS, Styled, safe
from otto_core.cli.tree import generations, tree
from otto_core.state import Run
from planner.model import Task

Format = Literal["text", "mermaid", "dot", "json"]


@dataclass(frozen=True, slots=True)
class _Box:
    """How a task's box is painted in Mermaid and DOT."""

    fill: str
    stroke: str
    text: str


_BOXES: Mapping[str, _Box] = {
    "bright_black": _Box("#eeeeee", "#999999", "#333333"),
    "cyan": _Box("#d6f3f7", "#0b7285", "#000000"),
    "blue": _Box("#dbe7ff", "#1c4fd6", "#000000"),
    "green": _Box("#d8f5dc", "#1b7a2d", "#000000"),
    "yellow": _Box("#fff3c4", "#a07800", "#000000"),
    "red": _Box("#ffdcdc", "#b3261e", "#000000"),
}
"""By the colour of a state in the terminal."""


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot", "json"]),
    default="text",
    show_default=True,
    help="`mermaid` and `dot` are for programs that draw, such as `dot -Tsvg`.",
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
        box = _BOXES[mark.colour]
        output.line(f"  classDef {state} fill:{box.fill},stroke:{box.stroke},color:{box.text}")


def _label(text: str) -> str:
    """Write text for a quoted label: what has a meaning there goes by its number."""
    return "".join(char if char.isalnum() or char in " .,:/()_-" else f"#{ord(char)};" for char in safe(text))


def _print_dot(run: Run) -> None:
    """Print a digraph (graphviz.org/doc/info/lang.html); nodes are numbered as in Mermaid."""
    number = {task.id: f"t{place}" for place, task in enumerate(run.plan.tasks)}
    output.line(f"digraph {_quoted(run.id)} {{")
    output.line(f"  graph [rankdir=LR, label={_quoted(run.start.intent)}]")
    output.line('  node [shape=box, style="rounded,filled"]')
    for generation, tasks in generations(run):
        output.line(f"  subgraph cluster_{generation} {{")
        output.line(f'    graph [label="generation {generation}", style=dashed]')
        for task in tasks:
            mark = MARKS[run.tasks[task.id].status]
            box = _BOXES[mark.colour]
            label = _quoted(f"{mark.symbol} {task.id}", task.title)
            output.line(
                f"    {number[task.id]} [label={label}, "
                f'fillcolor="{box.fill}", color="{box.stroke}", fontcolor="{box.text}"]'
            )
        output.line("  }")
    for before, after, implied in edges(run):
        output.line(f"  {number[before]} -> {number[after]}{' [style=dashed]' if implied else ''}")
    output.line("}")


def _quoted(*lines: str) -> str:
    """Write lines of text as a quoted string: a label takes backslashes and character references for more."""
    text = "\n".join(safe(line) for line in lines).replace("&", "&amp;").replace("\\", r"\\")
    return '"' + text.replace('"', r"\"").replace("\n", r"\n") + '"'


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
    "dot": _print_dot,
    "json": _print_json,
}
