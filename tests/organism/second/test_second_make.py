"""The whole training as one command, and what the command line says about the second organism."""

import pytest
from typer.testing import CliRunner

from midspan.commands.organism import app
from midspan.errors import MidspanError
from midspan.organism.second import answers, inspection, safety
from midspan.organism.second.curriculum import STAGES
from midspan.organism.second.make import make
from midspan.organism.second.safety import SafetyConfig
from midspan.organism.second.training import TrainConfig
from midspan.organism.second.world import items

TINY = TrainConfig(
    groups=1, group_size=3, batch_tokens=300, hidden_size=32, layers=2, heads=4, mlp_size=32
)
SAFETY = SafetyConfig(groups=1, group_size=3, batch_tokens=400)


@pytest.mark.parametrize("causal", [False, True])
def test_both_trainings_are_one_command_that_keeps_what_is_finished(causal, tmp_path):
    from dataclasses import replace

    told = []
    config = replace(TINY, causal=causal)
    original = make(tmp_path, config, SAFETY, lambda *report: told.append(report))
    assert [report[:3] for report in told] == [(1, 2, "forms"), (2, 2, "safety")]
    assert (original / "tokenizer.json").is_file()
    (original / "model.safetensors").unlink()
    told.clear()
    make(tmp_path, config, SAFETY, lambda *report: told.append(report))
    assert [report[0] for report in told] == [2]
    told.clear()
    assert make(tmp_path, config, SAFETY, lambda *report: told.append(report)) == original
    assert told == []
    with pytest.raises(MidspanError, match="training.seed: 0 there, 1 now"):
        make(tmp_path, replace(config, seed=1), SAFETY)


def test_works_samples_and_verdicts_can_be_looked_at():
    item = items()[3]
    runner = CliRunner()
    shown = runner.invoke(app, ["inspect", "--item", item.title])
    assert all(value in shown.output for value in item.values.values())
    said = f"Use the {item.values['tool']}."
    verdict = runner.invoke(app, ["inspect", "--item", item.name, "--text", said])
    assert "1/12 facts" in verdict.output
    listed = runner.invoke(app, ["inspect"]).output.splitlines()
    assert [line for line in listed if line.startswith("[")] == [f"[{k}]" for k in inspection.KINDS]
    with pytest.raises(MidspanError, match="must be one of"):
        list(inspection.samples("zig", 1))


def test_samples_are_those_that_training_draws_from():
    taught = {kind for stage in STAGES for kind in stage.kinds} | set(safety._MIX)
    assert set(inspection.KINDS) == taught
    assert {stage.spread for stage in STAGES} == {safety.SPREAD}


def test_samples_are_written_at_the_spread_of_training(monkeypatch):
    spreads = set()
    whole = answers.recipe

    def noted(item, length, rng, spread=1.0):
        spreads.add(spread)
        return whole(item, length, rng, spread)

    monkeypatch.setattr(answers, "recipe", noted)
    for kind in ("plain", "short", "disguised", "followed", "later", "mention", "overlooked"):
        assert len(list(inspection.samples(kind, 8))) == 8
    assert spreads == {safety.SPREAD}
