"""The marker of an execution: whose processes these are, of which run, of which store.

It names the store's directory itself (device and inode), so the processes of a repository are not those of a
copy of it, whose journal tells of the same attempts.
"""

from pathlib import Path

from otto_core.places import identity


def marker_of(store: Path, run: str, name: str) -> str:
    """Make the marker of what executes for a run under a name of its own, such as `task/attempt`."""
    return f"{run}/{name}@{_named(store)}"


def run_of(marker: str, store: Path) -> str | None:
    """Say of which run of a store the marker is; None where it is of no run of that store."""
    own, _, named = marker.rpartition("@")
    run, slash, _ = own.partition("/")
    return run if slash and named == _named(store) else None


def _named(store: Path) -> str:
    device, inode = identity(store)
    return f"{device:x}.{inode:x}"
