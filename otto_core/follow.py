"""A file that grows, read as it grows: what `otto logs -f` shows."""

import os
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

PIECE = 1 << 16
"""The most bytes of a piece: a log may be one endless line."""


def follow(place: Path, *, over: Callable[[], bool], pause: Callable[[], None]) -> Iterator[bytes]:
    """Give what a file holds, and what is added to it, until `over` says that nothing more will be.

    The file need not exist yet. One that was replaced is read on from its successor's beginning, one that
    was cut off from its own. Before each look, `over` is asked; after each, `pause` is called.

    Raises:
        OSError: it exists and cannot be read.

    """
    file: BufferedReader | None = None
    try:
        while True:
            last = over()
            while True:
                if file is not None:
                    _rewind_if_cut(file)
                    while piece := file.read1(PIECE):
                        yield piece
                successor = _successor(place, file)
                if successor is None:
                    break
                if file is not None:
                    file.close()
                file = successor
            if last:
                return
            pause()
    finally:
        if file is not None:
            file.close()


def _rewind_if_cut(file: BufferedReader) -> None:
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)


def _successor(place: Path, file: BufferedReader | None) -> BufferedReader | None:
    """Open what stands at the place now, unless nothing does, or the same file as before."""
    try:
        found = place.stat()
        if file is not None and os.path.samestat(found, os.fstat(file.fileno())):
            return None
        return place.open("rb")
    except FileNotFoundError:
        return None
