"""The standard streams of a process of Otto's own, and what becomes of a write to them that fails.

Standard output carries the answer: one that cannot be written is told and is exit 4, when all else is done.
Standard error only accompanies: what it refuses is dropped, and changes nothing. Readers who left and
terminals that are gone count for both, and pass as the errors that they are: such a process is to end.
Who reads slowly is waited for, also where a stream is non-blocking.
"""

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_INPUT, _OUTPUT, _ERROR = range(3)

_STAND_INS: Final = {_INPUT: os.O_RDONLY, _OUTPUT: os.O_RDONLY, _ERROR: os.O_WRONLY}
"""How /dev/null is opened in the place of a closed descriptor: a write to such a standard output fails."""


class Unwritten(Exception):
    """Standard output refused something; the message says why."""


def set_up() -> None:
    """Put the streams in place, before anything else opens a file: none may get the place of a closed one."""
    for descriptor, flags in _STAND_INS.items():
        try:
            os.fstat(descriptor)
        except OSError:
            _stand_in(descriptor, flags)
    if sys.stdin is None:
        sys.stdin = open(_INPUT, encoding="utf-8", closefd=False)  # noqa: SIM115 -- no path, and it stays
    sys.stdout = _text(_Answer(_OUTPUT, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Accompaniment(_ERROR, "w", closefd=False), sys.stderr)


def discard(descriptor: int) -> None:
    """Have all that is written to a descriptor from now on, or is left in a buffer, go nowhere."""
    _stand_in(descriptor, os.O_WRONLY)


def let_go() -> None:
    """Leave nothing on standard error for the interpreter, which flushes at its end, to fail with."""
    try:
        sys.stderr.flush()
    except OSError:  # whoever read it has left
        discard(_ERROR)


def lost_terminals() -> list[int]:
    """Name those of the standard output streams whose terminal is no more: every write would fail."""
    return [descriptor for descriptor in (_OUTPUT, _ERROR) if _is_lost(descriptor)]


def _is_lost(descriptor: int) -> bool:
    try:
        os.get_terminal_size(descriptor)
    except OSError as error:
        return error.errno == errno.EIO
    return False


class _Answer(io.FileIO):
    """What standard output writes to.

    It is waited for where it is non-blocking and full: somebody who shares it made it so.
    """

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            if _ends_all(error, self.fileno()):
                raise
            raise Unwritten(error.strerror) from error
        return written


class _Accompaniment(_Answer):
    """What standard error writes to: the same, but what is refused is dropped."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except Unwritten:
            return memoryview(data).nbytes


def _ends_all(error: OSError, descriptor: int) -> bool:
    return isinstance(error, BrokenPipeError) or (error.errno == errno.EIO and _is_lost(descriptor))


def _text(raw: io.FileIO, before: object) -> io.TextIOWrapper:
    """Make a stream like the one before it; a symbol that the encoding lacks is no failure."""
    encoding = before.encoding if isinstance(before, io.TextIOWrapper) else "utf-8"
    lines = raw.fileno() == _ERROR or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=lines)


def _stand_in(descriptor: int, flags: int) -> None:
    opened = os.open(os.devnull, flags)
    if opened == descriptor:
        os.set_inheritable(descriptor, True)
    else:
        os.dup2(opened, descriptor)
        os.close(opened)
