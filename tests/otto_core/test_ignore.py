"""Ignore rules agree with git's own."""

import subprocess
from pathlib import Path

import pytest

from otto_core.ignore import IgnoreRules

FILES = {
    b"": b"*.log\n/build/\n!keep.log\ndocs/*.tmp\n# a comment\n\\#literal\nsp\\ ace \n**/cache\n",
    b"src": b"!debug.log\ngenerated*\n/only-here\n",
    b"src/deep": b"*\n!visible\n",
}

PATHS = [
    b"a.log",
    b"keep.log",
    b"build/x",
    b"sub/build/x",
    b"docs/a.tmp",
    b"docs/sub/a.tmp",
    b"#literal",
    b"sp ace",
    b"src/debug.log",
    b"src/other.log",
    b"src/generated.py",
    b"src/only-here",
    b"src/sub/only-here",
    b"src/deep/hidden",
    b"src/deep/visible",
    b"x/y/cache/z",
    b"caf\xe9.log",
    b"plain",
]


def ignored(path: bytes) -> bool:
    """Ask from the root down, as a walk does."""
    rules = IgnoreRules(FILES.get)
    parts = path.split(b"/")
    return any(
        rules.ignores(b"/".join(parts[: end + 1]), directory=end < len(parts) - 1)
        for end in range(len(parts))
    )


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_path_is_ignored_exactly_when_git_ignores_it(tmp_path: Path, path: bytes) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for directory, content in FILES.items():
        place = tmp_path / directory.decode()
        place.mkdir(parents=True, exist_ok=True)
        (place / ".gitignore").write_bytes(content)
    said = subprocess.run(["git", "-C", str(tmp_path), "check-ignore", "-q", "--no-index", path], check=False)
    assert ignored(path) is (said.returncode == 0)
