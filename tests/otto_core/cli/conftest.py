"""The bundled run of the command line's tests: built once, copied for each test."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from otto_core.cli.main import main
from tests.builders import make_repo, shop_run

Otto = Callable[..., Result]
"""Runs `otto` in the repository with the given arguments."""


@pytest.fixture(scope="session")
def shop_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = make_repo(tmp_path_factory.mktemp("shop"))
    shop_run(repo).journal.close()
    return repo


@pytest.fixture
def shop(shop_template: Path, tmp_path: Path) -> Path:
    """Give a repository with one finished run, `tests.builders.shop_run`."""
    return Path(shutil.copytree(shop_template, tmp_path / "shop", symlinks=True))


@pytest.fixture
def otto(tmp_path: Path) -> Otto:
    """Give a function that runs `otto` in a directory (default: the shop's) as the console script would."""

    def run(*args: str, at: Path | None = None) -> Result:
        with contextlib.chdir(at or tmp_path / "shop"):
            return CliRunner().invoke(main, list(args))

    return run
