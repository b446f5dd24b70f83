"""Which versions run here. Imported when asked for, since reading package metadata is slow."""

from importlib.metadata import PackageNotFoundError, version


def version_of(distribution: str) -> str:
    """Give the version of an installed distribution, or say that it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
