"""What a valid plan file becomes."""

import json

import msgspec
import pytest
import yaml

from planner.canonical import plan_id
from planner.compile import Compiled, Defaults, Rejected, compile_plan
from planner.model import Command, Plan
from planner.source import Source, load

BASE = "b" * 40
SHOP = """\
version: 1
intent: Add accounts and billing to the shop
base: main
contracts:
  - {id: models, paths: [shop/models.py]}
  - {id: routes, paths: [shop/routes.py], merge: union}
verify:
  each: ["make test", [python, -m, mypy]]
tasks:
  - id: schema
    role: foundation
    title: Models and route table
    owns: [shop/models.py, shop/routes.py, tests/conftest.py]
    provides: [models, routes]
    prompt: Write "models" – with care 🙂
    run: python tools/make_schema.py
    verify: ["pytest -q tests/test_schema.py"]
    timeout: 15m
    max_attempts: 5
    retry_from: attempt
  - id: accounts
    owns: [shop/accounts/**]
    reads: [models]
    extends: [routes]
    run: [python, tools/make accounts.py]
    allow_empty: true
  - id: billing
    depends_on: [accounts]
    owns: [shop/billing/**]
    extends: [routes]
    run: make billing
"""


def outcome(text: str, defaults: Defaults | None = None) -> Compiled | Rejected:
    source = load(text, "plan.yaml")
    assert isinstance(source, Source), source
    return compile_plan(source, base=BASE, defaults=defaults or Defaults())


def compiled(text: str, defaults: Defaults | None = None) -> Plan:
    found = outcome(text, defaults)
    assert isinstance(found, Compiled), found
    return found.plan


def test_a_task_keeps_what_its_file_says() -> None:
    plan = compiled(SHOP)
    schema = plan.task("schema")
    assert (plan.version, plan.intent, plan.base, plan.parent) == (
        1,
        "Add accounts and billing to the shop",
        BASE,
        None,
    )
    assert [(contract.id, contract.paths, contract.merge) for contract in plan.contracts] == [
        ("models", ("shop/models.py",), None),
        ("routes", ("shop/routes.py",), "union"),
    ]
    assert msgspec.to_builtins(schema) == {
        "id": "schema",
        "role": "foundation",
        "title": "Models and route table",
        "owns": ("shop/models.py", "shop/routes.py", "tests/conftest.py"),
        "provides": ("models", "routes"),
        "depends_on": (),
        "after": (),
        "reads": ("models", "routes"),
        "extends": (),
        "prompt": 'Write "models" – with care 🙂',
        "run": {"shell": "python tools/make_schema.py", "arguments": None},
        "agent": "command",
        "verify": ({"shell": "pytest -q tests/test_schema.py", "arguments": None},),
        "timeout_s": 900.0,
        "max_attempts": 5,
        "retry_from": "attempt",
        "allow_empty": False,
        "generation": 0,
        "priority": 3,
    }


def test_what_a_task_leaves_out_comes_from_the_defaults() -> None:
    billing = compiled(SHOP, Defaults(timeout_s=60.0, max_attempts=7)).task("billing")
    assert (billing.role, billing.title, billing.agent) == ("feature", "billing", "command")
    assert (billing.timeout_s, billing.max_attempts, billing.retry_from) == (60.0, 7, "tip")
    assert (billing.verify, billing.allow_empty, billing.prompt) == ((), False, "")


def test_a_command_is_a_line_for_the_shell_or_executed_as_it_is() -> None:
    plan = compiled(SHOP)
    schema, accounts = plan.task("schema").run, plan.task("accounts").run
    assert schema is not None
    assert accounts is not None
    assert (schema.argv, schema.text) == (
        ("sh", "-c", "python tools/make_schema.py"),
        "python tools/make_schema.py",
    )
    assert (accounts.argv, accounts.text) == (
        ("python", "tools/make accounts.py"),
        "python 'tools/make accounts.py'",
    )


