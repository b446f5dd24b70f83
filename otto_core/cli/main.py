"""The `otto` program: which verbs there are, and what becomes of a failure.

A verb's module is imported by name when the verb is used and not before, so that `otto --help` starts at
once. Here, and only here, a failure turns into words (or, with `--json`, into the one JSON document) and an
exit code.
"""

import errno
import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise, takewhile
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

import click

from otto_core import interrupts
from otto_core.cli import streams
from otto_core.errors import ExitCode, Interrupted, OttoError, RepositoryUnusable, UsageError

VERBS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("otto_core.cli.demo", "Run the bundled sample in a repository of its own."),
    "plan": ("otto_core.cli.plan", "Check a plan; print it, its id and every violation."),
    "build": ("otto_core.cli.build", "Run a plan and land the results on a branch."),
    "resume": ("otto_core.cli.resume", "Continue a run after a crash, an interrupt or a spent budget."),
    "retry": ("otto_core.cli.retry", "Have a task tried again."),
    "skip": ("otto_core.cli.skip", "Leave a task out."),
    "approve": ("otto_core.cli.approve", "Confirm a landing that nobody can determine."),
    "cancel": ("otto_core.cli.cancel", "End a run as it is."),
    "land": ("otto_core.cli.land", "Bring a run's result into your branch."),
    "runs": ("otto_core.cli.runs", "List the runs of this repository."),
    "status": ("otto_core.cli.status", "Say where a run stands, and why."),
    "graph": ("otto_core.cli.graph", "Draw the tasks and what they stand on."),
    "show": ("otto_core.cli.show", "Tell the history of one task."),
    "diff": ("otto_core.cli.diff", "Show what a task changed."),
    "logs": ("otto_core.cli.logs", "Print what a task's command, or its check, printed."),
    "clean": ("otto_core.cli.clean", "Remove what finished runs left, as far as nothing is lost."),
    "doctor": ("otto_core.cli.doctor", "Check what Otto stands on here, and what it left."),
    "log": ("otto_core.cli.log", "Print the journal, one event a line."),
}
"""Each verb, in the order of a first day: the module that holds a command of its name, and a line of help."""

_BEHIND_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "status --config": ("otto_core.cli.settings", "settings"),
}
"""Commands behind an option, which the verb knows by name only: it has to start before their imports do."""

_ABOUT: Final = """
Turn a plan into landed commits: each task in a worktree of its own, each result checked.

\b
New here?  otto demo
Then:      otto build --plan plan.yaml
"""
"""What `otto --help` says first; the control character keeps click from joining the lines."""

_FAILURE: Final = "otto_core.cli.failure"
_VERSION: Final = "otto_core.cli.version"
_READER_GONE: Final = 128 + signal.SIGPIPE
"""What a shell reports of a program whose reader has left; `otto log | head` is no failure of Otto's."""


class Verbs(click.Group):
    """A group whose commands are imported when they are used, and whose failures end in one place."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's
        """Name the verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002 -- click's
        """Import a verb's module and give its command.

        Raises:
            UsageError: there is no such verb.

        """
        if cmd_name in _BEHIND_OPTIONS:
            module, name = _BEHIND_OPTIONS[cmd_name]
            behind: click.Command = getattr(import_module(module), name)
            return behind
        if cmd_name not in VERBS:
            near = [f"otto {verb}" for verb in get_close_matches(cmd_name, VERBS, n=3)]
            hint = f"did you mean {' or '.join(near)}?" if near else "otto --help"
            raise UsageError(f"there is no command {cmd_name!r}", hint=hint)
        command: click.Command = getattr(_loaded(VERBS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, about) for verb, (_, about) in VERBS.items()])

    def main(self, args: Sequence[str] | None = None, *_: object, **__: object) -> NoReturn:
        """Run the program and end the process with its exit code; `args` defaults to the command line's."""
        argv = list(sys.argv[1:] if args is None else args)
        if args is None:
            streams.set_up()
            interrupts.heed()
        try:
            code = self._run(argv, alone=args is None)
            sys.stdout.flush()
        except BrokenPipeError:
            streams.discard(sys.stdout.fileno())  # the interpreter flushes once more at its end
            code = _READER_GONE
        except streams.Unwritten as error:
            streams.discard(sys.stdout.fileno())
            code = _tell(_unwritten(error), [])
        except OSError as error:
            if not _tells_of_a_lost_terminal(error):
                raise
            for file in streams.lost_terminals():
                streams.discard(file)
            code = ExitCode.INTERRUPTED
        if args is None:
            streams.let_go()
        sys.exit(code)

    def _run(self, argv: list[str], *, alone: bool) -> int:
        """Run a command; `alone` says to verbs (as the context's object) that the process is Otto's own."""
        try:
            with self.make_context("otto", list(argv), obj=alone) as context:
                result = self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.ClickException as error:
            return _tell(_as_usage(error), argv)
        except (KeyboardInterrupt, click.Abort):
            return _tell(Interrupted("interrupted", hint="what is journalled is safe: otto status"), argv)
        except OttoError as error:
            return _tell(error, argv)
        except (BrokenPipeError, streams.Unwritten):
            raise
        except Exception as error:  # the last line of defence: whatever it is, it is written down
            if _tells_of_a_lost_terminal(error):
                raise
            return _tell(import_module(_FAILURE).bug(error, argv), argv)
        return result if isinstance(result, int) else ExitCode.OK


def _tells_of_a_lost_terminal(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EIO and bool(streams.lost_terminals())


def _unwritten(error: streams.Unwritten) -> OttoError:
    return RepositoryUnusable(
        f"standard output cannot be written: {error}",
        hint="what was done is done, and journalled; `otto status` tells where a run stands",
    )


def _loaded(module: str) -> ModuleType:
    """Import a verb's module, with the collector at rest: of what is imported nothing becomes garbage.

    Frozen, it is not looked through again either, not even when the program ends. Both are a fifth of what
    `otto status` takes.
    """
    if module in sys.modules:
        return sys.modules[module]
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def _tell(error: OttoError, argv: Sequence[str]) -> ExitCode:
    import_module(_FAILURE).tell(error, as_json=_wants_json(argv))
    return error.exit_code


def _wants_json(argv: Sequence[str]) -> bool:
    """Tell whether a JSON document was asked for, even where the rest of the command line is wrong."""
    options = list(takewhile(lambda word: word != "--", argv))
    return "--json" in options or "--format=json" in options or ("--format", "json") in pairwise(options)


def _as_usage(error: click.ClickException) -> UsageError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return UsageError(
        error.format_message().removesuffix("."), hint=f"{context.command_path if context else 'otto'} --help"
    )


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"otto {import_module(_VERSION).version_of('otto-core')}")
        context.exit()


@click.group(cls=Verbs, invoke_without_command=True, help=_ABOUT)
@click.option("-C", "place", metavar="DIR", type=Path, help="Run as if started in DIR.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
@click.pass_context
def main(context: click.Context, *, place: Path | None) -> None:
    """Run the program."""
    if place is not None:
        try:
            os.chdir(place)
        except OSError as error:
            raise UsageError(
                f"cannot go to {str(place)!r}: {error.strerror}", hint="otto -C DIR ..."
            ) from error
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
