# ruff: noqa: INP001 - documents are no package
"""What the keys of Otto's files and its exit codes mean: the words that the models themselves do not carry.

`docs.generate` sets them beside what the models say, and fails for a key without words and the reverse.
"""

from collections.abc import Mapping
from typing import Final

from otto_core.errors import ExitCode
from otto_core.model import Outcome, ReasonKind, TaskStatus

SETTINGS: Final[Mapping[str, str]] = {
    "agent": "who does the work of a task that names no `agent`: `command` executes the task's `run`",
    "concurrency": "how many attempts run at once",
    "defaults.timeout": "the limit of one attempt",
    "defaults.max_attempts": "how often a task is tried, each time with feedback on the last attempt",
    "defaults.max_file_mb": "a larger file in a result is refused by name",
    "defaults.grace": "what processes get to end by themselves, between TERM and KILL",
    "defaults.max_processes": "an attempt or check with more processes at once is ended",
    "verify.each": "has to pass before every landing, on the exact tree that lands",
    "verify.final": "has to pass once, on the last tree",
    "verify.baseline": "also ask the base about a run-wide check that fails: no task is blamed for it",
    "verify.timeout": "the limit of one check, a task's own included",
    "worktrees.root": (
        "an absolute path outside the repository where attempts and checks work; null is the user's cache"
    ),
    "worktrees.isolation": (
        "`private`: each worktree has a Git directory of its own. `linked`: it is a linked worktree of your"
        " repository, and shares its config, hooks, stash, refs and gc"
    ),
    "worktrees.copy": (
        "patterns of untracked files of your checkout, such as `.env`; attempts and checks get copies, as the"
        " files were when the run started, and no snapshot holds them. Up to 16 MB together"
    ),
    "worktrees.setup": (
        "what makes a worktree fit for use, such as `npm ci`: runs in the plain tree before the first attempt"
        " or check there. Only what the base ignores is kept of what it makes"
    ),
    "worktrees.setup_key": (
        "patterns of files, such as `package-lock.json`: setup runs again where one of them, the commands"
        " or a copied file changed"
    ),
    "worktrees.setup_timeout": "the limit of one setup command",
    "worktrees.ports": (
        "how many ports from `$OTTO_PORT_BASE` on an attempt, setup or check has to itself, between 20000 and"
        " 31999; in tens. 0 is none"
    ),
    "sandbox": (
        "how commands are kept apart: `bwrap` in a namespace of their own, `subreaper` by a sweep for what"
        " they leave; `auto` takes the first that works"
    ),
    "env_pass": "variables that attempts and checks see beyond `PATH`, `HOME`, `LANG`, `LC_*` and `TZ`",
    "home_pass": "paths below your home directory that attempts and checks may read in a sandbox",
    "budget.wall": "how long a run may take before it is paused; null is no limit",
    "durability": (
        "`full` syncs objects, refs and events to the disk before the next step relies on them; `fast` leaves"
        " that to the system. A killed Otto loses nothing either way; a power cut may take the last of it"
    ),
    "branch_prefix": "results are branches below this, each named for its intent",
}
"""By dotted key of `otto.yaml`."""

PLAN: Final[Mapping[str, str]] = {
    "version": "of the file format: 1",
    "intent": "what the plan is for, in words; names the result branch",
    "base": "the revision to start from; without it, `HEAD`. `--base` goes before it",
    "contracts": "the contracts, as below",
    "verify": "the run-wide checks, as below",
    "tasks": "the tasks, as below; at least one",
}

CONTRACT: Final[Mapping[str, str]] = {
    "id": "up to 64 lower-case letters, digits and hyphens",
    "paths": "patterns; each has to match a file before a feature starts. No two contracts share a path",
    "merge": "`union` makes it a registry: tasks that list it in `extends` may insert whole lines",
}

VERIFY: Final[Mapping[str, str]] = {
    "each": "before every landing, on the exact tree that lands",
    "final": "once, on the last tree",
    "baseline": "whether a check that fails is also asked of the base",
    "timeout": "the limit of one check, a task's own included",
}

TASK: Final[Mapping[str, str]] = {
    "id": "up to 64 lower-case letters, digits and hyphens; unique in the plan",
    "role": "a feature waits for every foundation, whether it says so or not",
    "title": "the subject of the commit that lands; without it, the id",
    "owns": "patterns of the paths that the task may create, change and delete",
    "provides": "contracts that the task owns and others rely on; foundations only",
    "depends_on": "tasks that have to land first",
    "reads": "contracts that the task relies on; a foundation waits for those who provide what it names",
    "extends": "registries into which the task may insert whole lines",
    "prompt": "for standard input and `$OTTO_PROMPT_FILE`; a retry adds what went wrong",
    "run": "what to execute; required with the `command` agent",
    "agent": "`command`, the only agent of this version; without it, that of `otto.yaml`",
    "verify": "checks of this task alone, before those of the run",
    "timeout": "the limit of one attempt; without it, `defaults.timeout`",
    "max_attempts": "how often the task is tried, up to 100; without it, `defaults.max_attempts`",
    "retry_from": "where a further attempt starts: from the `tip`, with all that has landed by then, or the"
    " last `attempt`, merged onto the tip if it merges. Without it, `tip`",
    "allow_empty": "whether an attempt that changes nothing is a success",
}

