"""Known values never pass, however the output is cut into pieces."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from otto_core.redaction import SHORTEST, Redactor


def redact(secrets: dict[str, str], *pieces: bytes) -> bytes:
    out: list[bytes] = []
    redactor = Redactor(secrets, out.append)
    for piece in pieces:
        redactor.feed(piece)
    redactor.close()
    return b"".join(out)


@given(
    secret=st.text("ab", min_size=SHORTEST, max_size=9),
    around=st.lists(st.text("abc ", max_size=12), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_a_value_never_passes_wherever_the_output_is_cut(
    secret: str, around: list[str], cuts: list[int]
) -> None:
    whole = secret.join(around).encode()
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(places)]
    told = redact({"KEY": secret}, *pieces)
    assert secret.encode() not in told
    assert told == redact({"KEY": secret}, whole)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_what_holds_no_secret_passes_byte_for_byte(data: bytes, cut: int) -> None:
    assert redact({"KEY": "no-such-thing-in-bytes"}, data[:cut], data[cut:]) == data


def test_the_longer_of_two_values_goes_first() -> None:
    secrets = {"SHORT": "secret", "LONG": "secret-and-more"}
    assert redact(secrets, b"a secret-and-more b secret") == b"a [redacted LONG] b [redacted SHORT]"


def test_a_value_too_short_to_be_a_secret_is_left_alone() -> None:
    assert redact({"DEBUG": "true"}, b"true story") == b"true story"


def test_the_names_may_be_those_of_several_values() -> None:
    assert redact({"A": "value-1", "B": "value-2"}, b"value-1value-2") == b"[redacted A][redacted B]"
