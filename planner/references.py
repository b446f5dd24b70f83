"""Rules about the names that tasks and contracts use for each other, and about what a task needs."""

from collections.abc import Collection
from difflib import get_close_matches

from planner.draft import Draft, DraftTask

_SIBLINGS = "`depends_on` names the ids of tasks in this plan"


def check_references(draft: Draft) -> None:
    """Note every name that means nothing, and every task that could not do or change anything."""
    tasks = {task.id for task in draft.tasks}
    contracts = {contract.id for contract in draft.contracts}
    registries = {c.id for c in draft.contracts if c.file.merge == "union" or not c.knows("merge")}
    all_tasks, all_contracts = draft.knows("tasks", "id"), draft.knows("contracts", "id")
    for task in draft.tasks:
        if all_tasks:
            _check_depends_on(draft, task, tasks)
        if all_contracts:
            _check_contract_names(draft, task, contracts)
        _check_extends(draft, task, contracts - registries)
        _check_work(draft, task)


def _check_depends_on(draft: Draft, task: DraftTask, known: Collection[str]) -> None:
    for place, name in enumerate(task.file.depends_on):
        at = (*task.at, "depends_on", place)
        if name == task.id:
            draft.fault(at, f"the task {task.id!r} depends on itself", "remove it")
        elif name not in known:
            draft.fault(
                at, f"{task.id!r} depends on {name!r}, which is no task", _near(name, known) or _SIBLINGS
            )


def _check_contract_names(draft: Draft, task: DraftTask, known: Collection[str]) -> None:
    named = {"provides": task.file.provides, "reads": task.file.reads or [], "extends": task.file.extends}
    for key, names in named.items():
        for place, name in enumerate(names):
            if name not in known:
                draft.fault(
                    (*task.at, key, place),
                    f"{task.id!r} {key} {name!r}, which is no contract",
                    _near(name, known) or "declare it under `contracts`",
                )


def _check_extends(draft: Draft, task: DraftTask, not_registries: Collection[str]) -> None:
    for place, name in enumerate(task.file.extends):
        at = (*task.at, "extends", place)
        if name in not_registries:
            draft.fault(
                at,
                f"{task.id!r} extends {name!r}, which is no registry",
                "a contract that several tasks insert lines into says `merge: union`",
            )
        if name in task.file.provides:
            draft.fault(at, f"{task.id!r} both provides and extends {name!r}", "its owner need not extend it")


def _check_work(draft: Draft, task: DraftTask) -> None:
    if task.knows("owns", "extends") and not task.file.owns and not task.file.extends:
        wrong = f"{task.id!r} owns nothing, so it could write nothing"
        draft.fault(task.at, wrong, "say under `owns` which paths it may write")
    if task.file.agent not in (None, "command"):
        wrong = f"the agent {task.file.agent!r} is not yet part of this version"
        draft.fault((*task.at, "agent"), wrong, "use `agent: command`")
    elif task.file.run is None and task.knows("run", "agent"):
        nothing = task.knows("prompt") and not task.file.prompt.strip()
        lacks = "neither `run` nor `prompt`" if nothing else "no `run` for the command agent"
        draft.fault(task.at, f"{task.id!r} has {lacks}", "add `run:` with the command to execute")


def _near(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
