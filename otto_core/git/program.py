"""The git program, run the one way that is safe in a stranger's repository.

A scrubbed environment, the C locale, no hooks, no file-system monitor, no automatic gc and a time limit.
"""

import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from otto_core.capture import LIMIT_S, Completed, capture
from otto_core.errors import GitUnfinished, RepositoryUnusable
from otto_core.machine import REFUSED, remedy

_SAFE_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.safecrlf=false",  # a warning about content is the user's, a refusal would be the task's end
    "gc.auto=0",
    "maintenance.auto=false",
)

_CRASHES = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP}
)
"""How a program ends itself; by any other signal it was ended."""

_synced = True


def sync(wanted: bool) -> None:
    """Say whether what git writes for this process is synced to the disk; it is unless this says no."""
    global _synced  # noqa: PLW0603 -- a property of the process, like libgit2's own
    _synced = wanted


def git_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment for Otto's own calls of git: the user's without `GIT_*`, in the C locale."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**env, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", **(extra or {})}


def git(
    *args: str | bytes,
    git_dir: Path,
    work_tree: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    keep: Sequence[int] = (),
    timeout_s: float = LIMIT_S,
) -> Completed:
    """Run the git program against one git directory; the exit code is the caller's to judge.

    `keep` names open files whose locks last until git has ended, also where this process is killed first.

    Raises:
        GitUnfinished: there is no git program, or it could not be started.
        RepositoryUnusable: it hangs, or the directory to work in is none or may not be entered.

    """
    places = [f"--git-dir={git_dir}", *([f"--work-tree={work_tree}"] if work_tree else [])]
    cwd = work_tree or git_dir
    return _run([*places, *args], cwd=cwd, stdin=stdin, env=env, keep=keep, timeout_s=timeout_s)


def git_from(start: Path, *args: str) -> Completed:
    """Run the git program in the repository that it finds from a directory on, upwards.

    Raises:
        GitUnfinished: there is no git program, or it could not be started.
        RepositoryUnusable: it hangs, or the directory is none or may not be entered.

    """
    return _run(args, cwd=start)


def _run(
    args: Sequence[str | bytes],
    *,
    cwd: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    keep: Sequence[int] = (),
    timeout_s: float = LIMIT_S,
) -> Completed:
    fsync = f"core.fsync={'committed' if _synced else 'none'}"
    options = [part for option in (*_SAFE_OPTIONS, fsync) for part in ("-c", option)]
    try:
        argv = ["git", *options, *args]
        return capture(argv, env=git_env(env), cwd=cwd, stdin=stdin, keep=keep, timeout_s=timeout_s)
    except TimeoutError as error:  # it may well be the content that it hangs on
        raise RepositoryUnusable(
            f"git could not run: {error}", hint="see what it waits for, such as a filter or a slow disk"
        ) from error
    except InterruptedError as error:
        mend = "see what it waited for, such as a filter"
        raise GitUnfinished(str(error.strerror), mend=mend) from error
    except OSError as error:
        if error.filename == cwd:  # a task can take its directory away: that is no fault of the machine
            raise RepositoryUnusable(
                f"git could not run in {cwd}: {error.strerror}", hint="mend that, then do this again"
            ) from error
        raise GitUnfinished(f"git could not run: {error}", mend=_mend(error)) from error


def _mend(error: OSError) -> str:
    """Say what helps where git could not be run, or did not end."""
    match error:
        case FileNotFoundError(filename="git") | NotADirectoryError(filename="git"):
            return "install git 2.38 or newer"
        case _ if error.errno in REFUSED:
            return remedy(error)
        case _:
            return "mend that"


def unless_killed(done: Completed, doing: str) -> Completed:
    """Give a git command that came to an end of its own, be it a crash.

    Raises:
        GitUnfinished: it did not.

    """
    if done.code < 0 and -done.code not in _CRASHES:
        too_large = -done.code == signal.SIGXFSZ
        mend = "raise the limit of file sizes (`ulimit -f`)" if too_large else "see whether memory is short"
        raise GitUnfinished(f"{doing} was ended by signal {-done.code}", mend=mend)
    return done


def must(done: Completed, doing: str) -> bytes:
    """Give the output of a git command that has to succeed.

    Raises:
        RepositoryUnusable: it did not; the message carries what git said. GitUnfinished where it was not let.

    """
    if unless_killed(done, doing).code != 0:
        said = done.err.decode("utf-8", "replace").strip()
        raise RepositoryUnusable(f"{doing} failed: {said}", hint="check the disk and `git fsck`")
    return done.out


def git_version() -> tuple[int, ...]:
    """Give the version of the git program, such as (2, 39, 5); () if there is none.

    Raises:
        GitUnfinished: there may be one, and it could not be asked.

    """
    try:
        said = capture(["git", "--version"], env=git_env()).out.decode("ascii", "replace")
    except OSError as error:
        if error.errno in REFUSED:
            raise GitUnfinished(f"git could not run: {error}", mend=remedy(error)) from error
        return ()
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
