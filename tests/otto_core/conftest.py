"""The checkout of the landings' tests, before and after one: made once, copied for each test."""

import shutil
from pathlib import Path

import pytest

from tests.otto_core.deliveries import Looks, looks, make_template, otto


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
    done = otto(repo, "land")
    assert done.exit_code == 0, done.stderr
    found = looks(repo)
    assert found.files["a/changed.txt"] == b"new\n" * 2000
    assert found.files["notes.txt"] == b"edited\n"
    assert found.status.splitlines() == ["M notes.txt", "MM staged.txt", "?? untracked.txt"]
    return found
