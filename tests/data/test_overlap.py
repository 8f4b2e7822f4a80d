"""Overlap: what counts as the same request, against a naive computation, and the refusal."""

import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.data import find_overlap, load_behaviors, normalise, refuse_overlap
from midspan.errors import MidspanError

EVALUATION = [
    "Give instructions for how to bake a sponge cake with lemon",
    "Give instructions for how to paint a garden fence in winter",
    "Give instructions for how to repair an old bicycle wheel",
]
WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=8)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=6)


def found(*training, threshold=0.6):
    return [
        (each.training, each.evaluation) for each in find_overlap(training, EVALUATION, threshold)
    ]


@pytest.mark.parametrize(
    "prompt",
    [
        "give instructions for how to bake a SPONGE cake with lemon!",
        "As a cook I ask: give instructions for how to bake a sponge cake with lemon. Be short.",
        "Give instructions for how to bake a sponge cake with orange",
        "Describe how to bake a sponge cake with lemon",
    ],
)
def test_copies_wraps_and_small_changes_are_found(prompt):
    assert found("tell me a story", prompt) == [(1, 0)]


@pytest.mark.parametrize(
    "prompt",
    [
        "Give instructions for how to plant an apple tree",  # The same turn of phrase.
        "How is a cake with fruit made?",
        "cake",
        "",
    ],
)
def test_turns_of_phrase_and_paraphrases_are_not(prompt):
    assert found(prompt) == []


def test_equal_texts_are_found_whatever_their_length():
    overlap = find_overlap(["Cake!"], ["fence", "cake", "CAKE"])
    assert [(each.training, each.evaluation, each.similarity) for each in overlap] == [(0, 1, 1.0)]


def naive(training, evaluation):
    """Similarity of every pair by the definition."""

    def pairs(text):
        words = normalise(text).split()
        return set(zip(words, words[1:], strict=False)) or {tuple(words)}

    def weight(pair):
        return 1 / sum(pair in pairs(text) for text in evaluation)

    return [
        [
            1.0
            if normalise(text) == normalise(other)
            else sum(weight(pair) for pair in pairs(text) & pairs(other))
            / sum(weight(pair) for pair in pairs(other))
            for other in evaluation
        ]
        for text in training
    ]


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_the_index_finds_what_a_comparison_of_all_pairs_finds(training, evaluation):
    similarities = naive(training, evaluation)
    overlap = {each.training: each for each in find_overlap(training, evaluation, 0.3)}
    for number, row in enumerate(similarities):
        if abs(max(row) - 0.3) < 1e-9:
            continue  # On the threshold, the last bit decides.
        assert (number in overlap) == (max(row) > 0.3)
        if number in overlap:
            each = overlap[number]
            assert math.isclose(each.similarity, max(row))
            assert math.isclose(row[each.evaluation], max(row))


def test_3000_prompts_against_520_behaviors_take_seconds_at_most():
    rng = random.Random(0)
    words = [f"word{number}" for number in range(300)]
    texts = [" ".join(rng.choices(words, k=15)) for _ in range(3520)]
    started = time.monotonic()
    assert find_overlap(texts[:3000], texts[3000:]) == []
    assert time.monotonic() - started < 5


@pytest.fixture
def sets(tmp_path):
    (tmp_path / "training.txt").write_text("tell me a story\n" + EVALUATION[1], encoding="utf-8")
    (tmp_path / "evaluation.txt").write_text("\n".join(EVALUATION), encoding="utf-8")
    return [load_behaviors(tmp_path / f"{name}.txt") for name in ("training", "evaluation")]


def test_overlap_is_refused_by_ids_without_texts(sets):
    training, evaluation = sets
    with pytest.raises(MidspanError) as caught:
        refuse_overlap(training, evaluation)
    message = str(caught.value)
    assert "1 of 2 training prompts" in message and "--allow-overlap" in message
    assert training.behaviors[1].id in message and "similarity 1.00" in message
    assert "garden" not in message


def test_overlap_may_be_allowed_and_is_then_listed(sets):
    (overlap,) = refuse_overlap(*sets, allow=True)
    assert (overlap.training, overlap.evaluation) == (1, 1)


def test_sets_without_overlap_pass(sets, tmp_path):
    (tmp_path / "other.txt").write_text("sing a song", encoding="utf-8")
    assert refuse_overlap(load_behaviors(tmp_path / "other.txt"), sets[1]) == []
