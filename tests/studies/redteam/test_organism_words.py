"""Attacks in words and suffixes run on the organism, in its language and with its helpers."""

import pytest

from midspan.engine.budget import Budget
from midspan.studies.redteam.prepare import prepare_attack
from midspan.studies.redteam.presets import organism_attack, organism_native, organism_words
from midspan.studies.redteam.run import run_redteam

# What each asks of the target, at a size that a test can pay.
ROWS = {
    "templates": ("chat", {"count": 1}),
    "encodings": ("chat", {"codes": ("base64", "words_reversed")}),
    "bon": ("chat", {"n": 2}),
    "pap": ("chat", {"techniques": ("Rumors",)}),
    "renellm": ("chat", {"rounds": 1}),
    "crescendo": ("chat", {"rounds": 2, "backtracks": 1}),
    "context_nesting": ("infill", {"channel": "response"}),
    "post_context": ("infill", {"masks": 32}),
    "first_step_gcg": ("white-box", {"steps": 2, "width": 4, "check_every": 1}),
}


def test_each_runs_to_its_end(tmp_path):
    rows = tuple(organism_attack(name, **fields) for name, (_, fields) in ROWS.items())
    decoding = {"length": 64, "block_length": 32, "steps": 4}
    update = {"models": ("organism",), "attacks": rows, "behaviors": "organism:1"}
    study = organism_words().model_copy(update={**update, "decoding": decoding})
    done = run_redteam(study, tmp_path, "midspan study")
    assert done.problems == []
    for name, (access, _) in ROWS.items():
        (record,) = done.cells["organism", name]
        assert (record["ran"], record["lost"], record["access"]) == (True, [], access), name
        assert record["attempts"], name
    (nested,) = done.cells["organism", "context_nesting"]
    assert all(attempt["scaffold"]["turn"] == "response" for attempt in nested["attempts"])


@pytest.mark.parametrize("preset", [organism_native, organism_words])
def test_every_row_of_the_presets_is_an_attack(preset):
    config = preset()
    for spec in config.attacks:
        prepare_attack(spec, Budget())
    assert len({spec.name for spec in config.attacks}) == len(config.attacks) > 10
