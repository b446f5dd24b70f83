"""The environment of everything that Otto executes: an allow-list, never the caller's whole environment.

And what Otto itself takes from its environment: the user's directories.
"""

import os
import pwd
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import platformdirs

from otto_core.errors import RepositoryUnusable

_PASSED = ("PATH", "HOME", "LANG", "TZ")


def allowed(env_pass: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Give what passes from the caller: PATH, HOME, LANG, LC_*, TZ, and what `env_pass` names."""
    names = {*_PASSED, *env_pass}
    return {name: value for name, value in environ.items() if name in names or name.startswith("LC_")}


def digest(command: str, env: Mapping[str, str], timeout_s: float) -> str:
    """Identify a check by its definition and environment (SHA-256, hex).

    Verdicts are compared only under equal digests.
    """
    parts = [command, f"{timeout_s:g}", *(f"{name}={env[name]}" for name in sorted(env))]
    return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def home() -> Path:
    """Give the user's home directory.

    Raises:
        RepositoryUnusable: neither `HOME` nor the system names one.

    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise _homeless() from error


def cache() -> Path:
    """Give the directory in the user's cache that is Otto's.

    Raises:
        RepositoryUnusable: as `home`, where `XDG_CACHE_HOME` names none either.

    """
    try:
        return Path(platformdirs.user_cache_dir("otto")).expanduser()
    except RuntimeError as error:
        raise _homeless() from error


def person() -> str:
    """Name who uses Otto here: `user@host`."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user without an entry, as in a container
        name = str(os.getuid())
    return f"{name}@{os.uname().nodename}"


def _homeless() -> RepositoryUnusable:
    return RepositoryUnusable(
        f"user {os.getuid()} has no home directory",
        hint="set HOME to an absolute path that you can write, as in `HOME=/path/to/home otto ...`",
    )
