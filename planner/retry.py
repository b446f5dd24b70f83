"""The plan of a further attempt: one task, as it was, told what went wrong."""

from planner.canonical import plan_id
from planner.model import Plan

MAX_FEEDBACK = 20_000
"""Characters of feedback that a prompt is given; of more, the end counts."""


def compile_retry(plan: Plan, task_id: str, *, base: str, feedback: str) -> Plan:
    """Compile a sub-plan that tries one task again from the commit `base` (hex).

    Identity, ownership, dependencies and checks stay as they are (X8); only the prompt grows.

    Raises:
        KeyError: the plan has no such task.

    """
    task = plan.task(task_id)
    heading = "## What happened before"
    told = feedback[-MAX_FEEDBACK:].encode("utf-8", "replace").decode().replace("\0", "")
    prompt = "\n\n".join(part for part in (task.prompt.rstrip(), f"{heading}\n\n{told}\n") if part)
    return Plan(
        intent=plan.intent,
        base=base,
        parent=plan_id(plan),
        contracts=plan.contracts,
        verify=plan.verify,
        tasks=(task.model_copy(update={"prompt": prompt}),),
    )
