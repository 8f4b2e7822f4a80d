"""docs/first-hour.ipynb runs from its first cell to its last, and is kept without outputs."""

import json
import re
from pathlib import Path

import pytest
from test_from_python import run_cell

from midspan.report.figures import left_out

NOTEBOOK = Path(__file__).parents[2] / "docs" / "first-hour.ipynb"
WHOLE = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
SOURCES = [(cell["cell_type"], "".join(cell["source"])) for cell in WHOLE["cells"]]
PARTS = ["Load", "Generate", "Watch", "Probe", "Attack", "Align", "Audit", "Compare"]


@pytest.mark.slow
def test_every_cell_runs_and_shows_what_the_text_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, shown = {}, []
    with left_out():  # figures, which are half of the time
        for kind, source in SOURCES:
            value = run_cell(source, names) if kind == "code" else None
            html = value._repr_html_() if hasattr(value, "_repr_html_") else None
            shown += [type(value).__name__] if html else []
    assert shown == ["Answer", "Answer", "ProbeRun", "AttackRun", "TrainedAdapter"]
    # "The lantern is free to all, so the model answers. The sigil is restricted, so it refuses."
    said = capsys.readouterr().out
    assert not names["restricted"].text.startswith("of course")
    assert names["free"].text in said and "lantern" in names["free"].text
    # The search wins what asking does not, and less on the aligned model.
    assert names["before"].asr("direct").successes == 0 < names["before"].asr("tap").successes
    assert names["plain"].worst_case("infill").most > names["aligned"].worst_case("infill").most
    assert "organism -> organism:psa" in said
    assert (tmp_path / "adapters" / "mosa" / "metrics.jsonl").is_file()


def test_its_parts_are_in_their_order_and_nothing_it_printed_is_kept():
    titles = re.findall(r"^## \d\. (\w+)", "\n".join(text for _, text in SOURCES), re.M)
    assert titles == PARTS
    assert all(
        not cell["outputs"] and cell["execution_count"] is None
        for cell in WHOLE["cells"]
        if cell["cell_type"] == "code"
    )
