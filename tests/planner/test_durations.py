import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.durations import format_duration, parse_duration

READ = {
    90: 90.0,
    0: 0.0,
    1.5: 1.5,
    "90": 90.0,
    "30s": 30.0,
    "15m": 900.0,
    "2h": 7200.0,
    "1h30m": 5400.0,
    "1h1m1s": 3661.0,
    "1.5m": 90.0,
    " 30s ": 30.0,
    "8784h": 31_622_400.0,
}


@pytest.mark.parametrize(("written", "seconds"), READ.items(), ids=map(repr, READ))
def test_a_duration_is_read_in_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


WRONG = [
    "",
    " ",
    "soon",
    "-5s",
    "5 m",
    "m",
    "1m1h",
    "1h 30m",
    "5d",
    "٣s",
    "1.s",
    ".5s",
    True,
    None,
    [],
    -1,
    -0.5,
]


@pytest.mark.parametrize("written", [*WRONG, float("nan")], ids=repr)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 30s, 15m, 2h or 1h30m"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["8785h", 31_622_401, float("inf"), 10**400, "999999999999h"], ids=str)
def test_more_than_a_year_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is longer than a year"):
        parse_duration(written)


WRITTEN = {
    0.25: "0.25s",
    30: "30s",
    59.5: "59.5s",
    60: "1m",
    90: "1m30s",
    3600: "1h",
    5400: "1h30m",
    3661: "1h1m1s",
}


@pytest.mark.parametrize(("seconds", "text"), WRITTEN.items(), ids=WRITTEN.values())
def test_a_duration_is_written_in_its_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 31_622_400))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(float(seconds))) == seconds
