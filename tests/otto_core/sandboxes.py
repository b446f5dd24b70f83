"""Whether this machine can make namespaces, for the tests that need one."""

import pytest

from otto_core.sandbox import Unusable, probe

_PROBED = probe()

NAMESPACE = pytest.mark.skipif(
    isinstance(_PROBED, Unusable), reason=_PROBED.why if isinstance(_PROBED, Unusable) else ""
)
"""Marks a test that needs a working bubblewrap; the reason says why there is none."""