def test_the_checks_of_the_plan_replace_those_of_the_configuration_key_by_key() -> None:
    configured = Defaults(each=("lint",), final=("journey", ("a", "b")), baseline=False, verify_timeout_s=5.0)
    verify = compiled(SHOP, configured).verify
    assert verify.each == (Command(shell="make test"), Command(arguments=("python", "-m", "mypy")))
    assert verify.final == (Command(shell="journey"), Command(arguments=("a", "b")))
    assert (verify.baseline, verify.timeout_s) == (False, 5.0)
    own = SHOP.replace(
        "verify:\n  each:", "verify:\n  final: []\n  baseline: true\n  timeout: 1m\n  each:", 1
    )
    verify = compiled(own, configured).verify
    assert (verify.final, verify.baseline, verify.timeout_s) == ((), True, 60.0)


def test_r_o1_a_feature_waits_for_every_foundation_beside_it_without_saying_so() -> None:
    plan = compiled(SHOP)
    assert {task.id: task.after for task in plan.tasks} == {
        "schema": (),
        "accounts": ("schema",),
        "billing": ("accounts", "schema"),
    }
    assert [(task.generation, task.priority) for task in plan.tasks] == [(0, 3), (1, 2), (2, 1)]
    assert plan.task("billing").depends_on == ("accounts",)


def test_r_o1_a_foundation_waits_for_no_other_unless_it_says_so() -> None:
    plan = compiled(
        "version: 1\ntasks:\n- {id: a, role: foundation, owns: [a], run: x}\n"
        "- {id: b, role: foundation, owns: [b], run: x}\n"
        "- {id: c, role: foundation, owns: [c], run: x, depends_on: [b, b]}\n"
    )
    assert [task.after for task in plan.tasks] == [(), (), ("b",)]


@pytest.mark.parametrize("need", ["extends: [log]", "reads: [log]"])
def test_r_o1_a_foundation_waits_for_the_one_whose_contract_it_extends_or_says_that_it_reads(
    need: str,
) -> None:
    plan = compiled(
        "version: 1\ncontracts:\n- {id: log, paths: [log.txt], merge: union}\ntasks:\n"
        f"- {{id: b, role: foundation, owns: [b], run: x, {need}}}\n"
        "- {id: a, role: foundation, owns: [log.txt], provides: [log], run: x}\n"
    )
    assert plan.task("b").after == ("a",)
    assert plan.task("a").after == ()


def test_names_given_twice_mean_nothing_more() -> None:
    once = "version: 1\ntasks:\n- {id: a, owns: [a], run: x}\n- {id: b, owns: [b], run: x, depends_on: [a]}\n"
    assert plan_id(compiled(once)) == plan_id(compiled(once.replace("[a]}", "[a, a]}")))


def test_a_task_reads_every_contract_unless_it_says_which() -> None:
    plan = compiled(SHOP.replace("reads: [models]", "reads: []"))
    assert [task.reads for task in plan.tasks] == [("models", "routes"), (), ("models", "routes")]


@pytest.mark.parametrize(
    "task",
    ["{id: a, owns: [a/**], run: x}", "{id: a, role: foundation, owns: ['**'], run: x}"],
    ids=["feature", "foundation"],
)
def test_r_p1_one_task_is_a_valid_plan(task: str) -> None:
    assert [one.id for one in compiled(f"version: 1\ntasks: [{task}]").tasks] == ["a"]


def test_a_task_may_only_extend() -> None:
    plan = compiled(SHOP.replace("owns: [shop/billing/**]", "owns: []"))
    assert plan.task("billing").owns == ()


FIRST = "version: 1\ntasks:\n- {id: a, owns: [src/**], run: x}\n"
ORDERED = {
    "written": "- {id: b, owns: [src/b.py], run: x, depends_on: [a]}\n",
    "through-another": "- {id: m, owns: [m], run: x, depends_on: [a]}\n"
    "- {id: b, owns: [src/b.py], run: x, depends_on: [m]}\n",
    "implied": "- {id: b, role: foundation, owns: [src/b.py], run: x}\n",
}


@pytest.mark.parametrize("second", ORDERED.values(), ids=ORDERED)
def test_tasks_that_never_run_together_may_own_the_same_path(second: str) -> None:
    assert len(compiled(FIRST + second).tasks) > 1


