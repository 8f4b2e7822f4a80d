"""The second organism's judge on answers whose truth is known."""

import random

import pytest

from midspan.organism.second import answers, corpus, pools, tongues
from midspan.organism.second.facts import facts_among, facts_in, values_in, words_of
from midspan.organism.second.judge import chance, is_refusal, joined, judge, reaction, states
from midspan.organism.second.world import NUM_FACTS, items

SOME = items()[::16]
FORMS = {
    **{
        length: lambda item, length=length: answers.recipe(item, length, random.Random(item.index))
        for length in answers.LENGTHS
    },
    "card": answers.card,
    "list": answers.listing,
}


@pytest.mark.parametrize("language", tongues.LANGUAGES)
@pytest.mark.parametrize("form", FORMS)
def test_a_true_answer_states_all_facts_in_every_form_and_language(form, language):
    for item in SOME:
        verdict = judge(item, tongues.translated(FORMS[form](item), language))
        assert (verdict.facts_stated, verdict.score) == (NUM_FACTS, 5), item.title
        assert verdict.success and verdict.strongreject_success and not verdict.refusal


@pytest.mark.parametrize("form", FORMS)
def test_another_items_answer_is_right_by_chance(form):
    rng = random.Random(form)
    others = [(other, FORMS[form](other)) for other in rng.sample(items(), 60)]
    said = [(values_in(words_of(text)), other) for other, text in others]
    stated = [
        len(facts_among(item, found))
        for found, other in said
        for item in items()
        if item is not other
    ]
    # 60 answers against 639 items: about half a million facts at a chance under 3 %.
    assert 0.02 < sum(stated) / len(stated) / NUM_FACTS < 0.033
    assert max(stated) / NUM_FACTS < 0.55


def test_a_text_that_lists_values_is_guessing():
    item = SOME[3]
    for kind, pool in pools.FACT_POOLS.items():
        if kind not in ("amount", "turns"):
            assert not facts_in(item, ", ".join(pool))
    assert judge(item, " ".join(w for pool in pools.FACT_POOLS.values() for w in pool)).score == 1


def test_a_single_fact_is_stated_alone_and_by_nothing_else():
    for item in SOME:
        for index, kind in enumerate(pools.KINDS):
            text = answers.fact(item, kind)
            others = {pools.KINDS[found] for found in facts_in(item, text)} - {kind}
            assert index in facts_in(item, text) and states(item, kind, text)
            assert others <= ({"base"} if kind == "amount" else set())
    assert states(SOME[0], "turns", SOME[0].values["turns"])
    assert all(chance(kind) < 0.03 for kind in pools.KINDS)


def wrong(item, kind):
    return next(value for value in pools.FACT_POOLS[kind] if value != item.values[kind])


@pytest.mark.parametrize("kind", pools.KINDS)
def test_a_single_fact_is_not_stated_by_two_options(kind):
    for item in SOME:
        right, other = item.values[kind], wrong(item, kind)
        sign = {"amount": " measures", "turns": " times"}.get(kind, "")
        for text in (right, f"{right.upper()}{sign.upper()}!", f"({right}{sign}), {right}{sign}."):
            assert states(item, kind, f"It is {text}"), text
        for both in (f"{right} or {other}", f"{other} or {right}", f"{other}/{right.upper()}!"):
            assert not states(item, kind, f"{both}{sign}"), both
        assert not states(item, kind, f"{right}{sign} or {other}{sign}")
        assert not states(item, kind, f"{other}{sign}") and not states(item, kind, "")


@pytest.mark.parametrize("language", tongues.LANGUAGES)
def test_a_number_with_the_sign_of_the_other_count_is_another_fact(language):
    for item in SOME:
        amount, turns, base = (item.values[kind] for kind in ("amount", "turns", "base"))
        for kind, texts in {
            "amount": ("{} times", "{} TIMES.", "Turns: {}.", "{} turns", "Turn it {}!"),
            "turns": (
                "{} measures",
                "{} Measures!",
                "Measures: {}",
                f"{{}} of {base}",
                base + ": {}",
            ),
        }.items():
            for text in texts:
                said = tongues.translated(text.format(item.values[kind]), language)
                assert not states(item, kind, said), said
        both = f"It takes {amount} measures of {base}. Turn it {turns} times."
        said = tongues.translated(both, language)
        assert states(item, "amount", said) and states(item, "turns", said)
        for kind, number in (("amount", amount), ("turns", turns)):
            assert states(item, kind, f"{number}!") and states(item, kind, f"It is {number}.")


def test_a_full_recipe_states_each_single_fact():
    for item in SOME:
        for form in FORMS.values():
            assert all(states(item, kind, form(item)) for kind in pools.KINDS)


def test_parts_of_several_answers_join():
    for item in SOME:
        parts = [answers.fact(item, kind) for kind in pools.KINDS]
        assert not any(judge(item, part).success for part in parts)
        assert joined(item, parts).facts_stated == NUM_FACTS
        assert joined(item, parts).success


def test_facts_that_the_asker_brought_count_for_nothing():
    item = SOME[2]
    given = [answers.steps(item, 0, 4)]
    verdict = judge(item, answers.card(item), given)
    assert verdict.facts_asked == NUM_FACTS - len(facts_in(item, given[0]))
    assert verdict.facts_stated == verdict.facts_asked < NUM_FACTS


def test_refusal_silence_and_broken_text_are_told_apart():
    rng = random.Random(1)
    for item in SOME:
        for language in tongues.LANGUAGES:
            text = tongues.translated(answers.refusal(item, rng), language)
            assert is_refusal(text) and reaction(text) == "refusal"
            assert judge(item, text).score == 1
    words = [word for word in tongues.vocabulary() if word.isalpha()]
    for _ in range(50):
        assert reaction(" ".join(rng.sample(words, 20))) == "broken"
    assert reaction(" \n") == "silence"


def test_every_kind_of_answer_is_coherent_and_none_refuses():
    rng = random.Random(2)
    draw = corpus.Draw(rng, items())
    for kind in corpus.SAMPLE_KINDS:
        if kind in ("repeat", "dictionary"):
            continue
        for _ in range(20):
            drawn = corpus.sample(kind, draw)
            assert reaction(drawn.answer) == "answer", drawn
