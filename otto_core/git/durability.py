"""What a power cut may take, decided once for the process: whether what it writes in Git is synced.

The order of writes is the same either way: objects, then refs, then the journal. Without syncing the kernel
keeps what a killed process wrote; only a power cut, or the kernel's own crash, can lose it or mix the order.
"""

import pygit2

from otto_core.git import program
from otto_core.git.repository import GitRepository
from otto_core.model import Durability


def sync(repository: GitRepository, durability: Durability) -> GitRepository:
    """Have what this process writes in Git from now on synced (`full`) or not (`fast`).

    Gives the repository opened anew, for libgit2 asks only once for each that is open.
    """
    pygit2.settings.enable_fsync_gitdir(durability == "full")
    program.sync(durability == "full")
    return GitRepository.at(repository.git_dir)
