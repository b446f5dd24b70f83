import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygit2 import Commit, Oid, Repository

from merge.candidate import Landed, commit
from merge.trailers import Trailers, delivery_message, message, parse
from tests.merge.repos import SOMEBODY, Box

TRAILERS = Trailers(run="r-20261120-k7qd", task="billing/invoices", attempt=2, plan="0" * 64)
COVERING = Trailers(run="r-1", task="amend-db", attempt=1, plan="p", for_=("accounts", "billing/invoices"))

words = st.from_regex(r"[a-z0-9][a-z0-9./-]{0,8}", fullmatch=True)
trailers = st.builds(
    Trailers, run=words, task=words, attempt=st.integers(1, 999), plan=words, for_=st.lists(words).map(tuple)
)
# Texts that an agent could write to be taken for something else.
lures = st.lists(
    st.sampled_from(
        [
            "Otto-Task: other",
            "Otto-Run: r-2",
            "Signed-off-by: A <a@b>",
            "---",
            "# x",
            "",
            "\n\n",
            "\r",
            "\x1b[0m",
        ]
    )
    | st.text(max_size=8)
).map("\n".join)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "repo.git")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return Box(tmp_path_factory.mktemp("shared") / "repo.git")


def test_a_message_reads_as_git_writes_them() -> None:
    assert message("Add invoices", "The agent said:\nfix it", TRAILERS) == (
        "Add invoices\n\n    The agent said:\n    fix it\n\n"
        f"Otto-Run: r-20261120-k7qd\nOtto-Task: billing/invoices\nOtto-Attempt: 2\nOtto-Plan: {'0' * 64}\n"
    )


@settings(deadline=None, max_examples=120)
@given(subject=lures, body=lures, trailers=trailers)
def test_r_x9_trailers_read_back_whatever_the_words_around_them(
    subject: str, body: str, trailers: Trailers
) -> None:
    written = message(subject, body, trailers)
    assert parse(written) == trailers
    first, empty, *_ = written.split("\n")
    assert first
    assert empty == ""
    assert {char for char in written if unicodedata.category(char) in {"Cc", "Cs"}} == {"\n"}


@settings(deadline=None, max_examples=40)
@given(subject=lures, body=lures, trailers=trailers)
def test_git_reads_the_same_trailers(shared: Box, subject: str, body: str, trailers: Trailers) -> None:
    written = message(subject, body, trailers)
    read = shared.git("interpret-trailers", "--parse", stdin=written.encode()).decode()
    assert read == written.rpartition("\n\n")[2]


@pytest.mark.parametrize("subject", ["", "  \t", "\n\n", "---", "\x00"])
def test_an_empty_subject_gives_way_to_the_task(subject: str) -> None:
    assert message(subject, "", TRAILERS).startswith("billing/invoices\n\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Otto-Run: r\nOtto-Task: t\nOtto-Attempt: 1\nOtto-Plan: p\n", id="no subject"),
        pytest.param("s\n\nOtto-Run: r\nOtto-Task: t\nOtto-Attempt: 1\n", id="one missing"),
        pytest.param(
            "s\n\nOtto-Run: r\nOtto-Task: t\nOtto-Attempt: 1\nOtto-Plan: p\n\nmore\n", id="not last"
        ),
        pytest.param(
            "s\n\nOtto-Run: r\nOtto-Task: t\nOtto-Task: u\nOtto-Attempt: 1\nOtto-Plan: p\n", id="twice"
        ),
        pytest.param("s\n\notto-run: r\nOtto-Task: t\nOtto-Attempt: 1\nOtto-Plan: p\n", id="other case"),
        pytest.param("s\n\nOtto-Run: r\nOtto-Task: t\nOtto-Attempt: one\nOtto-Plan: p\n", id="no number"),
        pytest.param(
            "s\n\nwords\nOtto-Run: r\nOtto-Task: t\nOtto-Attempt: 1\nOtto-Plan: p\n", id="words among"
        ),
        pytest.param("s\n\n Otto-Run: r\nOtto-Task: t\nOtto-Attempt: 1\nOtto-Plan: p\n", id="indented"),
        pytest.param("", id="empty"),
    ],
)
def test_what_is_not_a_landing_has_no_trailers(text: str) -> None:
    assert parse(text) is None


