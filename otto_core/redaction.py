"""Keep known secrets out of logs: their values are replaced on the way, also where output comes in pieces."""

import re
from collections.abc import Callable, Mapping

SHORTEST = 6
"""Characters a value has at least to be taken for a secret: shorter ones stand everywhere by chance."""


class Redactor:
    """Passes bytes on to `write`, with `[redacted NAME]` in place of each known value.

    `secrets` gives the name of each value: one name may have several. Where values overlap, no byte of
    either passes, and the first is named; of two that begin together, the longer. What could be the
    beginning of a value is held back until the next bytes tell, even where it is a shorter value itself.
    So the outcome does not depend on where the output was cut.
    """

    def __init__(self, secrets: Mapping[str, str], write: Callable[[bytes], None]) -> None:
        self._names = {
            value.encode("utf-8", "surrogateescape"): name.encode()
            for value, name in secrets.items()
            if len(value) >= SHORTEST
        }
        self._write = write
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None
        self._held = b""
        self._covered = 0
        """Bytes at the beginning of what is held that belong to a value that was replaced already."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        whole = self._held + data
        self._pass_on(whole, self._begun(whole))

    def close(self) -> None:
        """Pass on what was held back: the output is over."""
        self._pass_on(self._held, len(self._held))

    def _pass_on(self, data: bytes, end: int) -> None:
        """Pass on what comes before `end`, where nothing can change any more, and hold the rest."""
        told = []
        at = self._covered
        found = self._pattern.search(data) if self._pattern else None
        while found and found.start() < end:
            if found.start() >= at:
                told += [data[at : found.start()], b"[redacted %s]" % self._names[found[0]]]
            at = max(at, found.end())
            found = found.re.search(data, found.start() + 1)
        told.append(data[at:end])
        self._held = data[end:]
        self._covered = max(0, at - end)
        self._write(b"".join(told))

    def _begun(self, data: bytes) -> int:
        """Give the first place from which the data is the beginning of a value, and not all of it."""
        first = len(data)
        for value in self._names:
            at = data.find(value[:1], max(0, len(data) - len(value) + 1))
            while 0 <= at < first:
                if value.startswith(data[at:]):
                    first = at
                at = data.find(value[:1], at + 1)
        return first
