"""Judges against labels, and rates with their errors taken out."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.judges.error import Confusion, cohen_kappa, rogan_gladen
from midspan.statistics import wilson

PERFECT = wilson(10_000, 10_000)


def test_a_confusion_by_hand():
    labels = [True] * 4 + [False] * 6
    verdicts = [True, True, True, False] + [False] * 4 + [True] * 2
    found = Confusion.of(labels, verdicts)
    assert (found.sensitivity.successes, found.sensitivity.n) == (3, 4)
    assert (found.specificity.successes, found.specificity.n) == (4, 6)
    # Agreed 0.7; by chance 0.4 * 0.5 + 0.6 * 0.5 = 0.5.
    assert found.kappa == pytest.approx(0.4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_is_symmetric_and_1_for_equals(pairs):
    a, b = zip(*pairs, strict=True)
    one, two = cohen_kappa(a, b), cohen_kappa(b, a)
    assert one == pytest.approx(two, nan_ok=True)
    own = cohen_kappa(a, a)
    assert math.isnan(own) if len(set(a)) == 1 else own == pytest.approx(1)


def test_kappa_of_nothing_is_not_a_number():
    assert math.isnan(cohen_kappa([], []))


def test_a_perfect_judge_changes_nothing():
    observed = wilson(30, 200)
    found = rogan_gladen(observed, PERFECT, PERFECT)
    assert found.rate == pytest.approx(0.15)
    assert (found.low, found.high) == pytest.approx((observed.low, observed.high), abs=2e-3)


def test_the_formula_by_hand():
    # (0.5 + 0.9 - 1) / (0.8 + 0.9 - 1)
    found = rogan_gladen(wilson(50, 100), wilson(80, 100), wilson(90, 100))
    assert found.rate == pytest.approx(0.4 / 0.7)
    wide = rogan_gladen(wilson(50, 100), wilson(8, 10), wilson(9, 10))
    assert wide.high - wide.low > found.high - found.low
    assert rogan_gladen(wilson(5, 100), wilson(80, 100), wilson(90, 100)).rate == 0.0


@pytest.mark.parametrize(("sensitivity", "specificity"), [((5, 10), (5, 10)), ((1, 10), (8, 10))])
def test_a_judge_no_better_than_chance_says_nothing(sensitivity, specificity):
    found = rogan_gladen(wilson(5, 10), wilson(*sensitivity), wilson(*specificity))
    assert math.isnan(found.rate)
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(("truth", "items"), [(0.05, 50), (0.3, 50), (0.7, 100)])
def test_the_interval_covers_the_truth_as_often_as_it_says(truth, items):
    rng = random.Random(3)

    def drawn(probability, n):
        return wilson(sum(rng.random() < probability for _ in range(n)), n)

    se, sp, covered, runs = 0.85, 0.9, 0, 1500
    for _ in range(runs):
        observed = drawn(truth * se + (1 - truth) * (1 - sp), 150)
        found = rogan_gladen(observed, drawn(se, items), drawn(sp, items))
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / runs <= 0.985
