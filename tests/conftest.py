"""Hermetic tests: no user configuration, no inherited Git or Otto variables, a home of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest
from hypothesis import settings
from pygit2.enums import ConfigLevel

settings.register_profile("ci", derandomize=True)
"""Continuous integration judges the change, not the day's luck: the same examples each time."""
if os.environ.get("CI"):
    settings.load_profile("ci")

GITCONFIG = """\
[user]
\tname = Test Person
\temail = person@example.com
[init]
\tdefaultBranch = main
[protocol "file"]
\tallow = always
"""


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Make `home` all that git, libgit2 and Otto can see of a user."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "OTTO_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / f".{name.lower()}"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("OTTO_SANDBOX", "subreaper")  # the same on every machine; tests of a sandbox choose
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")
    (home / ".gitconfig").write_text(GITCONFIG)
    for level in (ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.SYSTEM, ConfigLevel.PROGRAMDATA):
        pygit2.settings.search_path[level] = str(home)


@pytest.fixture(scope="session", autouse=True)
def hermetic_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Isolate the fixtures that are made once for many tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(monkeypatch, tmp_path_factory.mktemp("session-home"))
        yield


@pytest.fixture(autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a home of its own; returns it."""
    home = tmp_path_factory.mktemp("home")
    isolate(monkeypatch, home)
    return home
