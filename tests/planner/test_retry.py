import msgspec
import pytest
from msgspec import structs

from planner.canonical import canonical, plan_id
from planner.compile import Compiled, Defaults, compile_plan
from planner.model import Plan
from planner.retry import MAX_FEEDBACK, compile_retry
from planner.source import Source, load

PLAN = """\
version: 1
intent: Add billing
contracts: [{id: api, paths: [api.py]}]
verify: {each: [make test], final: [make journey], timeout: 1m}
tasks:
- {id: base, role: foundation, owns: [api.py], provides: [api], run: x}
- {id: docs, owns: [docs/**], run: x}
- {id: billing, depends_on: [docs], owns: [billing/**], run: x, prompt: "Bill.\\n", verify: [y], timeout: 5s}
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    source = load(PLAN, "plan.yaml")
    assert isinstance(source, Source)
    compiled = compile_plan(source, base="b" * 40, defaults=Defaults())
    assert isinstance(compiled, Compiled)
    return compiled.plan


def test_r_x8_a_retry_changes_nothing_of_a_task_but_its_prompt(plan: Plan) -> None:
    again = compile_retry(plan, "billing", base="c" * 40, feedback="half a cent was lost")
    (task,) = again.tasks
    assert structs.replace(task, prompt="") == structs.replace(plan.task("billing"), prompt="")
    assert (again.intent, again.contracts, again.verify) == (plan.intent, plan.contracts, plan.verify)


def test_r_g4_a_retry_is_a_plan_of_its_own_that_names_its_parent_and_base(plan: Plan) -> None:
    again = compile_retry(plan, "billing", base="c" * 40, feedback="no")
    other = compile_retry(plan, "billing", base="d" * 40, feedback="no")
    assert (again.parent, again.base) == (plan_id(plan), "c" * 40)
    assert len({plan_id(plan), plan_id(again), plan_id(other)}) == 3


def test_the_prompt_grows_by_the_feedback_under_a_heading(plan: Plan) -> None:
    again = compile_retry(plan, "billing", base="c" * 40, feedback="  half a cent\nwas lost\n\n")
    assert again.task("billing").prompt == "Bill.\n\n## What happened before\n\nhalf a cent\nwas lost\n"


def test_without_a_prompt_the_feedback_is_the_prompt(plan: Plan) -> None:
    again = compile_retry(plan, "docs", base="c" * 40, feedback="no")
    assert again.task("docs").prompt == "## What happened before\n\nno\n"


def test_of_long_feedback_the_end_is_kept_and_the_rest_counted(plan: Plan) -> None:
    prompt = (
        compile_retry(plan, "docs", base="c" * 40, feedback="x" * 5 + "y" * MAX_FEEDBACK).task("docs").prompt
    )
    assert prompt.endswith("\n(5 characters left out)\n" + "y" * MAX_FEEDBACK + "\n")


def test_feedback_of_the_greatest_length_is_kept_whole(plan: Plan) -> None:
    prompt = compile_retry(plan, "docs", base="c" * 40, feedback="y" * MAX_FEEDBACK).task("docs").prompt
    assert prompt.endswith("before\n\n" + "y" * MAX_FEEDBACK + "\n")


def test_feedback_with_bytes_that_are_no_text_still_makes_a_plan(plan: Plan) -> None:
    feedback = b"caf\xe9 \x00".decode("utf-8", "surrogateescape")
    again = compile_retry(plan, "docs", base="c" * 40, feedback=feedback)
    assert again.task("docs").prompt.endswith("caf?\n")
    assert msgspec.json.decode(canonical(again), type=Plan) == again


def test_a_retry_of_a_retry_does_not_lose_what_the_first_one_was_told(plan: Plan) -> None:
    first = compile_retry(plan, "docs", base="c" * 40, feedback="one")
    second = compile_retry(first, "docs", base="d" * 40, feedback="two")
    assert second.parent == plan_id(first)
    assert second.task("docs").prompt.index("one") < second.task("docs").prompt.index("two")


def test_a_task_that_is_not_in_the_plan_cannot_be_retried(plan: Plan) -> None:
    with pytest.raises(KeyError):
        compile_retry(plan, "accounts", base="c" * 40, feedback="no")
