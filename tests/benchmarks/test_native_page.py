"""The tables of attacks on alignments are those of the runs, and nothing else of the page moves."""

import importlib
import json
from pathlib import Path

import pytest

from midspan.errors import MidspanError
from midspan.statistics import wilson

MODELS = ("organism", "psa")
OUTCOMES = {True: "won", False: "lost", None: "unreadable"}
GROUPS = {"native": ("dija",), "more": ("tap",)}


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("native_page")


@pytest.fixture
def results(page):
    return importlib.import_module("native_results")


def write(runs, model, seed, group, attack, outcomes, steps=32):
    """A finished run: by behavior whether it was won, and the share of facts."""
    folder = runs / f"{model}-{seed}" / group
    folder.mkdir(parents=True)
    config = {"attacks": [{"attack": attack}], "decoding": {"steps": steps}}
    (folder / "run.json").write_text(json.dumps({"kind": "red-team", "config": config}))
    rows = [
        {
            "attack_label": attack, "access": "infill", "behavior": f"b{n}", "counts": "last",
            "outcome": {"exact": OUTCOMES[won]}, "lost": [], "attempts": [],
            "facts": {"exact": {"share": share if isinstance(share, list) else [share] * 2,
                                "chance": 0.25}},
        }
        for n, (won, share) in enumerate(outcomes)
    ]  # fmt: skip
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = {"model": model, "seed": seed, "group": group, "cpu_seconds": 90, "cpu": "some"}
    (folder / "table.json").write_text(json.dumps(info))


def marked(docs):
    """A page with room for every table."""
    marks = [
        f"<!-- {name}: written by a command -->\nold\n<!-- {name}: end -->"
        for name in (*GROUPS, "cost")
    ]
    docs.write_text("\n".join(["# Title", *marks, "the end"]))


def test_seeds_are_pooled_and_stand_each_beside(page, results, tmp_path):
    runs, docs, store = tmp_path / "runs", tmp_path / "page.md", tmp_path / "kept" / "lines.jsonl"
    write(runs, "organism", 0, "native", "dija", [(True, 1.0), (False, 0.5)])
    write(runs, "psa", 0, "native", "dija", [(True, 0.5), (False, 0.0)])
    write(runs, "psa", 1, "native", "dija", [(False, 0.5), (False, 0.5)])
    marked(docs)
    page.write_docs(docs, results.update_store(store, runs), MODELS, GROUPS)
    text = docs.read_text()
    assert text.startswith("# Title\n") and text.endswith("the end") and "old" not in text
    pooled = wilson(1, 4)
    asr = f"25 [{100 * pooled.low:.0f}, {100 * pooled.high:.0f}] n=4 (50, 0)"
    assert f"| {asr} |" in text
    assert "38 [" in text and ", 25 (25, 50) |" in text  # the mean of facts, chance, each seed's
    assert "Not run." in text and "| native | PSA | 0, 1 | 3.0 | some |" in text
    page.write_docs(docs, results.update_store(store, runs), MODELS, GROUPS)
    assert docs.read_text() == text


def test_tables_go_on_from_the_kept_lines_alone(page, results, tmp_path):
    store, docs = tmp_path / "lines.jsonl", tmp_path / "page.md"
    write(tmp_path / "here", "psa", 0, "native", "dija", [(True, 0.5), (None, [0.25, 1.0])])
    results.update_store(store, tmp_path / "here")
    write(tmp_path / "there", "psa", 1, "native", "dija", [(False, 0.5), (False, 0.0)])
    continued = results.update_store(store, tmp_path / "there")
    assert [run.key for run in continued] == [("native", "psa", 0), ("native", "psa", 1)]
    assert (
        continued[0].attacks["dija"]
        == results.Run.read(tmp_path / "here" / "psa-0" / "native" / "table.json").attacks["dija"]
    )
    marked(docs)
    page.write_docs(docs, continued, MODELS, GROUPS)
    assert "n=4 (50, 0)" in docs.read_text() and "25 to 50 [" in docs.read_text()
    write(tmp_path / "again", "psa", 0, "native", "dija", [(False, 0.0), (False, 0.0)])
    first, _ = results.update_store(store, tmp_path / "again")
    assert first.attacks["dija"].won == (False, False)


def test_runs_of_other_settings_are_not_pooled(results, tmp_path):
    store = tmp_path / "lines.jsonl"
    write(tmp_path, "psa", 0, "native", "dija", [(True, 0.5)])
    write(tmp_path, "psa", 1, "native", "dija", [(True, 0.5)], steps=64)
    with pytest.raises(MidspanError, match=r"dija: psa, seed 1, was asked under other settings"):
        results.update_store(store, tmp_path)
    assert not store.exists()


def test_a_page_without_marks_is_refused(page, tmp_path):
    docs = tmp_path / "page.md"
    docs.write_text("# Title")
    with pytest.raises(MidspanError, match="lacks the marks"):
        page.write_docs(docs, [], MODELS, {"native": ("dija",)})


def test_a_behavior_that_any_attack_wins_is_counted_once_a_seed(page, results):
    def run(seed, *attacks):
        tallies = {f"a{n}": results.Tally(won, (), 0.0) for n, won in enumerate(attacks)}
        return results.Run("psa", seed, "native", tallies, {})

    first, second = run(0, (True, False), (True, False)), run(1, (False, False), (False, None))
    text = page.rate_text({one.seed: one.any_won for one in (first, second)})
    assert text.startswith("25 to 50 [") and text.endswith("n=4 (50, 0)")


def test_the_kept_lines_are_those_of_the_page(page, results):
    table = importlib.import_module("native_table")
    docs = Path(__file__).parents[2] / "docs" / "results" / "native-table.md"
    runs = results.read_store(results.STORE)
    for group, attacks in table.GROUPS.items():
        own = [run for run in runs if run.group == group]
        told = page.group_tables(own, attacks, ("organism", *table.ALIGNED))
        assert page.replace_between(docs.read_text(), group, told) == docs.read_text()
