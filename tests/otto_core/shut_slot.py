"""A slot whose own directory is shut, and then used again: `POOL REPOSITORY MODE WAY`.

A process of its own, so that root can run it without the capability to pass over permissions.
"""

import os
import sys
from pathlib import Path

from otto_core.git.repository import GitRepository
from otto_core.slots import Slot
from otto_core.worktrees import reset, set_aside


def main(pool: Path, user: Path, mode: int, way: str) -> None:
    """Fill a slot, leave litter in it, shut its directory, and use it again."""
    slot, repository = Slot.below(pool, "slot-0"), GitRepository.discover(user)
    commit = repository.resolve("HEAD")
    reset(slot, repository, commit)
    (slot.path / "litter").touch()
    (slot.path / "run.sh").unlink()
    slot.path.chmod(mode)
    if mode & 0o200 == 0 and os.access(slot.path, os.W_OK):
        raise PermissionError("permissions do not hold here, so this proves nothing")
    match way:
        case "set aside":
            kept = set_aside(slot, pool / "aside/kept")
            assert kept is not None
            assert (kept / "litter").exists()
        case "reset from another run":
            slot = Slot.below(pool, "slot-0")
    reset(slot, repository, commit)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3], 8), sys.argv[4])
