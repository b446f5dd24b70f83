"""Whether content differs between worktree and tree, and by which attributes (gitattributes(5)).

Only the user's own attributes and configuration and those of a tree count, never what lies in a worktree.
"""

import os
import re
from hashlib import sha256
from pathlib import Path

from merge.attributes import flatten
from merge.objects import Oid
from otto_core.environment import home
from otto_core.git.repository import GitRepository

VERBATIM = "verbatim"
"""The name of the conversion that changes nothing."""

_CONVERTING = re.compile(rb"\b(text|eol|crlf|ident|filter|working-tree-encoding)\b")


def attributes_of(repository: GitRepository, tree: Oid) -> bytes:
    """Give the user's own attributes and then, as the stronger ones, those of a tree."""
    configured = repository.trusted_config("core.attributesfile")
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config")
    place = Path(configured).expanduser() if configured else config_home / "git/attributes"
    own = place.read_bytes() + b"\n" if place.is_file() else b""
    return own + flatten(repository.repo, tree)


def alone(attributes: bytes) -> bytes:
    """Give an `info/attributes` by which git converts as these say, whatever `.gitattributes` lie around.

    It goes before any of those (gitattributes(5)); its first line makes every conversion unspecified, so that
    what follows is all that applies.
    """
    return b"* !text !eol !crlf !ident !filter !working-tree-encoding\n" + attributes


def converts(repository: GitRepository, attributes: bytes) -> bool:
    """Tell whether any content may differ between worktree and tree."""
    if _CONVERTING.search(attributes):
        return True
    return repository.trusted_config("core.autocrlf") not in (None, "false")


def conversion_of(repository: GitRepository, tree: Oid) -> str:
    """Name how a checkout of a tree converts: under one name, the same entries give the same files.

    `VERBATIM` where it holds its blobs byte for byte, symlinks as symlinks; else a digest of what decides.
    """
    attributes = attributes_of(repository, tree)
    symlinks = repository.trusted_config("core.symlinks") in (None, "true")
    if symlinks and not converts(repository, attributes):
        return VERBATIM
    configured = repr(repository.trusted_conversion_config()).encode()
    return sha256(configured + b"\n" + attributes).hexdigest()
