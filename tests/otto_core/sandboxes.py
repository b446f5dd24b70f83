"""Whether this machine can make namespaces, for the tests that need one: asked of bubblewrap, not of Otto."""

import shutil
import subprocess

import pytest

ASKED = ("bwrap", "--unshare-user", "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc", "true")


def _why_not() -> str:
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    done = subprocess.run(ASKED, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"bubblewrap may not make a namespace here: {done.stderr.strip()}"


_WHY_NOT = _why_not()

NAMESPACE = pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)
"""Marks a test that needs a working bubblewrap; the reason says why there is none."""
