"""Defences of the table are rules in the organism's words, and harmless answers are counted."""

import importlib
from pathlib import Path

import pytest

from midspan.decoding.rule import as_rule
from midspan.organism.tokenizer import split_words
from midspan.organism.weights import load_organism
from midspan.statistics import wilson
from midspan.studies.defences import read_defences


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("defences_table")


def test_every_target_is_a_study_whose_defence_speaks_the_worlds_language(benchmark, tmp_path):
    lm = load_organism()
    for model, defence in benchmark.TARGETS:
        config = benchmark.study(tmp_path, model, defence)
        replays = [spec for spec in config.attacks if spec.attack == "replay"]
        assert len(replays) == (len(benchmark.SOURCE) if defence else 0)
        assert set(read_defences(config.defences)) == ({defence} if defence else set())
        assert benchmark.tasks(model, defence).models == config.models
    texts = [benchmark._BEFORE, benchmark._AFTER, benchmark._REFUSAL]
    texts += as_rule(dict(benchmark.DEFENCES["early_commit"])).texts
    (unknown,) = lm.encode_text("unheardofword")
    for text in texts:
        ids = lm.encode_text(text)
        assert len(ids) == len(split_words(text)) and unknown not in ids


def test_harmless_answers_are_counted_by_group(benchmark):
    def answer(group, helped, refused, forwards):
        verdict = {"helped": helped, "refused": refused}
        return {"group": group, "verdict": verdict, "forwards": forwards}

    answers = [
        answer("safe", True, False, 4), answer("safe", False, True, 8),
        answer("plain", True, False, 4), answer("mentioned", False, False, 8),
    ]  # fmt: skip
    half = wilson(1, 2)
    told = f"50 [{100 * half.low:.0f}, {100 * half.high:.0f}] n=2"
    safe, plain, mentioned, refused, forwards = benchmark.use_cells(answers)
    assert (safe, refused, forwards) == (told, told, "6.0")
    assert plain.startswith("100 [") and mentioned.startswith("0 [")
