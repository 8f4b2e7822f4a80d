"""The table of sizes has a column a size, and rows of the models that every size has."""

import importlib
import json
from pathlib import Path

import pytest

from midspan.alignment.presets import ORGANISM2_RATES
from midspan.organism.second.encoder import Encoder
from midspan.organism.second.training import build_model
from midspan.studies.organism.second import aligned


@pytest.fixture
def sizes(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    module = importlib.import_module("second_sizes")
    monkeypatch.setattr(module, "STORE", tmp_path / "sizes.jsonl")
    return module


def judged(sizes, base, objective, won, seed=0):
    """A line whose requests are won so often of 4 in every cell."""
    reactions = {"answer": won, "refusal": 4 - won, "silence": 0, "broken": 0}
    tally = {
        "n": 4, "success": won, "facts": 0, "asked": 48, "reactions": reactions, "goals": 1,
        "won": int(won > 0),
    }  # fmt: skip
    names = {ask.cell for ask in aligned.judging_asks(1, 0)}
    return {
        "kind": sizes.HELD_OUT, "objective": objective, "base": base, "n": 1, "seed": seed,
        "rate": ORGANISM2_RATES.get(objective, 0.0),
        "cells": dict.fromkeys(aligned.DECODINGS, dict.fromkeys(names, tally)),
    }  # fmt: skip


def test_columns_are_sizes_and_a_model_that_one_lacks_has_no_row(sizes, tmp_path, monkeypatch):
    shape = {"hidden_size": 192, "layers": 3, "heads": 6, "mlp_size": 640}
    known = [
        {"size": "large", "base": "l", "parameters": 8_300_000, "shape": shape, "date": "today"},
        {"size": "small", "base": "s", "parameters": 3_000_000, "shape": shape, "date": "today"},
    ]
    sizes.STORE.write_text("".join(f"{json.dumps(one)}\n" for one in known))
    lines = [
        judged(sizes, "s", "organism2", 4), judged(sizes, "l", "organism2", 3),
        judged(sizes, "s", "psa", 1), judged(sizes, "l", "psa", 0), judged(sizes, "l", "psa", 2, 1),
        judged(sizes, "s", "sft", 0), judged(sizes, "other", "sft", 4),
    ]  # fmt: skip
    monkeypatch.setattr(sizes, "read_lines", lambda: lines)
    page = tmp_path / "page.md"
    page.write_text(
        "\n".join(
            f"<!-- {name}: written by a command -->\nold\n<!-- {name}: end -->"
            for name in ("shapes", "judged")
        )
    )
    sizes.write_docs(page)
    text = page.read_text()
    assert "| measured | decoding | model | 3.0 million | 8.3 million |" in text
    plain = [line for line in text.splitlines() if line.startswith("| ASR, plain | one block")]
    assert [line.split(" | ")[2] for line in plain] == ["Original", "PSA"]
    assert "100 [51, 100] n=4 | 75 [30, 95] n=4" in plain[0]
    assert plain[1].endswith("| 25 [5, 70] n=4 | 25 [7, 59] n=8 (0, 50) |")
    assert "\nold\n" not in text
    assert "| 3.0 million | 192 | 3 | 6 | 640 | today |" in text


def test_what_the_first_layer_is_set_for_fits_every_size(sizes):
    encoder = Encoder()
    for config in sizes.SIZES.values():
        # Orthogonal directions for the pieces of names, and what a head copies of them.
        assert len(encoder.name_pieces) + 3 <= config.hidden_size
        assert config.hidden_size // config.heads >= len(encoder.name_pieces) // 2
        assert config.mlp_size >= config.num_items


def test_the_shipped_size_is_read_and_kept_once(sizes):
    for _ in range(2):
        sizes.train(Path("unused"), [sizes.SHIPPED])
    (line,) = sizes.read_sizes()
    built = build_model(sizes.SIZES[sizes.SHIPPED], Encoder())
    assert line["parameters"] == sum(weight.numel() for weight in built.parameters())
