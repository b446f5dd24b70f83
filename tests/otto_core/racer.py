"""A process that drives a run each time it is told to: a run's name a line in, how that ended a line out."""

import sys
from pathlib import Path

from otto_core.errors import Locked
from otto_core.git.repository import GitRepository
from otto_core.resume import Limits, resume

if __name__ == "__main__":
    for line in sys.stdin:
        try:
            outcome = str(resume(GitRepository.discover(Path.cwd()), line.strip(), Limits()).outcome)
        except Locked:
            outcome = "locked"
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()
