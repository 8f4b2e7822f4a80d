"""What an alignment learns from: the organism's data, or files held against evaluation sets."""

import pytest

import midspan
from midspan.alignment import PRESETS, check_data
from midspan.errors import MidspanError
from midspan.organism.training_data import alignment_data
from midspan.studies.training import TrainingData, load_training_data


def test_the_organism_brings_its_data():
    assert load_training_data(TrainingData(seed=3), "organism") == alignment_data(3)
    with pytest.raises(MidspanError, match="give a file of harmful prompts"):
        load_training_data(TrainingData(), "GSAI-ML/LLaDA-8B-Instruct")


@pytest.mark.parametrize(
    "names", [{"harmful": "organism:4"}, {"benign": "organism:4"}, {"exclude": ("organism:4",)}]
)
def test_sets_of_an_organism_are_no_training_data(names):
    (field,) = names
    with pytest.raises(MidspanError, match=f"^{field}: organism:4 is of the world of organism"):
        load_training_data(TrainingData(**names), "organism2:helpful")
    with pytest.raises(MidspanError, match=f"^{field}: organism:4 is asked by attacks"):
        load_training_data(TrainingData(**names), "organism")


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


@pytest.mark.parametrize("name", ["psa", "a2d", "vrpo", "sft"])
def test_openings_are_no_answers(tmp_path, name):
    openings, whole = tmp_path / "openings.csv", tmp_path / "whole.csv"
    openings.write_text('goal,target\nlight the lamp,"Sure, here is how to"\n')
    whole.write_text("goal,response\nlight the lamp,Hold the wick and strike the flint.\n")

    def data(harmful, benign):
        return load_training_data(TrainingData(harmful=str(harmful), benign=str(benign)), "base")

    check_data(data(whole, whole), PRESETS[name]())
    check_data(data(openings, openings), PRESETS["mosa-stable"]())
    wrong = data(whole, openings) if name == "sft" else data(openings, whole)
    with pytest.raises(MidspanError) as caught:
        check_data(wrong, PRESETS[name]())
    message = str(caught.value)
    assert message.startswith("benign prompts: " if name == "sft" else "prompts: ")
    assert f"{openings} holds openings of answers" in message and name in message
    assert "column response" in message and "\n" not in message


def test_openings_are_refused_before_a_model_is_loaded(tmp_path):
    path = tmp_path / "openings.csv"
    path.write_text('goal,target\nlight the lamp,"Sure, here is how to"\n')
    names = {"harmful": str(path), "benign": str(path)}
    with pytest.raises(MidspanError, match="holds openings of answers"):
        midspan.align("no/such-model", names, "psa")
