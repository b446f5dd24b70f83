"""Whether two tasks are in each other's way: decided by their patterns, registries shared."""

import pytest
from msgspec import structs

from otto_core.writesets import WriteSet, meeting, write_set
from planner.model import Contract
from tests.otto_core.plans import a_plan, a_task


@pytest.mark.parametrize(
    ("mine", "theirs", "met"),
    [
        (WriteSet(("src/**",)), WriteSet(("src/api/**",)), ("src/**", "src/api/**")),
        (WriteSet(("docs", "src/a.py")), WriteSet(("src/*.py",)), ("src/a.py", "src/*.py")),
        (WriteSet(("src/a.py",)), WriteSet(("src/b.py",)), None),
        (
            WriteSet(("tests/**/test_a_*.py",)),
            WriteSet(("tests/**/*_b.py",)),
            ("tests/**/test_a_*.py", "tests/**/*_b.py"),
        ),
        (WriteSet((), ("routes.py",)), WriteSet(("x", "routes.py")), ("routes.py", "routes.py")),
        (WriteSet(("routes.py",)), WriteSet(("x",), ("routes.py",)), ("routes.py", "routes.py")),
        (WriteSet(("a",), ("routes.py",)), WriteSet(("b",), ("routes.py",)), None),
        (WriteSet(("same",)), WriteSet(("same",)), ("same", "same")),
    ],
    ids=[
        "a directory and one below it",
        "one of several",
        "two files",
        "two wildcards with a common path",
        "a registry that another owns",
        "owning what another extends",
        "a registry that both extend",
        "the same file",
    ],
)
def test_r_g3_patterns_of_two_tasks_meet_where_one_path_could_belong_to_both(
    mine: WriteSet, theirs: WriteSet, met: tuple[str, str] | None
) -> None:
    assert meeting(mine, theirs) == met
    assert meeting(theirs, mine) == (met and met[::-1])


def test_a_write_set_is_what_a_task_owns_and_the_paths_of_the_registries_it_extends() -> None:
    routes = Contract(id="routes", paths=("shop/routes.py",), merge="union")
    other = Contract(id="other", paths=("other.py",), merge="union")
    task = structs.replace(a_task("a"), extends=("routes",))
    plan = a_plan(task, contracts=(routes, other))
    assert write_set(plan, task) == WriteSet(("a/**",), ("shop/routes.py",))
