"""Whether content differs between worktree and tree, and by which attributes (gitattributes(5)).

Only the user's own attributes and configuration and those of a tree count, never what lies in a worktree.
"""

import os
import re
from pathlib import Path

from merge.attributes import flatten
from merge.objects import Oid
from otto_core.environment import home
from otto_core.git.repository import GitRepository

_CONVERTING = re.compile(rb"\b(text|eol|crlf|ident|filter|working-tree-encoding)\b")


def attributes_of(repository: GitRepository, tree: Oid) -> bytes:
    """Give the user's own attributes and then, as the stronger ones, those of a tree."""
    configured = repository.trusted_config("core.attributesfile")
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config")
    place = Path(configured).expanduser() if configured else config_home / "git/attributes"
    own = place.read_bytes() + b"\n" if place.is_file() else b""
    return own + flatten(repository.repo, tree)


def converts(repository: GitRepository, attributes: bytes) -> bool:
    """Tell whether any content may differ between worktree and tree."""
    if _CONVERTING.search(attributes):
        return True
    return repository.trusted_config("core.autocrlf") not in (None, "false")


def is_verbatim(repository: GitRepository, tree: Oid) -> bool:
    """Tell whether a checkout of a tree holds its blobs byte for byte, symlinks as symlinks."""
    if repository.trusted_config("core.symlinks") not in (None, "true"):
        return False
    return not converts(repository, attributes_of(repository, tree))
