"""What a person meets when the store is damaged, and the way on."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from otto_core.store import STORE
from tests.otto_core.cli.conftest import Otto


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
