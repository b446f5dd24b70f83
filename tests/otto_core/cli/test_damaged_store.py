"""What a person meets when the store is damaged, and the way on."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from otto_core.store import STORE
from tests.builders import RunBuilder, make_repo, task
from tests.otto_core.cli.conftest import Otto


@pytest.mark.parametrize("is_closed", [False, True], ids=["at work", "done already"])
def test_a_store_that_comes_about_while_one_looks_is_not_damaged(
    tmp_path: Path, otto: Otto, is_closed: bool
) -> None:
    repo, exists, built = make_repo(tmp_path), Path.exists, list[RunBuilder]()

    def just_before(place: Path) -> bool:
        found = exists(place)
        if place.name == STORE:
            patched.undo()
            built.append(RunBuilder(repo, task("a")))
            if is_closed:
                patched.setattr(Path, "exists", just_before_its_end)
        return found

    def just_before_its_end(place: Path) -> bool:
        found = exists(place)
        if place.name == f"{STORE}-wal":
            built[0].journal.close()
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "exists", just_before)
        result = otto("status", at=repo)
    assert (result.exit_code, "there are no runs in this repository yet" in result.stderr) == (2, True)
    assert otto("status", at=repo).exit_code == 0
    built[0].journal.close()


def test_every_verb_stops_at_a_damaged_store_and_goes_on_after_what_the_hint_says(
    shop: Path, otto: Otto
) -> None:
    store = shop / ".git/otto" / STORE
    with closing(sqlite3.connect(store)) as db, db:
        db.execute("UPDATE events SET body = replace(body, 'landed', 'failed') WHERE seq > 2")
        db.execute("UPDATE events SET at = '' WHERE seq = 9")
    plan = shop.parent / "plan.yaml"
    plan.write_text("{version: 1, intent: Go on, tasks: [{id: a, owns: [a.txt], run: 'echo a > a.txt'}]}\n")
    verbs = (["status"], ["runs"], ["log"], ["land"], ["build", "--plan", str(plan)])
    results = {verb[0]: otto(*verb) for verb in verbs}
    assert {name: result.exit_code for name, result in results.items() if name != "runs"} == {
        **dict.fromkeys(("status", "log", "land", "build"), 4)
    }
    assert otto("doctor").exit_code != 0
    assert "not as it was written" in otto("doctor").output
    hint = results["build"].stderr.rpartition("move it away: ")[2]
    subprocess.run(hint.strip(), shell=True, check=True)  # what a person would type
    assert otto("build", "--plan", str(plan)).exit_code == 0
    assert (store.parent / "damaged" / STORE).exists()
