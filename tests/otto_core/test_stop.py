"""The request to end what executes, as a whole and for a part of it."""

from otto_core.stop import Stop


def test_a_part_ends_with_the_whole_and_alone() -> None:
    whole = Stop()
    alone, other = whole.part(), whole.part()
    alone.set()
    assert [stop.is_set() for stop in (whole, alone, other)] == [False, True, False]
    whole.set()
    assert other.is_set()
    assert whole.part().is_set(), "what begins too late does not begin"
    whole.withdraw()
    assert not whole.part().is_set()


def test_a_person_who_asks_twice_hurries_the_parts_too() -> None:
    told: list[str] = []
    whole = Stop()
    whole.tell = told.append
    part = whole.part()
    whole.ask()
    assert (part.is_set(), part.at_once.is_set()) == (True, False)
    whole.ask()
    assert part.at_once.is_set()
    assert len(told) == 1
