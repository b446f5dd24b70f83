"""Which untracked files count as ignored.

Gitignore(5) over files that Otto chooses, never over an agent's.
"""

from collections.abc import Callable

from pathspec import GitIgnoreSpec


class IgnoreRules:
    """The `.gitignore` files of a tree of directories, read one by one as they are needed.

    `read` gives the content of a directory's `.gitignore` (`b""` is the root), or None. As in Git, the last
    matching pattern of a file decides, a deeper file goes before a higher one, and nothing below an ignored
    directory comes back.
    """

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        self._read = read
        self._specs: dict[bytes, GitIgnoreSpec | None] = {}

    def ignores(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether a path is ignored, given that no directory above it is."""
        parts = path.split(b"/")
        for depth in range(len(parts) - 1, -1, -1):
            spec = self._spec(b"/".join(parts[:depth]))
            if spec is None:
                continue
            below = b"/".join(parts[depth:]).decode("utf-8", "surrogateescape")
            verdict = spec.check_file(f"{below}/" if directory else below).include
            if verdict is not None:
                return verdict
        return False

    def _spec(self, directory: bytes) -> GitIgnoreSpec | None:
        if directory not in self._specs:
            content = self._read(directory)
            lines = (content or b"").decode("utf-8", "surrogateescape").split("\n")
            self._specs[directory] = _spec(lines)
        return self._specs[directory]


def _spec(lines: list[str]) -> GitIgnoreSpec | None:
    """Compile the lines of one file; like Git, pass over a line that is no pattern."""
    good = [line.removesuffix("\r") for line in lines if _is_pattern(line.removesuffix("\r"))]
    return GitIgnoreSpec.from_lines(good) if good else None


def _is_pattern(line: str) -> bool:
    try:
        return any(pattern.include is not None for pattern in GitIgnoreSpec.from_lines([line]).patterns)
    except ValueError:
        return False
