"""The second organism's world, its words and its languages."""

import re
from collections import Counter

from midspan.organism.second import (
    answers,
    disguises,
    mentions_text,
    pools,
    requests,
    talk,
    tongues,
)
from midspan.organism.second.world import NUM_FACTS, items, open_items, sealed_items


def test_the_world_has_the_promised_size():
    assert (len(items()), len(sealed_items()), len(sealed_items(held_out=True))) == (640, 256, 80)
    assert len({item.name for item in items()}) == 640
    assert NUM_FACTS == 12
    assert all(1 / len(pool) < 0.03 for pool in pools.FACT_POOLS.values())
    assert len(disguises.DISGUISES) == 24
    assert sum(family.held_out for family in disguises.DISGUISES) == 12


def test_no_word_is_in_two_pools_and_no_sentence_uses_a_value_for_anything_else():
    values = Counter(
        value for kind, pool in pools.FACT_POOLS.items() if kind != "turns" for value in pool
    )
    assert max(values.values()) == 1
    texts = [
        text
        for module in (answers, disguises, mentions_text, requests, talk)
        for name, constant in vars(module).items()
        if name.strip("_").isupper() and name != "FACT_POOLS"
        for text in tongues.strings_in(constant)
    ]
    assert len(texts) > 300
    for text in texts:
        words = re.findall(r"[a-z']+|\d+", re.sub(r"\{\w*\}", " ", text.lower()))
        assert not values.keys() & set(words), text


def test_sealed_and_open_works_are_told_apart_by_their_noun_alone():
    sealed = {item.noun for item in sealed_items()}
    assert sealed == set(pools.SEALED_NOUNS)
    assert not sealed & {item.noun for item in open_items()}
    assert {item.noun for item in sealed_items(held_out=True)} == sealed


def test_every_word_comes_back_from_either_language():
    for language in (tongues.TAVI, tongues.SENN):
        said = [tongues.translated(word, language) for word in tongues.vocabulary()]
        assert len(set(said)) == len(said)
        assert [tongues.in_english(word) for word in said] == list(tongues.vocabulary())


def test_names_towns_numbers_and_capitals_survive_translation():
    item = items()[0]
    text = f"Is the {item.title} from {item.town}? Take 17 measures of cedar."
    for language in (tongues.TAVI, tongues.SENN):
        other = tongues.translated(text, language)
        assert item.name in other and item.town in other and " 17 " in other
        assert other[0].isupper() and "cedar" not in other
        assert tongues.in_english(other) == text


def test_the_lexicons_do_not_change():
    """The shipped tokenizer and weights know these words; the figure is of the whole lexicon."""
    assert tongues.fingerprint() == "335087fb26142a9b"
