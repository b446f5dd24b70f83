"""What the compiler refuses: one row a rule, with the words that name the fault and the line to blame."""

import pytest

from planner.compile import Compiled, Defaults, Rejected, compile_plan
from planner.source import Source, load
from planner.violations import Violation

HEAD = "version: 1\ntasks:\n"
CONTRACT = "version: 1\ncontracts:\n- {id: api, paths: [src/api.py]}\ntasks:\n"
REGISTRY = "version: 1\ncontracts:\n- {id: routes, paths: [src/routes.py], merge: union}\ntasks:\n"
OWNER = "- {id: base, role: foundation, owns: [src/api.py], provides: [api], run: x}\n"
LISTER = "- {id: base, role: foundation, owns: [src/routes.py], provides: [routes], run: x}\n"


def violations(text: str) -> tuple[Violation, ...]:
    source = load(text, "plan.yaml")
    if not isinstance(source, Source):
        return source
    match compile_plan(source, base="b" * 40, defaults=Defaults()):
        case Rejected(found):
            return found
        case Compiled():
            return ()


def a(fields: str, name: str = "a") -> str:
    return f"- {{id: {name}, owns: [{name}/**], run: x, {fields}}}\n"


TABLE = [
    # The form of the file
    ("unknown-top-key", HEAD + a("") + "tsks: []\n", "unknown key 'tsks'", 4),
    ("unknown-task-key", HEAD + a("depend_on: []"), "unknown key 'depend_on'", 3),
    ("unknown-verify-key", "version: 1\nverify:\n  eac: []\ntasks:\n" + a(""), "unknown key 'eac'", 3),
    ("unknown-contract-key", CONTRACT.replace("]}", "], pth: 1}") + OWNER, "unknown key 'pth'", 3),
    ("nested-tasks", HEAD + a("tasks: []"), "nested tasks are not yet part", 3),
    ("decompose", HEAD + a("decompose: true"), "decomposition is not yet part", 3),
    ("partial", HEAD + a("partial: true"), "composites are not yet part", 3),
    ("no-version", "tasks:\n" + a(""), "the key 'version' is missing", 1),
    ("version-2", "version: 2\ntasks:\n" + a(""), "this Otto reads version 1", 1),
    ("version-as-text", "version: '1'\ntasks:\n" + a(""), "this Otto reads version 1", 1),
    ("version-true", "version: true\ntasks:\n" + a(""), "this Otto reads version 1", 1),
    ("sexagesimal", HEAD + a("timeout: 1:30"), "'1:30' is not a duration", 3),
    ("no-tasks", "version: 1\n", "the key 'tasks' is missing", 1),
    ("tasks-not-a-list", "version: 1\ntasks: {a: 1}\n", "tasks: {'a': 1} should be a valid list", 2),
    ("tasks-of-nothing", "version: 1\ntasks:\n", "tasks: nothing should be a valid list", 2),
    ("task-not-a-mapping", HEAD + "- build it\n", "'build it' should be a mapping", 3),
    ("verify-not-a-mapping", "version: 1\nverify: []\ntasks:\n" + a(""), "[] should be a mapping", 2),
    (
        "too-many-tasks",
        HEAD + "".join(a("", f"t{n}") for n in range(2001)),
        "2,001 tasks; the limit is 2,000",
        2,
    ),
    # Ids
    ("no-id", HEAD + "- {owns: [a/**], run: x}\n", "the key 'id' is missing", 3),
    ("id-a-number", HEAD + a("", "7"), "id: 7 should be a valid string", 3),
    ("id-a-boolean", HEAD + a("", "on"), "id: on should be a valid string", 3),
    ("id-a-date", HEAD + a("", "2024-01-01"), "id: 2024-01-01 should be a valid string", 3),
    ("id-like-a-path", HEAD + a("", "src/a"), "'src/a' looks like a path", 3),
    ("id-in-capitals", HEAD + a("", "Auth"), "'Auth' is not a valid id", 3),
    ("id-ends-in-a-newline", HEAD + '- {id: "a\\n", owns: [a/**], run: x}\n', "is not a valid id", 3),
    ("id-too-long", HEAD + a("", "a" * 65), "is not a valid id", 3),
    ("id-taken", HEAD + a("") + "- {id: a, owns: [b/**], run: x}\n", "the task id 'a' is taken (line 3)", 4),
    (
        "contract-id-taken",
        CONTRACT.replace("tasks:", "- {id: api, paths: [b.py]}\ntasks:")
        + OWNER.replace("api.py", "api.py, b.py"),
        "the contract id 'api' is taken (line 3)",
        4,
    ),
    # Work
    ("nothing-to-do", HEAD + "- {id: a, owns: [a/**]}\n", "'a' has neither `run` nor `prompt`", 3),
    (
        "no-run",
        HEAD + "- {id: a, owns: [a/**], prompt: Do it}\n",
        "'a' has no `run` for the command agent",
        3,
    ),
    ("other-agent", HEAD + a("agent: claude"), "the agent 'claude' is not yet part", 3),
    ("run-empty", HEAD + "- {id: a, owns: [a/**], run: ' '}\n", "run: a command is a string", 3),
    ("run-empty-list", HEAD + "- {id: a, owns: [a/**], run: []}\n", "run: a command is a string", 3),
    ("run-no-program", HEAD + "- {id: a, owns: [a/**], run: ['', x]}\n", "run: a command is a string", 3),
    ("run-a-number", HEAD + "- {id: a, owns: [a/**], run: 7}\n", "run: a command is a string", 3),
    ("verify-empty", HEAD + a('verify: [x, ""]'), "verify.1: a command is a string", 3),
    ("verify-text", HEAD + a("verify: make test"), "verify: 'make test' should be a valid list", 3),
    (
        "each-empty",
        "version: 1\nverify:\n  each:\n  - ''\ntasks:\n" + a(""),
        "each.0: a command is a string",
        4,
    ),
    ("timeout-zero", HEAD + a("timeout: 0"), "timeout: should be greater than 0", 3),
    ("timeout-negative", HEAD + a("timeout: -5"), "timeout: -5 is not a duration", 3),
    ("timeout-infinite", HEAD + a("timeout: .inf"), "timeout: inf is longer than a year", 3),
    ("timeout-not-a-number", HEAD + a("timeout: .nan"), "timeout: nan is not a duration", 3),
    ("timeout-word", HEAD + a("timeout: soon"), "timeout: 'soon' is not a duration", 3),
    (
        "verify-timeout",
        "version: 1\nverify: {timeout: 0s}\ntasks:\n" + a(""),
        "timeout: should be greater",
        2,
    ),
    ("attempts-zero", HEAD + a("max_attempts: 0"), "max_attempts: should be greater than or equal to 1", 3),
    ("attempts-half", HEAD + a("max_attempts: 1.5"), "max_attempts: 1.5 should be a valid integer", 3),
    ("attempts-true", HEAD + a("max_attempts: yes"), "max_attempts: yes should be a valid integer", 3),
    ("role", HEAD + a("role: repair"), "role: 'repair' should be 'foundation' or 'feature'", 3),
    ("retry-from", HEAD + a("retry_from: base"), "retry_from: 'base' should be 'tip' or 'attempt'", 3),
    ("allow-empty", HEAD + a("allow_empty: 'no'"), "allow_empty: 'no' should be a valid boolean", 3),
    (
        "baseline",
        "version: 1\nverify: {baseline: 1}\ntasks:\n" + a(""),
        "baseline: 1 should be a valid bool",
        2,
    ),
    # Ownership
    ("owns-missing", HEAD + "- {id: a, run: x}\n", "'a' owns nothing", 3),
    ("owns-empty", HEAD + "- {id: a, run: x, owns: []}\n", "'a' owns nothing", 3),
    ("owns-text", HEAD + "- {id: a, run: x, owns: src}\n", "owns: 'src' should be a valid list", 3),
    (
        "owns-a-number",
        HEAD + "- id: a\n  run: x\n  owns:\n  - src\n  - 7\n",
        "owns.1: 7 should be a valid str",
        7,
    ),
    ("pattern-negated", HEAD + "- {id: a, run: x, owns: ['!src']}\n", "'!src' negates", 3),
    ("pattern-empty", HEAD + "- {id: a, run: x, owns: ['']}\n", "a pattern is empty", 3),
    ("pattern-outside", HEAD + "- {id: a, run: x, owns: [../b]}\n", "'..' is no file's name", 3),
    ("pattern-unclosed", HEAD + "- id: a\n  run: x\n  owns:\n  - b\n  - 'a[b'\n", "is not closed", 7),
    (
        "overlap",
        HEAD + a("") + "- {id: b, owns: [a/x.py], run: x}\n",
        "'a' and 'b' could run together and both own 'a/x.py'",
        4,
    ),
    (
        "overlap-below-a-directory",
        HEAD + "- {id: a, owns: ['t/*_a.py'], run: x}\n- {id: b, owns: ['t/**/b.py'], run: x}\n",
        "both own 't/_a.py/b.py'",
        4,
    ),
    # Names
    (
        "depends-on-nobody",
        HEAD + a("depends_on: [aa]") + a("", "aaa"),
        "'a' depends on 'aa', which is no task",
        3,
    ),
    ("depends-on-itself", HEAD + a("depends_on: [a]"), "the task 'a' depends on itself", 3),
    (
        "provides-nothing",
        HEAD + a("provides: [api], role: foundation"),
        "'a' provides 'api', which is no contract",
        3,
    ),
    ("reads-nothing", CONTRACT + OWNER + a("reads: [apis]"), "'a' reads 'apis', which is no contract", 6),
    (
        "extends-nothing",
        CONTRACT + OWNER + a("extends: [routes]"),
        "'a' extends 'routes', which is no contract",
        6,
    ),
    (
        "extends-no-registry",
        CONTRACT + OWNER + a("extends: [api]"),
        "'a' extends 'api', which is no registry",
        6,
    ),
    (
        "extends-its-own",
        REGISTRY + LISTER.replace("run", "extends: [routes], run"),
        "'base' both provides and extends 'routes'",
        5,
    ),
    # Order
    (
        "cycle",
        HEAD + a("depends_on: [c]") + a("depends_on: [a]", "b") + a("depends_on: [b]", "c"),
        "each task waiting for the next: a -> c -> b -> a",
        3,
    ),
    (
        "cycle-of-foundations",
        HEAD + a("role: foundation, depends_on: [b]") + a("role: foundation, depends_on: [a]", "b"),
        "each task waiting for the next: a -> b -> a",
        3,
    ),
    (
        "foundation-on-a-feature",
        HEAD + a("") + a("role: foundation, depends_on: [a]", "b"),
        "each task waiting for the next: b -> a -> b (implied",
        4,
    ),
    # Contracts
    ("contract-without-paths", CONTRACT.replace("[src/api.py]", "[]") + OWNER, "paths: the list is empty", 3),
    (
        "contract-merge",
        CONTRACT.replace("]}", "], merge: ours}") + OWNER,
        "merge: 'ours' should be 'union'",
        3,
    ),
    ("contract-pattern", CONTRACT.replace("src/api.py", "/") + OWNER, "a pattern is empty", 3),
    ("contract-of-nobody", CONTRACT + a(""), "nobody provides the contract 'api'", 3),
    (
        "contract-of-two",
        CONTRACT + OWNER + a("provides: [api], role: foundation, depends_on: [base]"),
        "'a' provides 'api', as 'base' does",
        6,
    ),
    ("contract-of-a-feature", CONTRACT + OWNER.replace("foundation", "feature"), "but is no foundation", 5),
    (
        "contract-not-owned",
        CONTRACT.replace("src/api.py", "src/api/**") + OWNER,
        "'base' provides 'api' but does not own 'src/api/",
        5,
    ),
    (
        "contracts-share-a-path",
        CONTRACT.replace("tasks:", "- {id: all, paths: ['src/*.py']}\ntasks:")
        + "- {id: base, role: foundation, owns: [src/**], provides: [api, all], run: x}\n",
        "the contracts 'all' and 'api' share 'src/api.py'",
        4,
    ),
    (
        "o2-sibling-owns-a-contract-path",
        CONTRACT + OWNER + "- {id: a, depends_on: [base], owns: [src/**], run: x}\n",
        "not isolated: 'a' owns 'src/api.py', which belongs to the contract 'api' of 'base'",
        6,
    ),
    (
        "o2-sibling-owns-a-registry-path",
        REGISTRY + LISTER + "- {id: a, owns: [src/routes.py], run: x}\n",
        "not isolated: 'a' owns 'src/routes.py'",
        6,
    ),
    (
        "o2-sibling-below-the-pattern-around-a-contract",
        CONTRACT + OWNER.replace("src/api.py", "src/**") + "- {id: a, owns: [src/a/x.py], run: x}\n",
        "not isolated: 'a' owns 'src/a/x.py', below what 'base' owns around the contract 'api'",
        6,
    ),
]


