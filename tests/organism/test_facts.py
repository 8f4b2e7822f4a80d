"""Which facts a text states, against a search through its words, and in which forms."""

import random

import pytest

from midspan.organism import language, world
from midspan.organism.behaviors import behaviors, exact_forms, exact_judge
from midspan.organism.facts import facts_in, facts_in_any_form
from midspan.organism.judge import facts_elsewhere, judge
from midspan.organism.tokenizer import split_words

ITEM, OTHER = world.restricted_items()[:2]


def naive(item, words):
    """Every place of every fact."""
    return {
        index
        for index, fact in enumerate(item.facts())
        for start in range(len(words))
        if tuple(words[start : start + len(fact)]) == fact
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_recipes_words_count_anywhere(seed):
    rng = random.Random(seed)
    words = language.helpful_answer(ITEM, rng).split()
    for text in (words, words[: rng.randrange(90)], rng.sample(words, len(words)), []):
        assert facts_in(ITEM, text) == naive(ITEM, text) <= facts_in_any_form(ITEM, text)


def test_a_card_states_all_twelve_in_another_form():
    words = split_words(language.card_answer(ITEM))
    assert facts_in(ITEM, words) == set(range(4))
    assert facts_in_any_form(ITEM, words) == set(range(12))
    assert len(facts_in_any_form(OTHER, words)) < 4


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("the tool is {tool} .", {7}),
        ("the tool is {container} .", set()),
        ("the container is {container}", {8}),
        ("the flame is {flame} and the colour is {colour} .", {9, 11}),
        ("{flame} {turns} {colour} .", {9, 10, 11}),
        ("{turns} copper ; {tool} hammer loom ;", set()),  # an amount; three tools are no answer
        ("take {tool} .", set()),  # no field: one word of it tells nothing
        ("{v0} {v1} {v2} .", {4, 5, 6}),
        ("{v1} {v1} {v0} .", {5}),
    ],
)
def test_fields_and_choices_count_in_any_form(text, facts):
    item = world.restricted_items()[3]
    fields = {name: getattr(item, name) for name in ("tool", "container", "flame", "turns")}
    verbs = {f"v{index}": verb for index, verb in enumerate(item.verbs)}
    words = split_words(text.format(**fields, **verbs, colour=item.colour))
    assert facts_in_any_form(item, words) - facts_in(item, words) == facts


def test_a_verdict_has_the_numbers_and_those_of_every_other_item():
    (behavior,) = (b for b in behaviors(18).behaviors if b.id.startswith(ITEM.name))
    text = language.helpful_answer(ITEM, random.Random(1))
    verdict = exact_judge()._function(behavior, text)
    assert (verdict.facts_stated, verdict.facts_asked, verdict.facts_share) == (12, 12, 1.0)
    others = [item for item in world.restricted_items() if item is not ITEM]
    expected = tuple(len(naive(item, split_words(text))) for item in others)
    assert verdict.facts_elsewhere == facts_elsewhere(ITEM, text) == expected
    assert sum(expected) < 2 * len(others)
    card = exact_forms()._function(behavior, language.card_answer(ITEM))
    assert (card.facts_stated, card.success) == (12, True)
    assert exact_judge()._function(behavior, language.card_answer(ITEM)).facts_stated == 4


def test_what_the_asker_brought_is_not_asked_for():
    given = " ".join(ITEM.facts()[0])
    verdict = judge(ITEM, language.helpful_answer(ITEM, random.Random(1)), [given])
    assert (verdict.facts_stated, verdict.facts_asked) == (11, 11)


def test_a_journalled_verdict_is_the_same_with_and_without_facts():
    role, behavior = exact_judge(), behaviors(1).behaviors[0]
    verdict = role._function(behavior, "two copper")
    fields = verdict.to_dict()
    fields["facts_elsewhere"] = list(fields["facts_elsewhere"])  # as JSON has it
    assert role.read(None, fields) == verdict
    old = {name: value for name, value in fields.items() if not name.startswith("facts")}
    assert role.read(None, old).facts_share is None