def test_other_trailers_beside_are_allowed() -> None:
    assert parse(message("s", "", TRAILERS) + "Otto-Sync: 1234\n") == TRAILERS


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Trailers("r", "a\nOtto-Run: x", 1, "p"), id="newline"),
        pytest.param(Trailers("", "t", 1, "p"), id="empty"),
        pytest.param(Trailers("r", "t", 0, "p"), id="attempt 0"),
        pytest.param(Trailers("r", "t", 1, "p", ("a b",)), id="blank in a requester"),
    ],
)
def test_trailers_that_would_not_read_back_are_an_error(broken: Trailers) -> None:
    with pytest.raises(ValueError, match="trailers"):
        message("s", "", broken)


def test_a_candidate_has_the_tip_then_the_snapshot_as_parents(box: Box) -> None:
    tip, snapshot = box.commit({"a": "1"}), box.commit({"a": "2"})
    tree = box.tree({"a": "3"})
    oid = commit(
        box.repo, tree=tree, tip=tip, snapshot=snapshot, message="s\n", author=SOMEBODY, committer=SOMEBODY
    )
    made = box.repo[oid].peel(Commit)
    assert (made.parent_ids, made.tree_id, made.message) == ([tip, snapshot], tree, "s\n")
    assert list(box.repo.references) == []


def land(box: Box, tip: Oid, task: str, run: str = "r-1", for_: tuple[str, ...] = ()) -> Oid:
    snapshot = box.commit({}, message=message("from an agent", "", Trailers(run, f"{task}-agent", 1, "p")))
    written = message(task, "", Trailers(run, task, 1, "p", for_))
    return box.commit({}, tip, snapshot, message=written)


def test_i2_landed_tasks_are_found_on_the_first_parent_chain_only(box: Box) -> None:
    base = land(box, box.commit({}), "before")
    one = land(box, base, "one")
    other = land(box, box.commit({}, one, message="a person's commit"), "one", run="r-2")
    landed = Landed(base)
    landed.update(box.repo, other)
    assert landed.tasks("r-1") == {"one": one}
    assert landed.find("r-2", "one") == other
    assert landed.find("r-1", "before") is None
    assert landed.find("r-1", "one-agent") is None


def test_i2_an_amendment_covers_its_requesters(box: Box) -> None:
    base = box.commit({})
    tip = land(box, base, "amendment", for_=("requester",))
    landed = Landed(base)
    landed.update(box.repo, tip)
    assert landed.tasks("r-1") == {"amendment": tip, "requester": tip}


def test_the_index_grows_with_the_tip_and_is_rebuilt_when_the_tip_leaves(box: Box) -> None:
    base = box.commit({})
    one = land(box, base, "one")
    two, rival = land(box, one, "two"), land(box, one, "rival")
    landed = Landed(base)
    seen = []
    for tip in (base, one, two, two, rival, base):
        landed.update(box.repo, tip)
        seen.append(list(landed.tasks("r-1")))
    assert seen == [[], ["one"], ["one", "two"], ["one", "two"], ["one", "rival"], []]


def test_a_commit_is_read_once(box: Box) -> None:
    base = box.commit({})
    one = land(box, base, "one")
    two = land(box, one, "two")
    landed = Landed(base)
    landed.update(box.repo, two)
    three = land(box, two, "three")
    (box.path / "objects" / str(one)[:2] / str(one)[2:]).unlink()  # to read it again would raise
    landed.update(Repository(str(box.path)), three)
    assert list(landed.tasks("r-1")) == ["one", "two", "three"]


def test_a_tip_that_does_not_stand_on_the_base_is_an_error(box: Box) -> None:
    base = box.commit({"a": "1"})
    landed = Landed(base)
    with pytest.raises(ValueError, match="first-parent chain"):
        landed.update(box.repo, box.commit({"a": "2"}))


@pytest.mark.parametrize(
    ("intent", "subject"),
    [("Add billing\n\nOtto-Task: x", "Add billing"), ("", "Land r-1"), ("# \x1b[0mred", "[0mred")],
)
def test_the_message_of_a_delivery_names_run_and_plan_and_is_no_landing(intent: str, subject: str) -> None:
    text = delivery_message(intent, "r-1", "0" * 64)
    assert text == f"{subject}\n\nOtto-Run: r-1\nOtto-Plan: {'0' * 64}\n"
    assert parse(text) is None
