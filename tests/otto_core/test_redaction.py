"""Known values never pass, however the output is cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otto_core.redaction import SHORTEST, Redactor


def redact(secrets: dict[str, str], *pieces: bytes) -> bytes:
    """Redact pieces of output; `secrets` gives the name of each value."""
    out: list[bytes] = []
    redactor = Redactor(secrets, out.append)
    for piece in pieces:
        redactor.feed(piece)
    redactor.close()
    return b"".join(out)


def covered(secrets: dict[str, str], whole: str) -> str:
    """Say by the definition what becomes of the whole: no byte of any occurrence of a value is left."""
    told, end = "", 0
    for at, character in enumerate(whole):
        here = max((value for value in secrets if whole.startswith(value, at)), key=len, default="")
        if at >= end:
            told += f"[redacted {secrets[here]}]" if here else character
        end = max(end, at + len(here))
    return told


@given(
    values=st.lists(st.text("ab", min_size=SHORTEST, max_size=12), min_size=1, max_size=4, unique=True),
    data=st.data(),
    cuts=st.lists(st.integers(0, 80), max_size=8),
)
def test_no_value_passes_wherever_the_output_is_cut_and_however_values_overlap(
    values: list[str], data: st.DataObject, cuts: list[int]
) -> None:
    parts = st.sampled_from(values) | st.text("abc ", max_size=6)
    text = "".join(data.draw(st.lists(parts, max_size=8)))
    secrets = {value: f"N{number}" for number, value in enumerate(values)}
    whole = text.encode()
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    told = redact(secrets, *(whole[a:b] for a, b in pairwise(places)))
    assert told.decode() == covered(secrets, text)
    assert [value for value in values if value.encode() in told] == []


@pytest.mark.parametrize("cut", range(42))
def test_a_value_that_begins_a_longer_one_waits_for_the_bytes_that_tell(cut: int) -> None:
    url = "postgres://u:hunter2hunter2@db"
    secrets = {"postgres": "DB_USER", url: "DATABASE_URL"}
    whole = f"{url} postgres\n".encode()
    told = redact(secrets, whole[:cut], whole[cut:])
    assert told == b"[redacted DATABASE_URL] [redacted DB_USER]\n"


def test_nothing_of_two_values_that_overlap_passes() -> None:
    secrets = {"key-prefix": "SHORT", "prefix-of-a-long-one": "LONG"}
    assert redact(secrets, b"a key-prefix-of-a-long-one b") == b"a [redacted SHORT] b"


@given(st.binary(max_size=300), st.integers(0, 300))
def test_what_holds_no_secret_passes_byte_for_byte(data: bytes, cut: int) -> None:
    assert redact({"no-such-thing-in-bytes": "KEY"}, data[:cut], data[cut:]) == data


def test_the_longer_of_two_values_goes_first() -> None:
    secrets = {"secret": "SHORT", "secret-and-more": "LONG"}
    assert redact(secrets, b"a secret-and-more b secret") == b"a [redacted LONG] b [redacted SHORT]"


def test_a_value_too_short_to_be_a_secret_is_left_alone() -> None:
    assert redact({"true": "DEBUG"}, b"true story") == b"true story"


def test_the_names_may_be_those_of_several_values() -> None:
    assert redact({"value-1": "A", "value-2": "B"}, b"value-1value-2") == b"[redacted A][redacted B]"


def test_one_name_may_have_several_values() -> None:
    assert redact({"value-1": "A", "value-2": "A"}, b"value-1 value-2") == b"[redacted A] [redacted A]"
