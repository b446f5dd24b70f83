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


def test_a_driver_that_stops_on_its_own_account_leaves_the_first_word_to_a_person() -> None:
    stop, told = Stop(), list[str]()
    stop.tell = told.append
    stop.set()
    stop.set()
    assert (stop.is_set(), stop.at_once.is_set(), told) == (True, False, [])
    stop.ask()
    assert not stop.at_once.is_set()
    assert told == ["interrupted: what executes is asked to end; interrupt again to end it at once"]
    stop.ask()
    assert stop.at_once.is_set()
    assert len(told) == 1


def test_a_stop_is_asked_for_even_where_nobody_can_be_told() -> None:
    def tell(_: str) -> None:
        raise BrokenPipeError

    stop = Stop()
    stop.tell = tell
    stop.ask()
    assert stop.is_set()
