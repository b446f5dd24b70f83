"""Rules about what tasks and contracts say of each other."""

from collections.abc import Collection
from difflib import get_close_matches

from planner.draft import Draft, DraftTask


def check_references(draft: Draft) -> None:
    """Note every name that means nothing, and every task that could not do anything."""
    contracts = {contract.id: contract for contract in draft.contracts}
    for task in draft.tasks:
        for place, name in enumerate(task.file.depends_on):
            at = (*task.at, "depends_on", place)
            if name == task.id:
                draft.fault(at, f"the task {task.id!r} depends on itself", "remove it")
            elif name not in draft.mentioned:
                draft.fault(
                    at, f"{task.id!r} depends on {name!r}, which is no task", _near(name, draft.mentioned)
                )
        for key in ("provides", "reads", "extends"):
            for place, name in enumerate(getattr(task.file, key) or []):
                if name not in contracts:
                    draft.fault(
                        (*task.at, key, place),
                        f"{task.id!r} {key} {name!r}, which is no contract",
                        _near(name, contracts) or "declare it under `contracts`",
                    )
        _check_extends(draft, task)
        _check_work(draft, task)


def _check_extends(draft: Draft, task: DraftTask) -> None:
    registries = {contract.id for contract in draft.contracts if contract.file.merge == "union"}
    known = {contract.id for contract in draft.contracts}
    for place, name in enumerate(task.file.extends):
        at = (*task.at, "extends", place)
        if name in known and name not in registries:
            draft.fault(
                at,
                f"{task.id!r} extends {name!r}, which is no registry",
                "a contract that several tasks insert lines into says `merge: union`",
            )
        if name in task.file.provides:
            draft.fault(at, f"{task.id!r} both provides and extends {name!r}", "its owner need not extend it")


def _check_work(draft: Draft, task: DraftTask) -> None:
    if not task.file.owns and not task.file.extends:
        draft.fault(
            task.at,
            f"{task.id!r} owns nothing, so it could write nothing",
            "say under `owns` which paths it may write",
        )
    if task.file.run is None:
        nothing = not task.file.prompt.strip()
        draft.fault(
            task.at,
            f"{task.id!r} has neither `run` nor `prompt`"
            if nothing
            else f"{task.id!r} has no `run` for the command agent",
            "add `run:` with the command to execute",
        )
    if task.file.agent not in (None, "command"):
        draft.fault(
            (*task.at, "agent"),
            f"the agent {task.file.agent!r} is not yet part of this version",
            "use `agent: command`",
        )


def _near(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
