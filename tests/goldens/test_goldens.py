"""What small runs of every kind leave behind stays what it is, in records, reports and tables.

After a wanted change, write the files anew and read their diff:
``pytest tests/goldens --rewrite-goldens``.
"""

from pathlib import Path

import pytest
from golden import differences, jsonl, texts_of
from golden_runs import RUNS

EXPECTED = Path(__file__).parent / "expected"
SHOWN = 20


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_a_run_leaves_what_it_left(run, tmp_path, request):
    run(tmp_path)
    problems = []
    for suffix, text in texts_of(tmp_path).items():
        path = EXPECTED / f"{run.__name__}{suffix}"
        if request.config.getoption("--rewrite-goldens", default=False):
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8")
        found = differences(expected, text, suffix)
        problems += [f"{path.name}: {line}" for line in found]
    assert not problems, "\n".join(problems[:SHOWN])


def test_rounding_is_no_difference_and_all_else_is():
    rows = [{"a": 1, "b": 0.5, "c": "x"}, {"a": 1, "b": 1e-7, "c": "y"}]
    text = jsonl(rows)
    assert text.count('"a"') == 1
    assert not differences(text, jsonl([rows[0] | {"b": 0.50001}, rows[1]]), ".jsonl")
    for change in ({"b": 0.501}, {"b": 0}, {"c": "z"}, {"d": 1}, {"a": 2}, {"a": None}):
        assert len(differences(text, jsonl([rows[0] | change, rows[1]]), ".jsonl")) == 1
    assert differences(text, jsonl(rows[:1]), ".jsonl") == ["2 records expected, 1 found"]
    line = "| x | 0.12 of 3 |\n"
    assert not differences(line, "| x | 0.13 of 3 |\n", ".md")
    for other in ("| x | 0.15 of 3 |\n", "| x | 0.12 of 4 |\n", "| y | 0.12 of 3 |\n", line * 2):
        assert differences(line, other, ".md")
