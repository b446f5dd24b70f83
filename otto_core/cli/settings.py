"""`otto status --config`: each setting that a build started now would have, and where it comes from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from otto_core.cli import output
from otto_core.cli.output import Styled
from otto_core.compose import Configured, configuration_at
from otto_core.config import FILE_NAME, Origin
from otto_core.git.repository import GitRepository
from otto_core.report import SHORT

_FILE_OF: Final[Mapping[str | None, str]] = {
    "commit": f"{FILE_NAME} is that of the commit",
    "checkout": f"the commit has no {FILE_NAME}, so that of your checkout counts",
    None: f"there is no {FILE_NAME}",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def settings(*, as_json: bool) -> None:
    """Print every key of `otto.yaml` as a build on `HEAD` would have it."""
    repository = GitRepository.discover(Path.cwd())
    commit = repository.resolve("HEAD")
    configured = configuration_at(repository, commit)
    if as_json:
        output.json_document(_document(str(commit), configured))
        return
    output.line(
        Styled(f"A build on HEAD ({str(commit)[:SHORT]})", bold=True), f"; {_FILE_OF[configured.file_of]}"
    )
    rows = ((one.key, _told(one.origin), _written(one.value)) for one in configured.configuration.listed)
    output.table(rows, indent="  ")


def _told(origin: Origin) -> Styled:
    match origin:
        case Origin("file", name, line):
            return Styled(f"{name}:{line}", "cyan")
        case Origin("default"):
            return Styled("default", dim=True)
        case _:
            return Styled(origin.name or origin.kind, "cyan")


def _written(value: object) -> str:
    """Write a value as YAML would take it; text stands for itself."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _document(commit: str, configured: Configured) -> dict[str, object]:
    return {
        "base": commit,
        "file_of": configured.file_of,
        "settings": [
            {
                "key": one.key,
                "value": one.value,
                "from": one.origin.kind,
                "name": one.origin.name or None,
                "line": one.origin.line,
            }
            for one in configured.configuration.listed
        ],
    }