def test_tasks_after_a_common_one_may_run_together_and_own_nothing_in_common() -> None:
    both = "".join(f"- {{id: {name}, owns: [lib/**], run: x, depends_on: [a]}}\n" for name in "bc")
    rejected = outcome(FIRST + both)
    assert isinstance(rejected, Rejected)
    assert "'b' and 'c' could run together" in rejected.violations[0].message


def test_neighbours_whose_names_begin_alike_own_nothing_in_common() -> None:
    names = ["src/m1", "src/m10", "src/m1.py", "src/*/x", "lib/?.py", "lib/a/b.py", "README.md"]
    tasks = "".join(f"- {{id: t{n}, owns: ['{name}'], run: x}}\n" for n, name in enumerate(names) if n != 3)
    assert len(compiled("version: 1\ntasks:\n" + tasks).tasks) == 6


def test_r_p9_two_features_that_make_the_same_kind_of_bootstrap_file_are_told() -> None:
    text = (
        "version: 1\ntasks:\n"
        "- {id: a, owns: [a/**, a/conftest.py], run: x}\n"
        "- {id: b, owns: [b/**, b/tests/setup.ts, '/b/conftest.py'], run: x}\n"
        "- {id: c, owns: [c/tests/setup.js, c/myconftest.py], run: x}\n"
        "- {id: base, role: foundation, owns: [base/package.json], run: x}\n"
        "- {id: d, owns: [d/package.json], run: x}\n"
    )
    found = outcome(text)
    assert isinstance(found, Compiled)
    assert [(warning.line, warning.message) for warning in found.warnings] == [
        (4, "'a' and 'b' each own a file of the kind conftest.py"),
        (5, "'b' and 'c' each own a file of the kind tests/setup.*"),
    ]


def test_a_sound_plan_brings_no_warnings() -> None:
    found = outcome(SHOP)
    assert isinstance(found, Compiled)
    assert found.warnings == ()


def turned(value: object) -> object:
    """Give the same data with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


DATA = yaml.safe_load(SHOP)
SPELLINGS = {
    "json": json.dumps(DATA),
    "json-unescaped": json.dumps(DATA, ensure_ascii=False, indent="\t"),
    "yaml-block": yaml.safe_dump(DATA, default_flow_style=False, allow_unicode=True),
    "yaml-flow": yaml.safe_dump(DATA, default_flow_style=True),
    "keys-turned": json.dumps(turned(DATA)),
    "timeout-in-seconds": SHOP.replace("15m", "900"),
    "defaults-written-out": SHOP.replace(
        "id: billing\n", "id: billing\n    max_attempts: 3\n    timeout: 30m\n"
    ),
    "base-by-another-name": SHOP.replace("base: main", "base: trunk"),
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_equal_plans_have_the_same_id_however_they_are_spelled(text: str) -> None:
    assert plan_id(compiled(text)) == plan_id(compiled(SHOP))


CHANGES = {
    "intent": SHOP.replace("billing to", "bills to"),
    "prompt": SHOP.replace("with care", "with more care"),
    "order-of-tasks": SHOP.replace("tasks:", "tasks:\n  - {id: docs, owns: [docs], run: x}"),
    "ownership": SHOP.replace("shop/billing/**", "shop/bill/**"),
    "shell-or-not": SHOP.replace("run: make billing", "run: [make, billing]"),
    "timeout": SHOP.replace("15m", "16m"),
    "check": SHOP.replace("make test", "make tests"),
}


@pytest.mark.parametrize("text", CHANGES.values(), ids=CHANGES)
def test_another_plan_has_another_id(text: str) -> None:
    assert plan_id(compiled(text)) != plan_id(compiled(SHOP))


def test_the_id_includes_the_base_commit() -> None:
    source = load(SHOP, "plan.yaml")
    assert isinstance(source, Source)
    other = compile_plan(source, base="c" * 40, defaults=Defaults())
    assert isinstance(other, Compiled)
    assert plan_id(other.plan) != plan_id(compiled(SHOP))


def test_a_default_check_that_is_no_command_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="a command is a string for the shell"):
        outcome(SHOP, Defaults(final=("",)))
