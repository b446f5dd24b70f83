"""A file that grows is read to its end, whatever happens to its name meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otto_core.follow import PIECE, follow


def followed(place: Path, *steps: Callable[[], object]) -> bytes:
    """Follow a file while something is done to it between the looks; it is over after the last step."""
    left: Iterator[Callable[[], object]] = iter(steps)
    done: list[object] = []

    def pause() -> None:
        done.append(next(left)())

    return b"".join(follow(place, over=lambda: len(done) == len(steps), pause=pause))


def add(place: Path, data: bytes) -> None:
    with place.open("ab") as file:
        file.write(data)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a.1.log"


def test_what_is_there_and_what_is_added_is_given_once_and_in_order(log: Path) -> None:
    log.write_bytes(b"one ")
    assert (
        followed(log, lambda: add(log, b"two "), lambda: None, lambda: add(log, b"three")) == b"one two three"
    )


def test_a_file_that_does_not_exist_yet_is_waited_for(log: Path) -> None:
    assert followed(log, lambda: None, lambda: add(log, b"late")) == b"late"


def test_a_file_that_never_comes_is_nothing(log: Path) -> None:
    assert followed(log, lambda: None) == b""


def test_a_replaced_file_is_read_to_its_end_and_then_its_successor(log: Path) -> None:
    log.write_bytes(b"old ")

    def replace() -> None:
        add(log, b"end ")
        new = log.with_name("new")
        new.write_bytes(b"new ")
        new.rename(log)

    assert followed(log, replace, lambda: add(log, b"more")) == b"old end new more"


def test_a_file_that_is_removed_and_made_again_is_read_on(log: Path) -> None:
    log.write_bytes(b"old ")
    assert followed(log, log.unlink, lambda: add(log, b"again")) == b"old again"


def test_a_file_that_was_cut_off_is_read_from_its_beginning(log: Path) -> None:
    log.write_bytes(b"a long line ")
    assert followed(log, lambda: log.write_bytes(b"cut")) == b"a long line cut"


def test_what_came_before_the_end_was_known_is_not_lost(log: Path) -> None:
    def over() -> bool:
        add(log, b"last words")
        return True

    assert b"".join(follow(log, over=over, pause=lambda: None)) == b"last words"


def test_r_w1_an_endless_line_comes_in_pieces(log: Path) -> None:
    log.write_bytes(b"x" * (3 * PIECE + 1))
    sizes = [len(piece) for piece in follow(log, over=lambda: True, pause=lambda: None)]
    assert sum(sizes) == 3 * PIECE + 1
    assert max(sizes) <= PIECE


def test_what_is_no_file_is_an_error(log: Path) -> None:
    log.mkdir()
    with pytest.raises(IsADirectoryError):
        list(follow(log, over=lambda: True, pause=lambda: None))
