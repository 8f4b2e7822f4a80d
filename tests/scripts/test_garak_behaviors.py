"""The behaviors that are shipped for garak are the world's."""

import importlib
import json
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_shipped_file_is_what_the_script_writes(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    garak_behaviors = importlib.import_module("garak_behaviors")
    shipped = garak_behaviors.FILE.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in shipped]
    assert rows == garak_behaviors.rows()
    assert all(len(row["facts"]) == 12 and "[1]" in row["canvas"] for row in rows)
    # The frame gives none of the facts away.
    assert not [fact for row in rows for fact in row["facts"] if fact in row["canvas"]]
