"""What file system a place is on, and why Otto does not work on one that is reached over a network.

All that keeps two runs apart, and a run from a crash, are locks of the kernel and files that one kernel sees.
Network file systems promise neither.
"""

from pathlib import Path
from typing import Final

from otto_core.errors import RepositoryUnusable

MOUNTS: Final = Path("/proc/self/mountinfo")

_NETWORK: Final = (
    "nfs",
    "cifs",
    "smb",
    "fuse.sshfs",
    "afs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "lustre",
    "davfs",
)
"""How their types begin. Not `9p`: containers and virtual machines reach the disk of their own host by it."""


def require_local(place: Path, mounts: Path | None = None) -> str:
    """Give the type of the file system that a place is on, as `file_system_of`.

    Raises:
        RepositoryUnusable: it is one of a network.

    """
    kind = file_system_of(place, mounts or MOUNTS)
    if kind.startswith(_NETWORK):
        raise RepositoryUnusable(
            f"{place} is on a network file system ({kind}): its locks cannot be relied on",
            hint="clone it to a local disk",
        )
    return kind


def file_system_of(place: Path, mounts: Path = MOUNTS) -> str:
    """Name the type of the file system that a place is on (proc(5), mountinfo); empty where nobody tells."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    found, depth = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].encode("latin-1", "replace").decode("unicode_escape"))
        if place.is_relative_to(point) and len(point.parts) >= depth:  # a later mount hides an earlier one
            found, depth = after.split(" ")[0], len(point.parts)
    return found
