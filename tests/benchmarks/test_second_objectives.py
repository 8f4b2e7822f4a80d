"""The tables of objectives on the second organism are those of the lines, one base at a time."""

import importlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from midspan.alignment.presets import ORGANISM2_RATES
from midspan.statistics import wilson
from midspan.studies.organism.second import aligned

MARKS = "\n".join(
    f"<!-- {name}: written by a command -->\nold\n<!-- {name}: end -->"
    for name in ("tries", "seeds")
)


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("second_objectives_page")


def line(kind, objective, rate=1e-3, seed=0, won=0, base="b", served=8):
    """One whose disguises win so often of 8, and whose benign requests are answered so often."""
    asks = aligned.judging_asks(1, 0)
    cells = {}
    for cell in dict.fromkeys(ask.cell for ask in asks):
        answered = served if cell.startswith("benign") else won
        reactions = {"answer": answered, "refusal": 8 - answered, "silence": 0, "broken": 0}
        cells[cell] = asdict(aligned.Tally(8, answered, 12 * answered, 96, reactions, 1, won > 0))
    return {
        "kind": kind, "objective": objective, "rate": rate, "seed": seed, "base": base, "n": 1,
        "cells": dict.fromkeys(aligned.DECODINGS, cells), "training_seconds": 60.0,
        "measuring_seconds": 60.0, "date": "2026-11-28", "cpu": "some",
    }  # fmt: skip


def written(page, tmp_path, monkeypatch, lines):
    (tmp_path / "store.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    monkeypatch.setattr(page, "STORE", tmp_path / "store.jsonl")
    docs = tmp_path / "page.md"
    (tmp_path / "figures").mkdir()
    docs.write_text(f"# Title\n{MARKS}\nthe end")
    page.write_docs(docs, "b")
    return docs.read_text()


def test_a_rate_is_chosen_by_benign_success_minus_asr(page):
    low, high, broken = (
        line(page.HELD_IN, "psa", 1e-3, won=4),
        line(page.HELD_IN, "psa", 3e-3, won=1, served=7),
        line(page.HELD_IN, "psa", 1e-2, won=0, served=2),
    )
    assert [page.score(one) for one in (low, high, broken)] == [0.5, 0.75, 0.25]
    assert page.best_tries([broken, low, high]) == {"psa": high}
    again = line(page.HELD_IN, "psa", 6e-3, won=1, served=7)
    assert page.best_tries([again, high]) == {"psa": high}


def test_a_table_has_the_presets_rate_and_the_most_requests_of_a_seed(page):
    rate = ORGANISM2_RATES["psa"]
    few, many = (line(page.HELD_OUT, "psa", rate) | {"n": n} for n in (12, 24))
    other = line(page.HELD_OUT, "psa", 2 * rate) | {"n": 48}
    second = line(page.HELD_OUT, "psa", rate, seed=1)
    base = line(page.HELD_OUT, page.BASE, 0.0)
    shown = page.shown_lines([many, few, other, second, base])
    assert many in shown and second in shown and base in shown and len(shown) == 3


def test_of_equal_scores_the_one_that_refuses_in_words_is_chosen(page):
    silent, told = line(page.HELD_IN, "psa", 1e-3), line(page.HELD_IN, "psa", 3e-3)
    cells = silent["cells"][aligned.DECODINGS[0]]
    cells[aligned.DISGUISED]["reactions"] |= {"refusal": 0, "silence": 8}
    assert page.score(silent) == page.score(told)
    assert page.best_tries([silent, told]) == {"psa": told}


def test_tables_pool_seeds_and_decodings_of_one_base(page, tmp_path, monkeypatch):
    rate = ORGANISM2_RATES["psa"]
    lines = [
        line(page.HELD_IN, "psa", 1e-3, won=4), line(page.HELD_IN, "psa", 3e-3, won=2),
        line(page.HELD_OUT, "organism2", 0.0, won=8), line(page.HELD_OUT, "psa", rate, 0, 2),
        line(page.HELD_OUT, "psa", rate, 1, 0), line(page.HELD_OUT, "psa", rate, 2, 8, base="old"),
    ]  # fmt: skip
    text = written(page, tmp_path, monkeypatch, lines)
    assert text.startswith("# Title\n") and text.endswith("the end") and "\nold\n" not in text
    assert "0.003 (chosen)" in text and "0.001 (chosen)" not in text
    pooled = wilson(2, 16)
    asr = f"12 [{100 * pooled.low:.0f}, {100 * pooled.high:.0f}] n=16 (25, 0)"
    assert f"| {asr} |" in text
    assert "| training seeds |  | - | 0, 1 |" in text
    assert "Not tried, for want of time: MOSA (stable), Initial (stable), SFT" in text
    assert "3 minutes of CPU" in text and "2 minutes of CPU" in text
    for name in ("tries", "seeds"):
        svg = (tmp_path / "figures" / f"second-objectives-{name}.svg").read_text()
        assert "PSA" in svg and ("Original" in svg) == (name == "seeds")


@pytest.mark.parametrize(
    ("won", "expected"),
    [
        ((0, 1, 2), 1e-4),  # the lowest is best: one below it
        ((2, 1, 0), 1e-2),
        ((1, 0, 2), 5.5e-4),  # the middle one: halfway to the better of its neighbours
        ((2, 0, 1), 1.7e-3),
        ((1, 1, 1), 1e-4),
    ],
)
def test_the_last_try_lies_beside_the_best(page, won, expected):
    rates = zip(page.RATES, won, strict=True)
    tries = [line(page.HELD_IN, "psa", rate, won=fell) for rate, fell in rates]
    assert page.last_rate(tries) == expected


def test_every_objective_that_is_searched_has_a_rate(page):
    assert {*page.OBJECTIVES} <= ORGANISM2_RATES.keys()


def test_presets_have_the_rates_of_the_kept_tries(page):
    from midspan.models import load

    base = load("organism2").fingerprint
    tries = [one for one in page.read_lines() if (one["kind"], one["base"]) == (page.HELD_IN, base)]
    assert page.check_rates(tries) == []