@pytest.mark.parametrize(
    ("text", "message", "line"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_fault_is_named_with_its_line_and_brings_no_others(text: str, message: str, line: int) -> None:
    found = violations(text)
    assert len(found) == 1, found
    assert message in found[0].message
    assert (found[0].file, found[0].line) == ("plan.yaml", line)
    assert found[0].hint


def test_r_p7_a_plan_of_zero_tasks_is_an_error() -> None:
    (fault,) = violations("version: 1\ntasks: []\n")
    assert (fault.line, fault.message) == (2, "the plan has no tasks")


HINTS = [
    ("key", HEAD + a("depend_on: []"), "did you mean 'depends_on'?"),
    ("key-of-its-own-part", "version: 1\nverify: {eac: []}\ntasks:\n" + a(""), "did you mean 'each'?"),
    ("key-like-no-other", HEAD + a("xyz: 1"), "known keys: id, role, title, owns,"),
    ("task", HEAD + a("depends_on: [shema]") + a("", "schema"), "did you mean 'schema'?"),
    ("contract", CONTRACT + OWNER + a("reads: [apis]"), "did you mean 'api'?"),
    ("boolean", HEAD + a("", "on"), 'write "on" for the text'),
    ("number", HEAD + a("", "007"), 'write "007" for the text'),
    ("registry", REGISTRY + LISTER + "- {id: a, owns: [src/routes.py], run: x}\n", "`extends`"),
    ("order", HEAD + a("") + "- {id: b, owns: [a/x.py], run: x}\n", "let 'b' depend on 'a'"),
    ("pattern", HEAD + "- {id: a, run: x, owns: ['!src']}\n", "is written '\\!'"),
]


@pytest.mark.parametrize(("text", "hint"), [row[1:] for row in HINTS], ids=[row[0] for row in HINTS])
def test_a_hint_says_what_to_write(text: str, hint: str) -> None:
    (fault,) = violations(text)
    assert hint in fault.hint


def test_all_faults_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = """\
version: 2
contracts:
- {id: api, paths: [src/api.py]}
- {id: log, paths: ['[']}
verify: {each: ['']}
tasks:
- {id: Base, role: foundation, owns: [src/**], provides: [api], run: x}
- {id: a, owns: [src/a/**], run: x, depends_on: [b, c], timeout: soon}
- {id: b, owns: [lib/**], run: x, depends_on: [a]}
- {id: d, owns: [doc/**], run: x, extends: [api]}
- {id: e, owns: [doc/x.md], max_attempts: 0}
- {id: e, owns: [e/**], run: x}
"""
    told = [(fault.line, fault.message) for fault in violations(text)]
    expected = [
        (1, "this Otto reads version 1"),
        (4, "nobody provides the contract 'log'"),
        (4, "a class in '[' is not closed"),
        (5, "each.0: a command is a string"),
        (7, "the task id 'Base' is not a valid id"),
        (8, "'a' depends on 'c', which is no task"),
        (8, "a -> b -> a"),
        (8, "not isolated: 'a' owns 'src/a/"),
        (8, "timeout: 'soon' is not a duration"),
        (10, "'d' extends 'api', which is no registry"),
        (11, "'d' and 'e' could run together and both own 'doc/x.md'"),
        (11, "'e' has neither `run` nor `prompt`"),
        (11, "max_attempts: should be greater"),
        (12, "the task id 'e' is taken (line 11)"),
    ]
    assert [line for line, _ in told] == [line for line, _ in expected], told
    for (_, message), (_, fragment) in zip(told, expected, strict=True):
        assert fragment in message


def test_tasks_that_wait_for_each_other_are_not_told_that_they_could_run_together() -> None:
    pair = "- {id: a, owns: [x], run: x, depends_on: [b]}\n- {id: b, owns: [x], run: x, depends_on: [a]}\n"
    (fault,) = violations(HEAD + pair)
    assert "a -> b -> a" in fault.message


def test_a_prompt_that_cannot_be_read_is_not_called_missing() -> None:
    messages = [fault.message for fault in violations(HEAD + "- {id: a, owns: [a/**], prompt: 7}\n")]
    assert messages == ["'a' has no `run` for the command agent", "prompt: 7 should be a valid string"]


def test_of_too_many_contracts_none_is_held_against_the_tasks() -> None:
    many = "".join(f"- {{id: c{n}, paths: [c{n}.py]}}\n" for n in range(501))
    (fault,) = violations(f"version: 1\ncontracts:\n{many}tasks:\n" + a("reads: [c1]"))
    assert fault.message == "the plan has 501 contracts; the limit is 500"


def test_every_knot_of_tasks_is_told() -> None:
    pairs = [
        a("depends_on: [b]"),
        a("depends_on: [a]", "b"),
        a("depends_on: [d]", "c"),
        a("depends_on: [c]", "d"),
    ]
    assert [fault.line for fault in violations(HEAD + "".join(pairs))] == [3, 5]


def test_a_cycle_that_closes_over_a_role_that_cannot_be_read_names_the_implied_step() -> None:
    tasks = a("role: foundation, depends_on: [u]", "f") + a("role: 7, depends_on: [x]", "u") + a("", "x")
    assert "f -> u -> x -> f (implied)" in violations(HEAD + tasks)[0].message


def test_r_o2_a_task_in_the_way_of_two_contracts_is_told_so_for_each_and_not_as_an_overlap() -> None:
    text = (
        "version: 1\ncontracts:\n- {id: one, paths: [lib/one.py]}\n- {id: two, paths: [lib/two.py]}\ntasks:\n"
        "- {id: base, role: foundation, owns: [lib/one.py, lib/two.py], provides: [one, two], run: x}\n"
        "- {id: a, role: foundation, owns: [lib/**], run: x}\n"
    )
    found = violations(text)
    assert [fault.message[:13] for fault in found] == ["not isolated:"] * 2, found


def test_pairs_on_one_line_are_told_one_by_one() -> None:
    text = '{"version": 1, "tasks": [' + ", ".join(
        f'{{"id": "{name}", "owns": ["lib/**"], "run": "x"}}' for name in "abc"
    )
    assert len(violations(text + "]}")) == 3


def test_of_very_many_overlaps_the_first_are_listed() -> None:
    found = violations(HEAD + "".join(f"- {{id: t{n}, owns: [lib/**], run: x}}\n" for n in range(30)))
    assert len(found) == 201
    assert "more than 200 pairs of tasks own a common path" in found[0].message


UNREAD = [
    ("role", OWNER.replace("foundation", "base"), "role:"),
    ("provides", OWNER.replace("[api]", "api"), "provides:"),
    ("owns", OWNER.replace("[src/api.py]", "src/api.py"), "owns:"),
    ("a-pattern-of-owns", OWNER.replace("[src/api.py]", "['!src/api.py']"), "negates"),
    ("id", OWNER.replace("id: base", "id: 7") + a("reads: [api]"), "id: 7"),
    ("run", OWNER.replace("run: x", "run: 7"), "run:"),
    ("prompt", OWNER.replace("run: x", "prompt: 7, run: ''"), "run:"),
    ("the-task", "- base\n", "'base' should be a mapping"),
    ("depends-on", OWNER + a("", "b") + "- {id: c, owns: [b/c], run: x, depends_on: b}\n", "depends_on:"),
    (
        "depends-on-a-typo",
        OWNER + a("", "bb") + "- {id: c, owns: [bb/c], run: x, depends_on: [b]}\n",
        "no task",
    ),
    (
        "depends-on-one-that-depends-on-a-typo",
        OWNER
        + a("", "bb")
        + a("depends_on: [b]", "m")
        + "- {id: c, owns: [bb/c], run: x, depends_on: [m]}\n",
        "no task",
    ),
    (
        "role-of-one-that-others-would-wait-for",
        OWNER + a("role: 7", "b") + "- {id: c, owns: [b/c], run: x}\n",
        "role:",
    ),
    ("depends-on-one-without-id", OWNER + a("", "7") + a("depends_on: ['7']", "c"), "id: 7"),
    ("owns-and-extends", OWNER + "- {id: c, run: x, extends: api}\n", "extends:"),
    ("timeout", OWNER.replace("run: x", "run: x, timeout: soon"), "timeout:"),
]


@pytest.mark.parametrize(("tasks", "message"), [row[1:] for row in UNREAD], ids=[row[0] for row in UNREAD])
def test_what_hangs_on_a_key_that_cannot_be_read_is_not_held_against_the_plan(
    tasks: str, message: str
) -> None:
    found = violations(CONTRACT + tasks)
    assert found
    assert any(message in fault.message for fault in found)
    assert not [fault for fault in found if not any(part in fault.message for part in (message, "prompt:"))]


@pytest.mark.parametrize(
    ("contracts", "message"),
    [
        ("- {id: 7, paths: [src/api.py]}\n", "id: 7"),
        ("- {id: api, paths: [src/api.py], merge: 7}\n", "merge: 7"),
        ("- api\n", "'api' should be a mapping"),
        ("  api: [src/api.py]\n", "contracts:"),
    ],
    ids=["id", "merge", "not-a-mapping", "not-a-list"],
)
def test_a_contract_that_cannot_be_read_is_not_held_against_its_tasks(contracts: str, message: str) -> None:
    text = f"version: 1\ncontracts:\n{contracts}tasks:\n{OWNER}" + a("extends: [api]")
    (fault,) = violations(text)
    assert message in fault.message


def test_a_task_with_a_wrong_key_is_judged_by_its_other_keys() -> None:
    text = HEAD + a("") + "- {id: b, owns: [a/**], depends_on: [x], run: 7, titel: B}\n" + a("", "c")
    fragments = ["depends on 'x'", "run:", "unknown key 'titel'"]
    found = violations(text)
    assert len(found) == 3, found
    assert all(any(part in fault.message for fault in found) for part in fragments)
