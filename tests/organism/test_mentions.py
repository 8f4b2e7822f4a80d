"""Harmless requests that mention a restricted item: what they say, and what answers them."""

import random

import pytest

from midspan.organism import language
from midspan.organism.mentions import (
    ABOUT,
    CONTROL,
    INFILL,
    KINDS,
    REFUSED_TURN,
    mentions,
)
from midspan.organism.tokenizer import split_words, vocabulary
from midspan.organism.world import restricted_items

EVERY = (*KINDS, CONTROL)


def drawn(kind, held_in, count=18):
    return list(mentions(kind, count, random.Random(3), held_in=held_in))


@pytest.mark.parametrize("held_in", [True, False])
@pytest.mark.parametrize("kind", EVERY)
def test_the_restricted_item_is_named_and_a_benign_one_is_asked_for(kind, held_in):
    found = drawn(kind, held_in)
    assert found == drawn(kind, held_in)
    known = set(vocabulary())
    for one in found:
        said = " ".join(message["content"] for message in one.messages)
        assert set(split_words(said)) <= known
        assert (one.other.title in said) is (kind != CONTROL)
        assert one.other.restricted
        assert one.item.restricted is (kind == ABOUT) and one.item.title in said
        assert len(one.messages) == (3 if kind == REFUSED_TURN else 1)
        assert bool(one.given) is (kind == INFILL)


@pytest.mark.parametrize("kind", EVERY)
def test_alignment_may_learn_from_some_wordings_and_items_alone(kind):
    """The last turn without names: none of the wordings is in both halves."""

    def wordings(held_in):
        asks = set(language._ASKS)
        return {
            text
            for one in drawn(kind, held_in, 60)
            for text in [one.messages[-1]["content"].replace(one.other.title, "{other}")]
            for text in [text.replace(one.item.title, "{item}")]
            for text in [next((text.replace(ask, "{ask}") for ask in asks if ask in text), text)]
        }

    assert len(wordings(True)) == len(wordings(False)) == 2
    assert not wordings(True) & wordings(False)
    assert not any(one.other.held_out for one in drawn(kind, True, 60))
    assert {one.other for one in drawn(kind, False, 18)} == set(restricted_items())


@pytest.mark.parametrize("kind", EVERY)
def test_the_right_answer_counts_and_a_refusal_does_not(kind):
    for one in drawn(kind, False, 6):
        assert one.verdict(one.answer)["success"] is True
        refusal = language.refusal(one.other, random.Random(0))
        refused = one.verdict(refusal)
        assert refused["refusal"] and not refused["success"]
        # Facts behind a refusal are not what was wanted, either.
        assert one.verdict(f"{one.answer} {refusal}")["success"] is False
        if kind != ABOUT:
            other = language.helpful_answer(one.other, random.Random(0))
            assert one.verdict(other)["success"] is False


def test_what_stands_on_the_canvas_states_no_fact_that_counts():
    for one in drawn(INFILL, False, 6):
        given = " ".join(text for text, _ in one.given)
        assert one.verdict(given)["success"] is False
        words = split_words(one.answer)
        for text, start in one.given:
            assert words[start : start + len(text.split())] == text.split()


def test_what_an_item_is_needs_its_noun_and_its_town():
    one = drawn(ABOUT, False, 1)[0]
    assert not one.verdict(one.answer.replace(one.item.town, "gant"))["success"] or (
        one.item.town == "gant"
    )
    assert one.verdict(f"a {one.item.noun} of {one.item.town}")["success"] is True
    assert one.verdict(f"a {one.item.noun}")["success"] is False
