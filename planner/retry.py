"""The plan of a further attempt: one task, as it was, told what went wrong."""

from msgspec import structs

from planner.canonical import plan_id
from planner.model import Plan

HEADING = "## What happened before"

MAX_FEEDBACK = 20_000
"""Characters of feedback that a prompt is given; of more the end, where programs say what went wrong."""


def compile_retry(plan: Plan, task_id: str, *, base: str, feedback: str) -> Plan:
    """Compile a sub-plan that tries one task again from the commit `base` (hex).

    Identity, ownership, dependencies, checks and execution stay as they are (X8); only the prompt grows. What
    the task depends on is named, though it is not in the sub-plan.

    Raises:
        KeyError: the plan has no such task.

    """
    task = plan.task(task_id)
    parts = [task.prompt.rstrip(), HEADING, _bounded(feedback)]
    prompt = "\n\n".join(part for part in parts if part) + "\n"
    return Plan(
        intent=plan.intent,
        base=base,
        parent=plan_id(plan),
        contracts=plan.contracts,
        verify=plan.verify,
        setup=plan.setup,
        tasks=(structs.replace(task, prompt=prompt),),
    )


def _bounded(feedback: str) -> str:
    """Keep the end of a text, and only what has a UTF-8 form: output of programs may have anything in it."""
    text = feedback.replace("\0", "").encode("utf-8", "replace").decode().strip()
    left_out = len(text) - MAX_FEEDBACK
    return f"({left_out:,} characters left out)\n{text[left_out:]}" if left_out > 0 else text
