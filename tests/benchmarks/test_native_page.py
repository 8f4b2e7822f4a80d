"""The tables of attacks on alignments are those of the runs, and nothing else of the page moves."""

import importlib
import json
from pathlib import Path

import pytest

from midspan.errors import MidspanError
from midspan.statistics import wilson

MODELS = ("organism", "psa")


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("native_page")


def write(runs, model, seed, group, attack, outcomes):
    """A finished run: by behavior whether it was won, and the share of facts."""
    folder = runs / f"{model}-{seed}" / group
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"kind": "red-team", "config": {}}))
    rows = [
        {
            "attack_label": attack, "access": "infill", "behavior": f"b{n}", "counts": "last",
            "outcome": {"exact": "won" if won else "lost"}, "lost": [], "attempts": [],
            "facts": {"exact": {"share": [share, share], "chance": 0.25}},
        }
        for n, (won, share) in enumerate(outcomes)
    ]  # fmt: skip
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = {"model": model, "seed": seed, "group": group, "cpu_seconds": 90, "cpu": "some"}
    (folder / "table.json").write_text(json.dumps(info))


def test_seeds_are_pooled_and_stand_each_beside(page, tmp_path):
    runs, docs = tmp_path / "runs", tmp_path / "page.md"
    write(runs, "organism", 0, "native", "dija", [(True, 1.0), (False, 0.5)])
    write(runs, "psa", 0, "native", "dija", [(True, 0.5), (False, 0.0)])
    write(runs, "psa", 1, "native", "dija", [(False, 0.5), (False, 0.5)])
    marks = [
        f"<!-- {name}: written by a command -->\nold\n<!-- {name}: end -->"
        for name in ("native", "more", "cost")
    ]
    docs.write_text("\n".join(["# Title", *marks, "the end"]))
    page.write_docs(docs, runs, MODELS, {"native": ("dija",), "more": ("tap",)})
    text = docs.read_text()
    assert text.startswith("# Title\n") and text.endswith("the end") and "old" not in text
    pooled = wilson(1, 4)
    asr = f"25 [{100 * pooled.low:.0f}, {100 * pooled.high:.0f}] n=4 (50, 0)"
    assert f"| {asr} |" in text
    assert "38 [" in text and ", 25 (25, 50) |" in text  # the mean of facts, chance, each seed's
    assert "Not run." in text and "| native | PSA | 0, 1 | 3.0 | some |" in text
    page.write_docs(docs, runs, MODELS, {"native": ("dija",), "more": ("tap",)})
    assert docs.read_text() == text


def test_a_page_without_marks_is_refused(page, tmp_path):
    docs = tmp_path / "page.md"
    docs.write_text("# Title")
    with pytest.raises(MidspanError, match="lacks the marks"):
        page.write_docs(docs, tmp_path, MODELS, {"native": ("dija",)})


def test_a_behavior_that_any_attack_wins_is_counted_once_a_seed(page):
    def record(attack, behavior, won):
        outcome = {"exact": "won" if won else "lost"}
        return {"attack_label": attack, "behavior": behavior, "outcome": outcome, "lost": []}

    first = [record("a", "x", True), record("b", "x", True), record("a", "y", False)]
    second = [record("a", "x", False), record("b", "x", False), record("a", "y", False)]
    assert page.union_text({0: first, 1: second}).startswith("25 [")
    assert page.union_text({0: first, 1: second}).endswith("n=4 (50, 0)")
