"""Simulate many histories of a run, and say how many a minute: `python -m tests.otto_core.simulate`.

A history that fails is shrunk and printed, with the seed that gives it again.
"""

import secrets
import sys
import time
from argparse import ArgumentParser

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.otto_core.test_simulation import SETTINGS, Life


def main() -> int:
    """Simulate as many histories as are asked for; 1 if one breaks an invariant."""
    parser = ArgumentParser(description="Simulate histories of a run.")
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=30, help="the most steps in one of them")
    parser.add_argument("--seed", type=int, default=None, help="replay what a failure printed")
    asked = parser.parse_args()
    chosen = secrets.randbelow(2**32) if asked.seed is None else asked.seed
    began = time.process_time()
    wanted = settings(
        SETTINGS, max_examples=asked.histories, stateful_step_count=asked.steps, derandomize=False
    )
    try:
        run_state_machine_as_test(seed(chosen)(Life), settings=wanted)
    except BaseException:
        again = f"--histories {asked.histories} --steps {asked.steps} --seed {chosen}"
        sys.stderr.write(f"\nreplay it with: python -m tests.otto_core.simulate {again}\n")
        raise
    spent_s = time.process_time() - began
    sys.stdout.write(
        f"{Life.histories} histories, {Life.steps} steps and each run brought to its end in {spent_s:.1f} s"
        f" of one core: {60 * Life.histories / spent_s:,.0f} histories a minute (seed {chosen})\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
