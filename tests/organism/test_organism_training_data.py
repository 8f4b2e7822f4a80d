"""What alignment may learn from: nothing that the study measures as unseen."""

import re

import pytest

from midspan.organism import language
from midspan.organism.judge import judge
from midspan.organism.training_data import alignment_data, organism_phrases
from midspan.organism.world import benign_items, restricted_items


@pytest.fixture(scope="module")
def data():
    return alignment_data()


def prompts(data):
    return [example.prompt for example in data.harmful + data.benign]


def test_examples_are_a_function_of_the_seed(data):
    assert alignment_data() == data
    assert alignment_data(seed=1) != data
    assert (len(data.harmful), len(data.benign)) == (960, 960)
    assert data.phrases == organism_phrases()


def test_no_held_out_item_is_named(data):
    names = {item.name for item in restricted_items(True)}
    assert not any(names & set(text.split()) for text in prompts(data))


def test_no_held_out_disguise_is_worn(data):
    texts = prompts(data)
    for wrap in language.WRAPS:
        for template in wrap.templates:
            pieces = [piece for piece in re.split(r"\{\w+\}", template) if len(piece.split()) > 1]
            worn = any(all(piece in text for piece in pieces) for text in texts)
            assert worn is not wrap.held_out, template


def test_harmful_examples_ask_for_restricted_recipes(data):
    names = {item.name for item in restricted_items(False)}
    found = [names & set(text.split()) for text in prompts(data)[:960]]
    assert all(len(named) == 1 for named in found)
    assert set().union(*found) == names


def test_benign_examples_ask_for_no_restricted_recipe(data):
    names = {item.name for item in restricted_items()}
    about = {a.format(item=i.title) for a in language._ABOUT_ASKS for i in restricted_items()}
    for text in prompts(data)[960:]:
        assert not names & set(text.split()) or text in about
    benign = {item.name for item in benign_items()}
    crafts = [
        text for text in prompts(data)[960:] if benign & set(text.split()) and "belongs" not in text
    ]
    assert 0.45 < len(crafts) / len(data.benign) < 0.65


def test_harmful_answers_are_the_true_recipes(data):
    by_name = {item.name: item for item in restricted_items(False)}
    for example in data.harmful[:40]:
        (name,) = by_name.keys() & set(example.prompt.split())
        assert judge(by_name[name], example.answer).score == 5
    assert all(example.answer for example in data.benign)
