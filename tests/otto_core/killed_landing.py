"""`otto` in a process that is killed at one step of a landing: `POINT NTH before|after ARGUMENTS...`.

SIGKILL goes to the whole process group, so a git process dies with it, as where the machine loses power.
"""

import os
import signal
import sys
from collections.abc import Callable

from otto_core import transfer
from otto_core.cli.main import main


def kill_at(name: str, number: int, when: str) -> None:
    """Have the `number`th call of a step (a function that `otto_core.transfer` calls by name) be the last."""
    step: Callable[..., object] = getattr(transfer, name)
    calls = 0

    def killing(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            os.killpg(0, signal.SIGKILL)
        result = step(*args, **kwargs)
        if calls == number:
            os.killpg(0, signal.SIGKILL)
        return result

    setattr(transfer, name, killing)


if __name__ == "__main__":
    point, nth, moment, *arguments = sys.argv[1:]
    kill_at(point, int(nth), moment)
    main(arguments)
