"""The environment of everything that Otto executes: an allow-list, never the caller's whole environment."""

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256

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
