from pathlib import Path

import pytest

from otto_core.cli import select
from otto_core.errors import UsageError
from otto_core.state import Run
from tests.builders import RunBuilder, make_repo, plan, task

KNOWN = ["r-20261119-aaaa", "r-20261120-abcd", "r-20261120-abzz", "r-20261120-k7qd"]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        pytest.param(None, "r-20261120-k7qd", id="nothing named: the newest"),
        pytest.param("r-20261119", "r-20261119-aaaa", id="unique prefix"),
        pytest.param("r-20261120-abz", "r-20261120-abzz", id="unique by its last part"),
        pytest.param("r-20261120-abcd", "r-20261120-abcd", id="whole name"),
    ],
)
def test_a_run_is_named_by_a_unique_prefix(prefix: str | None, found: str) -> None:
    assert select.run_id(KNOWN, prefix) == found


@pytest.mark.parametrize(
    ("prefix", "message", "hint"),
    [
        pytest.param(
            "r-20261120-ab", "names several runs: r-20261120-abcd, r-20261120-abzz", "more", id="two"
        ),
        pytest.param("r-", "r-20261120-k7qd", "type more of the name", id="all of them"),
        pytest.param("r-20261120-k7qe", "there is no run", "did you mean r-20261120-k7qd", id="a slip"),
        pytest.param("k7qd", "there is no run 'k7qd'", "otto runs", id="the end is no prefix"),
        pytest.param("", "there is no run ''", "otto runs", id="empty"),
    ],
)
def test_a_run_that_is_not_unique_or_not_there_is_refused(prefix: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        select.run_id(KNOWN, prefix)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_whole_name_goes_before_a_longer_one_that_begins_with_it() -> None:
    assert select.run_id(["r-1", "r-12"], "r-1") == "r-1"


def test_without_any_run_the_hint_is_to_build() -> None:
    with pytest.raises(UsageError) as caught:
        select.run_id([], None)
    assert caught.value.hint == "otto build --plan FILE"


@pytest.fixture
def nested(tmp_path: Path) -> Run:
    """Give a run whose ids have parents, as those of composites will."""
    repo = make_repo(tmp_path)
    names = ("shop/api", "bank/api", "shop/rest-api", "shop/models", "models", "shop/cart", "bank/go-cart")
    return RunBuilder(repo, whole=plan("0" * 40, *map(task, names))).run


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        pytest.param("shop/api", "shop/api", id="full id"),
        pytest.param("models", "models", id="a full id goes before a longer one that ends so"),
        pytest.param("rest-api", "shop/rest-api", id="last part"),
        pytest.param("cart", "shop/cart", id="a whole last part goes before letters of another"),
        pytest.param("op/models", "shop/models", id="letters of an id"),
        pytest.param("st-api", "shop/rest-api", id="letters of the last part"),
        pytest.param("bank/api", "bank/api", id="parts from the end"),
    ],
)
def test_a_task_is_named_by_its_id_or_a_unique_suffix(nested: Run, typed: str, found: str) -> None:
    assert select.task(nested, typed).id == found


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        pytest.param("api", "'api' names several tasks: shop/api, bank/api", "type more of the id", id="two"),
        pytest.param("modells", "has no task 'modells'", "did you mean models", id="a slip"),
        pytest.param("xyzzy", "has no task 'xyzzy'", "otto status r-20261120-aaaa", id="nothing near"),
        pytest.param("", "has no task ''", "otto status", id="empty"),
    ],
)
def test_a_task_that_is_not_unique_or_not_there_is_refused(
    nested: Run, typed: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        select.task(nested, typed)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_attempt_is_the_last_one_or_named_by_its_number(tmp_path: Path) -> None:
    built = RunBuilder(make_repo(tmp_path), task("a"))
    with pytest.raises(UsageError, match="a has not been tried yet: it is pending"):
        select.attempt(built.run, built.run.tasks["a"], None)
    built.start("a")
    built.fail("a", then="retry")
    built.start("a")
    tried = built.run.tasks["a"]
    assert [select.attempt(built.run, tried, number).number for number in (None, 1, 2)] == [2, 1, 2]
    for number in (0, 3, -1):
        with pytest.raises(UsageError, match=f"a has no attempt {number}"):
            select.attempt(built.run, tried, number)
