"""What many tests begin with: a repository, an Otto at work in it, the checkout of a landing."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from otto_core import interrupts
from tests.builders import make_repo
from tests.otto_core import deliveries
from tests.otto_core.deliveries import Looks, looks, make_template
from tests.otto_core.executions import Compose, composer
from tests.otto_core.held import Otto
from tests.otto_core.sandboxes import NAMESPACE


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Make a small repository."""
    return make_repo(tmp_path)


@pytest.fixture
def otto(repo: Path, tmp_path: Path) -> Iterator[Otto]:
    """Give an `otto build` of the repository to come, in a process of its own."""
    with Otto.at(repo, tmp_path / "signals") as made:
        yield made


@pytest.fixture
def heeded() -> Iterator[None]:
    """Have signals raise as in `otto` itself."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in interrupts.SIGNALS}
    interrupts.heed()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(params=["swept", pytest.param("namespace", marks=NAMESPACE)])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Compose:
    """Give what composes commands, for each of the ways to hold a process tree."""
    return composer(tmp_path, in_namespace=request.param == "namespace")


@pytest.fixture(scope="session")
def landing_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a repository with a finished run, `tests.otto_core.deliveries`; not to be written to."""
    return make_template(tmp_path_factory.mktemp("landing"), moved=True)


@pytest.fixture(scope="session")
def undisturbed(landing_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Looks:
    """Give how the repository looks after a landing that nothing disturbs."""
    repo = Path(
        shutil.copytree(landing_template, tmp_path_factory.mktemp("undisturbed") / "repo", symlinks=True)
    )
    done = deliveries.otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    found = looks(repo)
    assert found.files["a/changed.txt"] == b"new\n" * 2000
    assert found.files["notes.txt"] == b"edited\n"
    assert found.status.splitlines() == ["M notes.txt", "MM staged.txt", "?? untracked.txt"]
    return found
