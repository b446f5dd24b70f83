"""`otto land`: bring a run's result into the user's branch."""

from dataclasses import dataclass

import click

from merge.paths import show
from otto_core.cli import output, select
from otto_core.cli.failure import tell
from otto_core.cli.output import Styled
from otto_core.delivery import Already, Delivered, Delivery, Judged, Order, Withheld, deliver
from otto_core.errors import ExitCode, OttoError, UsageError
from otto_core.freshness import record_shown, target_of
from otto_core.git.durability import sync
from otto_core.git.repository import GitRepository
from otto_core.journal import STORE, Journal
from otto_core.model import Durability, path_text
from otto_core.report import SHORT, JsonObject, error_document
from otto_core.transfer import path_text_of


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--into", "into", help="The branch to move (default: the one that HEAD is on).")
@click.option("--expect-target", help="Refuse unless the target branch is at this commit.")
@click.option("--expect-branch", help="Refuse unless the result is this commit.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error."
)
@click.pass_context
def land(
    context: click.Context,
    *,
    run_name: str | None,
    into: str | None,
    expect_target: str | None,
    expect_branch: str | None,
    as_json: bool,
) -> None:
    """Bring a run's result into a branch.

    By fast-forward; where the branch has moved on, by a merge commit that passes the write gate, the audit
    and the run's checks first. Where the branch is checked out, index and files move with it, and must be
    clean where they change. A landing that was cut off is finished or undone by the next one.
    """
    with select.opened() as (view, reading):
        repository = GitRepository.at(view.git_dir)
        run = select.run(reading, run_name)
        target = f"refs/heads/{into}" if into else target_of(repository)
        if target is None:
            raise _no_target(repository)
        order = Order(run.id, target, expect_target, expect_branch)
        delivery = land_result(repository, order, run.settings.durability)
        record_shown(repository, reading, run)
    name = target.removeprefix("refs/heads/")
    if as_json:
        output.json_document({"run": run.id, **delivery_document(name, delivery)})
    else:
        tell_delivery(name, delivery)
    if isinstance(delivery, Withheld):
        context.exit(ExitCode.INCOMPLETE)


def _no_target(repository: GitRepository) -> UsageError:
    """Say why `freshness.target_of` names no branch to land on."""
    if repository.workdir is None:
        why = "a bare repository has no branch checked out"
    elif repository.is_unborn():
        why = "the branch that HEAD is on has no commit yet"
    else:
        why = "HEAD is on no branch"
    return UsageError(f"{why}, so there is no default target", hint="otto land --into BRANCH")


def land_result(repository: GitRepository, order: Order, durability: Durability) -> Delivery:
    """Land with a journal open for writing, telling of progress on standard error."""
    repository = sync(repository, durability)
    with Journal.open(repository.store / STORE, durability=durability) as journal:
        return deliver(repository, journal, order, tell=lambda told: output.line(told, err=True))


@dataclass(frozen=True, slots=True)
class Landing:
    """How `--into` of a build ended: a delivery, a failure, or None where the run came to no landing."""

    ended: Delivery | OttoError | None
    exit_code: ExitCode

    def tell(self, name: str | None) -> None:
        """Print it."""
        match self.ended:
            case OttoError() as error:
                tell(error, as_json=False)
            case None:
                if name:
                    output.line(f"{name} was left as it was: not every task landed")
            case delivery:
                tell_delivery(name or "", delivery)

    def document(self, name: str | None) -> JsonObject | None:
        """Give it as JSON has it."""
        match self.ended:
            case OttoError() as error:
                return error_document(error)
            case None:
                return None
            case delivery:
                return delivery_document(name or "", delivery)


def land_built(repository: GitRepository, order: Order, durability: Durability) -> Landing:
    """Land what was just built; a failure to do so does not hide what was built."""
    try:
        delivery = land_result(repository, order, durability)
    except OttoError as error:
        return Landing(error, error.exit_code)
    return Landing(delivery, ExitCode.INCOMPLETE if isinstance(delivery, Withheld) else ExitCode.OK)


def tell_delivery(name: str, delivery: Delivery) -> None:
    """Print how a landing on the branch `name` ended."""
    match delivery:
        case Already(at):
            output.line(f"{name} has the result already; it is at {at[:SHORT]}")
        case Delivered(before, after, how, _, merge, checks):
            output.line(f"{name}: {before[:SHORT]} -> {after[:SHORT]}" + _how(how, merge is not None))
            if merge is not None:
                output.lines(_merge_notes(delivery))
            output.lines(_check_notes(checks))
        case Withheld(at, reason, checks):
            output.line(Styled("not landed:", "red"), f" {reason.message} ({reason.kind})", err=True)
            output.lines(_check_notes(checks))
            output.line(f"{name} is where it was, at {at[:SHORT]}", err=True)
            output.line(Styled("hint:", "cyan"), f" {reason.hint}", err=True)


def delivery_document(name: str, delivery: Delivery) -> JsonObject:
    """Give how a landing on the branch `name` ended, as JSON has it."""
    document: JsonObject = {
        "target": name,
        "outcome": "already",
        "from": None,
        "to": None,
        "checkout": None,
        "merge": None,
        "checks": [],
        "reason": None,
    }
    match delivery:
        case Already(at):
            return {**document, "from": at, "to": at}
        case Delivered(before, after, how, checkout, merge, checks):
            return {
                **document,
                "outcome": how,
                "from": before,
                "to": after,
                "checkout": path_text(path_text_of(checkout.path)) if checkout else None,
                "merge": None
                if merge is None
                else {
                    "commit": str(merge.commit),
                    "strategy": merge.strategy,
                    "note": merge.note,
                    "both_changed": [path_text(both.path) for both in merge.both_changed],
                },
                "checks": [_check_document(judged) for judged in checks],
            }
        case Withheld(at, reason, checks):
            return {
                **document,
                "outcome": "withheld",
                "from": at,
                "to": at,
                "checks": [_check_document(judged) for judged in checks],
                "reason": {
                    "kind": reason.kind.value,
                    "message": reason.message,
                    "hint": reason.hint,
                    "paths": [path_text(path) for path in reason.paths],
                    "evidence": reason.evidence,
                },
            }


def _how(how: str, merged: bool) -> str:
    if how == "resumed":
        return ", by finishing the landing that was interrupted"
    return ", by a merge commit" if merged else ""


def _merge_notes(delivery: Delivered) -> list[str]:
    if delivery.merge is None:
        return []
    both = [show(one.path) for one in delivery.merge.both_changed]
    told = [
        f"  merged by strategy {delivery.merge.strategy}"
        + (f" ({delivery.merge.note})" if delivery.merge.note else "")
    ]
    return [*told, *(f"  both sides changed {path}" for path in both)]


_ALIKE = "; it ended alike on the branch as it is, so it does not count"


def _check_notes(checks: tuple[Judged, ...]) -> list[str]:
    return [
        f"  check {judged.verdict.result}: {judged.verdict.command}"
        + ("" if judged.verdict.result == "passed" or judged.counts else _ALIKE)
        for judged in checks
    ]


def _check_document(judged: Judged) -> JsonObject:
    return {
        "command": judged.verdict.command,
        "scope": judged.verdict.scope,
        "tree": judged.verdict.tree,
        "result": judged.verdict.result,
        "on_target": judged.on_target.result if judged.on_target else None,
        "counts": judged.counts,
    }
