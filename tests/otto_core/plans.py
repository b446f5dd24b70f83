"""Compiled plans for tests of the core, without a file or a repository."""

from planner.model import Command, Contract, Plan, Role, Task, Verify

BASE = "b" * 40


def a_task(
    name: str,
    *after: str,
    role: Role = "feature",
    provides: tuple[str, ...] = (),
    max_attempts: int = 2,
    verify: tuple[str, ...] = (),
    allow_empty: bool = False,
) -> Task:
    return Task(
        id=name,
        role=role,
        title=name.title(),
        owns=(f"{name}/**",),
        provides=provides,
        depends_on=after,
        after=after,
        reads=(),
        extends=(),
        prompt="",
        run=Command(shell="true"),
        agent="command",
        verify=tuple(Command(shell=text) for text in verify),
        timeout_s=60.0,
        max_attempts=max_attempts,
        retry_from="tip",
        allow_empty=allow_empty,
        generation=0,
        priority=1,
    )


def a_plan(
    *tasks: Task,
    each: tuple[str, ...] = (),
    final: tuple[str, ...] = (),
    contracts: tuple[Contract, ...] = (),
    baseline: bool = True,
) -> Plan:
    return Plan(
        intent="Test",
        base=BASE,
        contracts=contracts,
        verify=Verify(
            each=tuple(Command(shell=text) for text in each),
            final=tuple(Command(shell=text) for text in final),
            baseline=baseline,
            timeout_s=60.0,
        ),
        tasks=tasks,
    )
