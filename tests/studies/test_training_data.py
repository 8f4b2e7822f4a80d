"""What an alignment learns from: the organism's data, or files held against evaluation sets."""

import pytest

from midspan.errors import MidspanError
from midspan.organism.training_data import alignment_data
from midspan.studies.training import TrainingData, load_training_data


def test_the_organism_brings_its_data():
    assert load_training_data(TrainingData(seed=3), "organism") == alignment_data(3)
    with pytest.raises(MidspanError, match="give a file of harmful prompts"):
        load_training_data(TrainingData(), "GSAI-ML/LLaDA-8B-Instruct")


def test_what_prompts_were_held_against_goes_with_the_data(tmp_path):
    prompts, evaluation = tmp_path / "prompts.txt", tmp_path / "evaluation.txt"
    prompts.write_text("How is the tin lamp lit at night?\nWho painted the northern gate?\n")
    evaluation.write_text("how is the tin lamp lit at night\n")
    names = TrainingData(harmful=str(prompts), exclude=(str(evaluation),))
    with pytest.raises(MidspanError, match="1 of 2 training prompts"):
        load_training_data(names, "base")
    said = []
    allowed = names.model_copy(update={"allow_overlap": True})
    found = load_training_data(allowed, "base", said.append)
    assert list(found.excluded.values()) == [1] and len(found.harmful) == 2
    assert any(next(iter(found.excluded)) in line for line in said)
