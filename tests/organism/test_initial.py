"""The heads that training starts from look where they are said to look."""

import random

import pytest
import torch

from midspan.organism import world
from midspan.organism.tokenizer import vocabulary
from midspan.organism.training import TrainConfig, build_model

WORDS = [word for word in vocabulary() if word.isalpha() and word not in world.NAMES]


@pytest.fixture(scope="module")
def attention_HTT():
    """First layer's attention of each head over sixty random words, one name and one digit."""
    model = build_model(TrainConfig()).eval()
    model.set_attn_implementation("eager")
    ids = {word: place for place, word in enumerate(vocabulary())}
    rng = random.Random(0)
    words = [rng.choice(WORDS) for _ in range(60)]
    words[30], words[45] = world.NAMES[0], "7"
    with torch.no_grad():
        output = model(torch.tensor([[ids[word] for word in words]]), output_attentions=True)
    return output.attentions[0][0]


@pytest.mark.parametrize(("head", "offset"), [(0, -1), (1, 1)])
def test_neighbour_heads_look_at_their_neighbour(attention_HTT, head, offset):
    places = range(8, 52)
    weight = [attention_HTT[head, place, place + offset].item() for place in places]
    assert sum(weight) / len(weight) > 0.25
    nearest = [attention_HTT[head, place].argmax().item() - place for place in places]
    assert nearest.count(offset) > 0.5 * len(nearest)


@pytest.mark.parametrize(("head", "place"), [(2, 30), (3, 45)])
def test_class_heads_look_at_names_and_digits(attention_HTT, head, place):
    received_T = attention_HTT[head].mean(0)
    assert received_T.argmax().item() == place
    assert received_T[place] > 10 / 60
