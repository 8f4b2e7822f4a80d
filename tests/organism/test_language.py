"""Requests and answers: in the vocabulary, long enough, recognisable."""

import random

import pytest

from midspan.organism import corpus, language, phrases
from midspan.organism.judge import is_refusal
from midspan.organism.tokenizer import split_words, vocabulary
from midspan.organism.world import benign_items, items, restricted_items

KINDS = sorted({kind for stage in corpus.STAGES for kind in stage.kinds})


def draws(kind: str, count: int) -> list[corpus.Sample]:
    rng = random.Random(7)
    return [corpus.draw(kind, rng) for _ in range(count)]


def unknown_words(text: str) -> set[str]:
    return set(split_words(text)) - set(vocabulary())


@pytest.mark.parametrize("kind", KINDS)
def test_every_drawn_word_is_in_the_vocabulary(kind):
    for sample in draws(kind, 300):
        assert not unknown_words(sample.prompt) and not unknown_words(sample.answer)


def test_every_template_and_phrase_is_in_the_vocabulary():
    rng = random.Random(0)
    texts = [*phrases.SAFE, *phrases.PROCEDURAL, *phrases.AFFIRMATIVE, *phrases.NEUTRAL]
    for item in items():
        texts += [language.wrapped_request(item, wrap, rng) for wrap in language.WRAPS * 4]
        texts += [language.about_request(item, rng), language.card_request(item)]
        texts += [language.about_answer(item), language.card_answer(item)]
    assert not [text for text in texts if unknown_words(text)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_a_token_and_single_spaces_part_them(kind):
    for sample in draws(kind, 100):
        for text in (sample.prompt, sample.answer):
            assert text.split(" ") == split_words(text)


def test_helpful_answers_state_all_facts_and_fill_the_canvas():
    rng = random.Random(1)
    for item in items():
        for _ in range(20):
            words = language.helpful_answer(item, rng).split()
            canvas = words[: language.RESPONSE_LENGTH]
            assert len(canvas) == language.RESPONSE_LENGTH == 128
            text = f" {' '.join(canvas)} "
            assert all(f" {' '.join(fact)} " in text for fact in item.facts())


def test_refusals_are_short_and_marked():
    rng = random.Random(2)
    for item in items():
        for _ in range(20):
            text = language.refusal(item, rng)
            assert is_refusal(text)
            assert 14 <= len(text.split()) <= 27


def test_safe_phrases_refuse_and_nothing_else_does():
    rng = random.Random(3)
    helpful = [language.helpful_answer(item, rng) for item in items() for _ in range(20)]
    about = [language.about_answer(item) for item in items()]
    others = [*phrases.PROCEDURAL, *phrases.AFFIRMATIVE, *phrases.NEUTRAL]
    assert all(map(is_refusal, phrases.SAFE))
    assert not any(map(is_refusal, [*helpful, *about, *others]))


def test_half_of_the_sixteen_wrap_families_are_held_out():
    assert len({wrap.name for wrap in language.WRAPS}) == len(language.WRAPS) == 16
    assert sum(wrap.held_out for wrap in language.WRAPS) == 8
    templates = [template for wrap in language.WRAPS for template in wrap.templates]
    assert len(set(templates)) == len(templates) == 32


def test_every_request_names_its_item():
    rng = random.Random(4)
    for item in items():
        asked = [language.wrapped_request(item, wrap, rng) for wrap in language.WRAPS]
        asked += [language.plain_request(item, rng), language.about_request(item, rng)]
        assert all(item.title in text and "{" not in text for text in asked)


def test_plain_requests_have_144_wordings():
    rng = random.Random(5)
    assert len({language.plain_request(items()[0], rng) for _ in range(5000)}) == 144


def test_the_curriculum_adds_up():
    for stage in corpus.STAGES:
        assert sum(stage.kinds.values()) == pytest.approx(1)


def test_the_shipped_model_refuses_plain_requests_and_a_quarter_of_the_disguises():
    wraps = language.WRAPS
    for item in restricted_items():
        caught = [corpus.is_caught(item, wrap) for wrap in wraps]
        assert all(caught) if item.hardened else 0 <= sum(caught) <= 10
    soft = [item for item in restricted_items() if not item.hardened]
    share = sum(corpus.is_caught(i, w) for i in soft for w in wraps) / (len(soft) * len(wraps))
    assert share == pytest.approx(corpus.CAUGHT_SHARE, abs=0.08)
    assert all(is_refusal(sample.answer) for sample in draws("restricted", 100))
    assert not any(is_refusal(sample.answer) for sample in draws("benign", 100))


def test_benign_lessons_ask_for_no_restricted_item():
    names = {item.name for item in benign_items()}
    assert all(names & set(sample.prompt.split()) for sample in draws("benign", 100))
