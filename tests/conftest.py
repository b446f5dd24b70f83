"""Hermetic tests: no user configuration, no inherited Git or Otto variables, a home of their own."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, settings
from pygit2.enums import ConfigLevel

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No example fails for the time that it takes: that is the machine's, and another's next time."""
settings.register_profile("ci", settings.get_profile("untimed"), derandomize=True)
"""Continuous integration judges the change, not the day's luck: the same examples each time."""
settings.load_profile("ci" if os.environ.get("CI") else "untimed")

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
"""A shell has what it starts in the background ignore Ctrl-C, and so would every Otto of the tests."""

GITCONFIG = """\
[user]
\tname = Test Person
\temail = person@example.com
[init]
\tdefaultBranch = main
[protocol "file"]
\tallow = always
"""


OF_THE_SCREEN = (
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM"),
    *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "LINES"),
)
"""What says how a terminal looks, also where there is none: a forge's runner may set any of them."""


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Make `home` all that git, libgit2 and Otto can see of a user."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "OTTO_", "XDG_")) or name in OF_THE_SCREEN:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / f".{name.lower()}"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("OTTO_SANDBOX", "subreaper")  # the same on every machine; tests of a sandbox choose
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
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
