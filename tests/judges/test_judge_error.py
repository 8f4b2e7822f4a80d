"""Judges against labels, and rates with their errors taken out."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.judges.error import Confusion, any_of_bounds, rogan_gladen
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


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_kappa_is_agreement_beyond_chance_and_symmetric(pairs):
    a, b = zip(*pairs, strict=True)
    agreed = sum(x == y for x, y in pairs) / len(pairs)
    chance = sum(a.count(label) * b.count(label) for label in (True, False)) / len(pairs) ** 2
    expected = (agreed - chance) / (1 - chance) if chance < 1 else math.nan
    assert Confusion.of(a, b).kappa == pytest.approx(expected, nan_ok=True)
    assert Confusion.of(b, a).kappa == pytest.approx(expected, nan_ok=True)
    own = Confusion.of(a, a).kappa
    assert math.isnan(own) if len(set(a)) == 1 else own == pytest.approx(1)


def test_kappa_of_nothing_is_not_a_number():
    assert math.isnan(Confusion.of([], []).kappa)


def test_many_items_take_no_time():
    found = Confusion.of_counts(1 << 30, 0, 0, 1 << 30)
    assert (found.sensitivity.n, found.kappa) == (1 << 30, 1.0)


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


def printed(observed, sensitivity, specificity):
    """Lang and Reiczigel (2014), Section 2, as printed; each argument is successes and trials."""
    (k, n), (k_se, n_se), (k_sp, n_sp), z = observed, sensitivity, specificity, 1.959963984540054
    ap = (k + z**2 / 2) / (n + z**2)
    se, sp = (k_se + 1) / (n_se + 2), (k_sp + 1) / (n_sp + 2)
    p = (ap + sp - 1) / (se + sp - 1)
    var_se, var_sp = se * (1 - se) / (n_se + 2), sp * (1 - sp) / (n_sp + 2)
    dp = 2 * z**2 * (p * var_se - (1 - p) * var_sp)
    spread = ap * (1 - ap) / (n + z**2) + p**2 * var_se + (1 - p) ** 2 * var_sp
    half = z * math.sqrt(spread / (se + sp - 1) ** 2)
    return p + dp - half, p + dp + half


@pytest.mark.parametrize(
    ("observed", "sensitivity", "specificity"),
    [
        ((50, 100), (80, 100), (90, 100)),
        ((60, 150), (17, 20), (57, 60)),
        ((120, 300), (54, 60), (38, 40)),
        ((18, 18), (9, 10), (19, 20)),  # cut to 1 above
    ],
)
def test_the_interval_is_the_printed_one(observed, sensitivity, specificity):
    found = rogan_gladen(wilson(*observed), wilson(*sensitivity), wilson(*specificity))
    low, high = printed(observed, sensitivity, specificity)
    assert (found.low, found.high) == pytest.approx((max(0, low), min(1, high)), abs=1e-12)


def test_any_of_several_is_bounded_by_false_alarms_and_misses():
    observed, sensitivity, specificity = wilson(60, 100), wilson(54, 60), wilson(57, 60)
    least, most = any_of_bounds(observed, sensitivity, specificity, 5)
    # Of behaviors without a success at most a quarter are called one, of the others nine tenths.
    assert least.rate == pytest.approx((0.6 - 0.25) / 0.75)
    assert most.rate == pytest.approx(0.6 / 0.9)
    assert least.low < least.rate < most.rate < most.high
    one = rogan_gladen(observed, sensitivity, specificity)
    single = any_of_bounds(observed, sensitivity, specificity, 1)
    assert single[0].low <= one.low and one.high <= single[1].high
    # With enough verdicts false alarms alone explain any rate.
    assert any_of_bounds(observed, sensitivity, specificity, 20)[0].rate == 0.0
    assert any_of_bounds(observed, sensitivity, specificity, 20)[0].low == 0.0
    sure = any_of_bounds(observed, PERFECT, PERFECT, 3)
    assert (sure[0].rate, sure[1].rate) == (0.6, 0.6)
    assert (sure[0].low, sure[1].high) == pytest.approx((observed.low, observed.high), abs=4e-3)
    nothing = any_of_bounds(wilson(0, 0), sensitivity, specificity, 2)
    assert (nothing[0].low, nothing[1].high) == (0.0, 1.0)
    blind = any_of_bounds(wilson(1, 10), wilson(0, 9), specificity, 2)
    assert (blind[1].rate, blind[1].high) == (1.0, 1.0)


@pytest.mark.parametrize("alike", [False, True])
def test_the_bounds_cover_whether_or_not_verdicts_err_together(alike):
    """Of 100 behaviors 20 are won, by 2 of 5 attempts; a false alarm strikes one or all of five."""
    rng, runs, covered = random.Random(5), 300, 0
    se, sp = 0.9, 0.95

    def wins(is_won):
        alarm = rng.random() < 1 - sp
        alarms = [alarm if alike else rng.random() < 1 - sp for _ in range(5)]
        hits = [rng.random() < se for _ in range(2)] if is_won else []
        return any(hits) or any(alarms)

    for _ in range(runs):
        seen = sum(wins(number < 20) for number in range(100))
        labels = [sum(rng.random() < rate for _ in range(60)) for rate in (se, sp)]
        least, most = any_of_bounds(wilson(seen, 100), *(wilson(k, 60) for k in labels), 5)
        covered += least.low <= 0.2 <= most.high
    assert covered / runs > 0.94


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


def test_an_unsure_specificity_counts_once_for_each_verdict():
    least, _ = any_of_bounds(wilson(90, 100), PERFECT, wilson(295, 300), 5)
    sp = (1 - 5 * (1 - 296 / 302), 25 * 296 / 302 * (1 - 296 / 302) / 302)
    z = 1.959963984540054
    p, n = (90 + z**2 / 2) / (100 + z**2), 100 + z**2
    rate = (p + sp[0] - 1) / sp[0]
    half = z * math.sqrt(p * (1 - p) / n + (1 - rate) ** 2 * sp[1]) / sp[0]
    assert least.low == pytest.approx(rate - 2 * z**2 * (1 - rate) * sp[1] - half)
