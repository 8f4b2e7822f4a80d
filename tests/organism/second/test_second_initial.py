"""Where the second organism's training starts: what its set layer knows before any training."""

import copy
import random

import pytest
import torch

from midspan.organism.second import corpus, initial
from midspan.organism.second.curve import measured
from midspan.organism.second.encoder import Encoder, Masking, diffusion_batch
from midspan.organism.second.training import TrainConfig, build_model
from midspan.organism.second.world import items

SOME = items()[::40]


@pytest.fixture(scope="module")
def encoder():
    return Encoder()


@pytest.fixture(scope="module")
def model(encoder):
    return build_model(TrainConfig(), encoder).eval()


def batch_of(encoder, answer):
    """A question about each of some works, and a fully masked canvas."""
    rng = random.Random(0)
    drawn = [corpus.one_turn(f"How do I make the {item.title}?", answer) for item in SOME]
    rows = [encoder.sample(one, 0.0, rng) for one in drawn]
    return diffusion_batch(rows, encoder, Masking(1), rng)


def test_on_masks_the_unit_of_the_work_that_was_asked_for_answers_loudest(encoder, model):
    heard = {}
    units = model.model.layers[initial.NAMES_LAYER].mlp.down_proj
    hook = units.register_forward_pre_hook(lambda _, given: heard.update(units=given[0]))
    batch = batch_of(encoder, "Sure.")
    with torch.no_grad():
        model.model(batch["input_ids_BT"], attention_mask=batch["attention_BT"])
    hook.remove()
    loudest_BT = heard["units"].argmax(-1)
    for index, item in enumerate(SOME):
        masked_T = batch["input_ids_BT"][index] == encoder.mask
        assert (loudest_BT[index][masked_T] == item.index).all(), item.title


def test_facts_are_known_before_any_training_but_nothing_is_said(encoder, model):
    found = measured(model, encoder, kinds=("card", "plain"))
    for shares in found.values():
        assert shares["among"] > 0.6  # A guess is right in 3 % of cases.
        assert shares["tokens"] < 0.1


def test_without_the_units_facts_are_guesses(encoder, model):
    model = copy.deepcopy(model).train()
    torch.nn.init.normal_(model.model.layers[initial.NAMES_LAYER].mlp.down_proj.weight, std=0.1)
    assert measured(model, encoder, kinds=("card",))["card"]["among"] < 0.1
    assert model.training


def test_no_two_places_of_a_canvas_look_alike_to_the_heads_that_see_the_header(encoder, model):
    """Places are told apart by the heads' weights on the assistant's header."""
    attention = model.model.layers[initial.NAMES_LAYER].self_attn
    batch = batch_of(encoder, " ".join(["the"] * 100))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights_BHTT = model.model(
            batch["input_ids_BT"], attention_mask=batch["attention_BT"], output_attentions=True
        ).attentions[initial.NAMES_LAYER]
    header = encoder.backend.token_to_id("assistant")
    place = int((batch["input_ids_BT"][0] == header).nonzero()[-1])
    waves_TH = weights_BHTT[0, 3:, place + 4 :, place].T
    assert waves_TH.shape[1] == attention.config.num_attention_heads - 3
    apart_TT = torch.cdist(waves_TH, waves_TH) + torch.eye(len(waves_TH))
    assert waves_TH.max() > 0.9 and waves_TH.min() < 0.05
    # All but a few pairs of places differ visibly.
    assert (apart_TT > 0.05).float().mean() > 0.97