EXIT_CODES: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "every task landed, or was unchanged with `allow_empty`; for other verbs: done",
    ExitCode.INCOMPLETE: "the run ended and some tasks did not land; or what was to be landed may not be:"
    " a conflict, a gate, a check",
    ExitCode.USAGE: "the command line or the configuration is wrong; a missing plan file too",
    ExitCode.PLAN_REJECTED: "the plan breaks rules; all violations are listed",
    ExitCode.REPOSITORY: "the repository, its store or its worktrees cannot be used; the base is no commit;"
    " the repository is on a network file system; `otto doctor` found something bad; the answer cannot be"
    " written to standard output",
    ExitCode.AGENT: "a configured agent cannot be used. Reserved: no agent of this version needs a client",
    ExitCode.LOCKED: "another Otto drives the run or lands a result, or a task of another run is writing the"
    " same paths",
    ExitCode.BUDGET: "a budget paused the run; the limit and its value are named",
    ExitCode.STALE: "a branch moved since it was shown; nothing was done",
    ExitCode.REGRESSION: "a final check passes on the base and fails on the result",
    ExitCode.WAITING: "nothing can go on without a person: somebody else moved the run's tip, or nobody can"
    " tell whether a task landed",
    ExitCode.BUG: "a bug in Otto; a report was written and is named",
    ExitCode.INTERRUPTED: "interrupted; what has landed and what attempts had written is kept",
}

OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.RUNNING: "not over",
    Outcome.LANDED: "every task landed, or was allowed to change nothing",
    Outcome.PARTIAL: "some tasks landed, others failed",
    Outcome.FAILED: "no task landed",
    Outcome.REGRESSION: "a final check passes on the base and fails on the result",
    Outcome.BUDGET: "paused by a budget",
    Outcome.WAITING: "paused: a person has to decide, or only tasks are left whose paths another run is"
    " writing; or a task was reopened after the end",
    Outcome.INTERRUPTED: "paused by an interrupt, a SIGTERM or a lost terminal; or its driver is gone",
}

STATES: Final[Mapping[TaskStatus, str]] = {
    TaskStatus.PENDING: "waits for its turn, or to be tried again",
    TaskStatus.RUNNING: "an attempt executes",
    TaskStatus.PRODUCED: "the attempt's result passed the write gate and waits to land",
    TaskStatus.LANDING: "the swap is about to happen; after a crash, Git knows whether it did",
    TaskStatus.LANDED: "its commit is on the run's tip; what waits for it may start",
    TaskStatus.UNCHANGED: "it changed nothing and was allowed to; what waits for it may start",
    TaskStatus.HELD: "its attempts are used up; it fails for good when nothing else in the run can move",
    TaskStatus.FAILED: "an honest end without landing, with a reason",
    TaskStatus.SKIPPED: "a person decided that it is not to run or land",
}

REASONS: Final[Mapping[ReasonKind, str]] = {
    ReasonKind.AGENT_FAILED: "the command could not be executed, or did not exit with 0",
    ReasonKind.AGENT_TIMEOUT: "the task's `timeout` fired",
    ReasonKind.NO_CHANGE: "the command succeeded and changed no file that Git would record",
    ReasonKind.VERIFY_FAILED: "a check failed on the merged tree",
    ReasonKind.VERIFY_TIMEOUT: "a check did not end within `verify.timeout`",
    ReasonKind.WRITE_GATE: "the result changes a path that the task may not write",
    ReasonKind.UNSAFE_CONTENT: "the result holds what no tree should hold, such as an escaping link",
    ReasonKind.SETUP_FAILED: "`worktrees.setup` failed, or could not make the worktree fit for use",
    ReasonKind.CONFLICT: "the result does not merge with what has landed, or the audit refused the merge",
    ReasonKind.FOUNDATION_UNSATISFIED: "a foundation that the task stands on did not land",
    ReasonKind.CONTRACTS_MISSING: "every foundation is done, yet a contract has no file",
    ReasonKind.DEPENDENCY_FAILED: "a task that this one depends on did not land",
    ReasonKind.SKIPPED_BY_USER: "a person skipped the task",
    ReasonKind.CANCELLED: "a person cancelled the run",
}
