"""The compiled plan: immutable, stored as JSON, and never out of date with itself."""

import copy
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import ValidationError, structs

from planner.canonical import canonical, plan_id
from planner.model import Command, Contract, Plan, Task, Verify

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
SECONDS = st.floats(0.001, 1e7) | st.integers(1, 10**7).map(float)
COMMANDS = st.builds(Command, shell=TEXT) | st.builds(Command, arguments=TEXTS)
TASKS = st.builds(
    Task,
    id=TEXT,
    title=TEXT,
    owns=TEXTS,
    provides=TEXTS,
    depends_on=TEXTS,
    after=TEXTS,
    reads=TEXTS,
    extends=TEXTS,
    prompt=TEXT,
    run=st.none() | COMMANDS,
    agent=TEXT,
    verify=st.lists(COMMANDS, max_size=2).map(tuple),
    timeout_s=SECONDS,
    max_attempts=st.integers(1, 100),
    generation=st.integers(0, 99),
    priority=st.integers(1, 99),
)
PLANS = st.builds(
    Plan,
    intent=TEXT,
    base=TEXT,
    parent=st.none() | TEXT,
    contracts=st.lists(st.builds(Contract, id=TEXT, paths=TEXTS), max_size=2).map(tuple),
    verify=st.builds(Verify, each=st.lists(COMMANDS, max_size=2).map(tuple), timeout_s=SECONDS),
    tasks=st.lists(TASKS, max_size=3).map(tuple),
)


@settings(deadline=None, max_examples=100)
@given(PLANS)
def test_a_plan_comes_back_from_its_json_with_the_same_id(plan: Plan) -> None:
    for stored in (msgspec.json.encode(plan), canonical(plan)):
        read_back = msgspec.json.decode(stored, type=Plan)
        assert read_back == plan
        assert plan_id(read_back) == plan_id(plan)


def a_task(name: str) -> Task:
    return Task(
        id=name,
        role="feature",
        title=name,
        owns=(),
        provides=(),
        depends_on=(),
        after=(),
        reads=(),
        extends=(),
        prompt="",
        run=None,
        agent="command",
        verify=(),
        timeout_s=1.5,
        max_attempts=1,
        retry_from="tip",
        allow_empty=False,
        generation=0,
        priority=1,
    )


def a_plan(*names: str) -> Plan:
    tasks = tuple(map(a_task, names))
    return Plan(intent="Café", base="b", contracts=(), verify=Verify(timeout_s=900.0), tasks=tasks)


def test_the_canonical_form_sorts_keys_and_writes_numbers_the_shortest_way() -> None:
    assert (
        canonical(a_plan("a"))
        == (
            '{"base":"b","contracts":[],"intent":"Café","parent":null,"tasks":[{"after":[],"agent":"command",'
            '"allow_empty":false,"depends_on":[],"extends":[],"generation":0,"id":"a","max_attempts":1,"owns":[],'
            '"priority":1,"prompt":"","provides":[],"reads":[],"retry_from":"tip","role":"feature","run":null,'
            '"timeout_s":1.5,"title":"a","verify":[]}],'
            '"verify":{"baseline":true,"each":[],"final":[],"timeout_s":900},"version":1}'
        ).encode()
    )


def test_an_id_never_changes_between_versions_of_the_program() -> None:
    assert plan_id(a_plan("a", "b")) == "971c9b0220b08fbf19f045664d295896d9764588422ac727381ace4c85f23e80"


def test_a_task_is_found_by_its_id() -> None:
    plan = a_plan("a", "b")
    assert plan.task("b") is plan.tasks[1]
    with pytest.raises(KeyError):
        plan.task("c")


def test_a_copy_with_other_tasks_finds_those_and_not_the_old_ones() -> None:
    plan = a_plan("a", "b")
    assert plan.task("a").prompt == ""
    changed = structs.replace(plan.task("a"), prompt="Again")
    copied = structs.replace(plan, tasks=(changed,))
    assert copied.task("a") is changed
    with pytest.raises(KeyError):
        copied.task("b")
    assert plan.task("b") is plan.tasks[1]


@pytest.mark.parametrize(
    "duplicate",
    [structs.replace, copy.copy, copy.deepcopy],
    ids=["replace", "copy", "deepcopy"],
)
def test_a_copy_finds_its_own_tasks_and_equals_the_original(duplicate: Callable[[Plan], Plan]) -> None:
    plan = a_plan("a")
    assert plan.task("a") is plan.tasks[0]
    copied = duplicate(plan)
    assert copied == plan == a_plan("a")
    assert copied.task("a") is copied.tasks[0]


def test_a_plan_cannot_be_changed() -> None:
    plan = a_plan("a")
    with pytest.raises(AttributeError, match="immutable"):
        plan.intent = "Other"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        plan.tasks[0].prompt = "Other"  # type: ignore[misc]


def test_a_stored_plan_with_unknown_keys_is_not_read() -> None:
    stored = msgspec.to_builtins(a_plan("a"))
    assert msgspec.convert(stored, Plan) == a_plan("a")
    with pytest.raises(ValidationError, match="colour"):
        msgspec.convert({**stored, "colour": 1}, Plan)
    with pytest.raises(ValidationError, match="max_attempts"):
        msgspec.convert({**stored, "tasks": [{**stored["tasks"][0], "max_attempts": "1"}]}, Plan)
