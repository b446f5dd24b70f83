"""The names of the refs that Otto writes for a run."""


def run_ref(run: str, *parts: str) -> str:
    """Name a ref of a run; `/` of a task id is written `.`."""
    return "/".join(("refs/otto/runs", run, *(part.replace("/", ".") for part in parts)))


def task_ref(run: str, task: str, name: str) -> str:
    """Name a ref of a task of a run."""
    return run_ref(run, "tasks", task, name)
