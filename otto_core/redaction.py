"""Keep known secrets out of logs: their values are replaced on the way, also where output comes in pieces."""

import re
from collections.abc import Callable, Mapping

SHORTEST = 6
"""Characters a value has at least to be taken for a secret: shorter ones stand everywhere by chance."""


class Redactor:
    """Passes bytes on to `write`, with `[redacted NAME]` in place of each known value.

    What could be the beginning of a value is held back until the next bytes tell.
    """

    def __init__(self, secrets: Mapping[str, str], write: Callable[[bytes], None]) -> None:
        values = {
            value.encode("utf-8", "surrogateescape"): name
            for name, value in secrets.items()
            if len(value) >= SHORTEST
        }
        self._write = write
        self._names = values
        self._longest_first = sorted(values, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._longest_first))) if values else None
        self._held = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._pattern is None:
            self._write(data)
            return
        whole = self._pattern.sub(self._named, self._held + data)
        keep = self._begun(whole)
        self._held = whole[len(whole) - keep :]
        self._write(whole[: len(whole) - keep])

    def close(self) -> None:
        """Pass on what was held back: the output is over."""
        self._write(self._held)
        self._held = b""

    def _named(self, found: re.Match[bytes]) -> bytes:
        return b"[redacted %s]" % self._names[found[0]].encode()

    def _begun(self, data: bytes) -> int:
        """Count the last bytes that begin a value."""
        return max(
            (
                size
                for value in self._longest_first
                for size in range(min(len(value) - 1, len(data)), 0, -1)
                if data.endswith(value[:size])
            ),
            default=0,
        )
