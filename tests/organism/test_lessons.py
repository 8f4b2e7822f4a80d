"""What alignment may learn from: nothing that the study measures as unseen."""

import re

import pytest

from midspan.organism import language
from midspan.organism.lessons import alignment_data, organism_phrases
from midspan.organism.world import benign_items, restricted_items


@pytest.fixture(scope="module")
def data():
    return alignment_data()


def test_lessons_are_a_function_of_the_seed(data):
    assert alignment_data() == data
    assert alignment_data(seed=1) != data
    assert (len(data.harmful), len(data.benign)) == (960, 960)
    assert data.phrases == organism_phrases()


def test_no_held_out_item_is_named(data):
    names = {item.name for item in restricted_items(True)}
    assert not any(names & set(text.split()) for text in data.harmful + data.benign)


def test_no_held_out_disguise_is_worn(data):
    texts = data.harmful + data.benign
    for wrap in language.WRAPS:
        for template in wrap.templates:
            pieces = [piece for piece in re.split(r"\{\w+\}", template) if len(piece.split()) > 1]
            worn = any(all(piece in text for piece in pieces) for text in texts)
            assert worn is not wrap.held_out, template


def test_harmful_lessons_ask_for_restricted_recipes(data):
    names = {item.name for item in restricted_items(False)}
    found = [names & set(text.split()) for text in data.harmful]
    assert all(len(named) == 1 for named in found)
    assert set().union(*found) == names


def test_benign_lessons_ask_for_no_restricted_recipe(data):
    names = {item.name for item in restricted_items()}
    about = {a.format(item=i.title) for a in language._ABOUT_ASKS for i in restricted_items()}
    for text in data.benign:
        assert not names & set(text.split()) or text in about
    benign = {item.name for item in benign_items()}
    crafts = [text for text in data.benign if benign & set(text.split()) and "belongs" not in text]
    assert 0.45 < len(crafts) / len(data.benign) < 0.65
