import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.statistics import (
    Estimate,
    Interval,
    auroc,
    bounded_mean,
    detectable_difference,
    kendall_tau,
    mcnemar_exact,
    mean_interval,
    mean_of_means,
    newcombe,
    paired_difference,
    pearson,
    t_quantile,
    wilson,
)

FLOATS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
COUNTS = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# Newcombe (1998), Statistics in Medicine 17, table I, method 3: the score interval.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published(successes, n, low, high):
    estimate = wilson(successes, n)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


@given(COUNTS)
def test_wilson_ends_solve_the_score_equation(counts):
    # The interval is by definition where |rate - p| = z sqrt(p (1 - p) / n).
    successes, n = counts
    if n == 0:
        return
    estimate = wilson(successes, n)
    for end in (estimate.low, estimate.high):
        distance = (estimate.rate - end) ** 2
        assert distance == pytest.approx(1.959963984540054**2 * end * (1 - end) / n, abs=1e-12)


@given(COUNTS)
def test_wilson_contains_its_rate_and_is_symmetric(counts):
    successes, n = counts
    estimate, mirror = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= estimate.low <= estimate.high <= 1
    assert n == 0 or estimate.low <= estimate.rate <= estimate.high
    assert mirror.low == pytest.approx(1 - estimate.high, abs=1e-12)


@given(COUNTS.filter(lambda counts: counts[1] > 0))
def test_wilson_widens_with_confidence_and_narrows_with_n(counts):
    successes, n = counts
    narrow, wide, more = (
        wilson(successes, n),
        wilson(successes, n, 0.99),
        wilson(10 * successes, 10 * n),
    )
    assert wide.high - wide.low > narrow.high - narrow.low > more.high - more.low


def test_wilson_without_trials():
    estimate = wilson(0, 0)
    assert math.isnan(estimate.rate)
    assert (estimate.low, estimate.high) == (0.0, 1.0)
    assert str(estimate) == "n/a [0.0, 100.0] n=0"


def test_wilson_borders_are_exact():
    assert wilson(0, 50).low == 0.0
    assert wilson(50, 50).high == 1.0


def test_estimate_text():
    assert str(wilson(6, 97)) == "6.2 % [2.9, 12.8] n=97"
    assert str(Estimate(1, 2, 0.1, 0.9)) == "50.0 % [10.0, 90.0] n=2"


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_against_enumeration(b, c):
    # Sum, over all outcomes of b + c coin tosses, those at least as far from the middle.
    n = b + c
    extreme = sum(math.comb(n, heads) for heads in range(n + 1) if abs(2 * heads - n) >= abs(b - c))
    assert mcnemar_exact(b, c) == pytest.approx(float(Fraction(extreme, 2**n)))


def test_mcnemar_known_and_borders():
    assert mcnemar_exact(0, 5) == 0.0625
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(7, 7) == 1.0
    assert 0 < mcnemar_exact(400, 800) < 1e-30
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)


# Two-sided 95 % and 99 % points of Student's t as printed in any table.
@pytest.mark.parametrize(
    ("probability", "df", "expected"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 10, 2.228),
        (0.975, 29, 2.045),
        (0.995, 5, 4.032),
        (0.995, 30, 2.750),
    ],
)
def test_t_quantile_table(probability, df, expected):
    assert t_quantile(probability, df) == pytest.approx(expected, abs=6e-4)


def test_t_quantile_tends_to_the_normal():
    assert t_quantile(0.975, 20_000) == pytest.approx(1.95996, abs=1e-3)
    assert t_quantile(0.5, 7) == pytest.approx(0.0, abs=1e-9)


def test_mean_interval_by_hand():
    # Mean 3, standard deviation sqrt(2.5), t(4) = 2.776.
    interval = mean_interval([1, 2, 3, 4, 5])
    half = 2.77645 * math.sqrt(2.5 / 5)
    assert interval.low == pytest.approx(3 - half, abs=1e-4)
    assert interval.high == pytest.approx(3 + half, abs=1e-4)
    assert str(interval) == "3 [1.04, 4.96] n=5"


def test_mean_interval_of_few_values():
    assert math.isnan(mean_interval([]).mean)
    assert mean_interval([2.5]).high == math.inf


def test_mean_interval_covers():
    rng = np.random.default_rng(5)
    intervals = [mean_interval(rng.normal(size=5)) for _ in range(2000)]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals) / 2000
    assert covered == pytest.approx(0.95, abs=0.02)


def test_paired_differences_are_paired():
    rng = np.random.default_rng(0)
    shared = rng.uniform(0, 0.9, size=800)
    interval = paired_difference(shared + 0.05 + rng.uniform(0, 0.02, size=800), shared)
    # Unpaired, the spread of 0.26 would give an interval of 0.05.
    assert 0.055 < interval.low < interval.mean < interval.high < 0.065


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_paired_shares_are_the_mean_of_added_items(pairs):
    a, b = ([side / 4 for side in sides] for sides in zip(*pairs, strict=True))
    # An item on which the first alone succeeds, and one on which the second does.
    differences = [x - y for x, y in zip(a, b, strict=True)] + [1, -1]
    middle, spread = np.mean(differences), np.std(differences)
    half = 1.959963984540054 * spread / math.sqrt(len(pairs) + 2)
    found = paired_difference(a, b)
    assert found.mean == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.low, found.high) == pytest.approx(
        (max(-1, middle - half), min(1, middle + half)), abs=1e-9
    )


def test_paired_rates_have_an_interval_where_no_pair_differs():
    same = [True, False] * 18
    interval = paired_difference(same, same)
    assert (interval.mean, interval.n) == (0.0, 36)
    assert interval.high == -interval.low == pytest.approx(1.96 * math.sqrt(2) / 38, 1e-3)
    # Bonett and Price's formula of 9 and 1 pairs that differ, of 40.
    a, b = [True] * 9 + [False] * 31, [False] * 9 + [True] + [False] * 30
    interval = paired_difference(a, b)
    first, second = 10 / 42, 2 / 42
    half = 1.959963984540054 * math.sqrt((first + second - (first - second) ** 2) / 42)
    assert interval.mean == 0.2
    assert (interval.low, interval.high) == pytest.approx(
        (first - second - half, first - second + half)
    )
    assert (paired_difference([], []).low, paired_difference([], []).n) == (-1.0, 0)


def test_a_mean_between_0_and_1_has_two_items_more_at_either_end():
    # Agresti and Coull's interval of 3 of 20: (3 + 2) / 24, its standard error over 24.
    found = bounded_mean([1.0] * 3 + [0.0] * 17)
    half = 1.959963984540054 * math.sqrt(5 / 24 * 19 / 24 / 24)
    assert found.mean == pytest.approx(0.15)
    assert (found.low, found.high) == pytest.approx((5 / 24 - half, 5 / 24 + half))
    values = [0.0, 0.125, 0.5, 0.75, 0.75]
    added = [*values, 0, 0, 1, 1]
    half = 1.959963984540054 * np.std(added) / 3
    found = bounded_mean(values)
    assert (found.low, found.high) == pytest.approx((np.mean(added) - half, np.mean(added) + half))
    assert found.n == 5
    same = bounded_mean([0.0] * 18)
    assert same.mean == same.low == 0.0 < same.high < 0.3
    nothing = bounded_mean([])
    assert math.isnan(nothing.mean) and (nothing.low, nothing.high, nothing.n) == (0.0, 1.0, 0)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_mean_of_shares_refuses_other_values(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        bounded_mean([0.5, value])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        paired_difference([0.5], [value])


def test_paired_difference_without_items():
    assert math.isnan(paired_difference([], []).mean)


@pytest.mark.parametrize("function", [paired_difference, kendall_tau, pearson])
def test_pairs_must_have_one_length(function):
    with pytest.raises(ValueError, match="one length"):
        function([1.0, 2.0], [1.0])


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=12))
def test_kendall_against_counted_pairs(points):
    concordant = discordant = only_x = only_y = 0
    for (x1, y1), (x2, y2) in combinations(points, 2):
        product = (x1 - x2) * (y1 - y2)
        concordant += product > 0
        discordant += product < 0
        only_x += x1 == x2 and y1 != y2
        only_y += y1 == y2 and x1 != x2
    ordered = concordant + discordant
    scale = math.sqrt((ordered + only_x) * (ordered + only_y))
    tau = kendall_tau(*zip(*points, strict=True))
    if scale:
        assert tau == pytest.approx((concordant - discordant) / scale)
    else:
        assert math.isnan(tau)


@given(st.lists(FLOATS, min_size=3, max_size=30, unique=True))
def test_correlations_of_a_line(x):
    assert kendall_tau(x, [2 * value + 1 for value in x]) == pytest.approx(1)
    assert pearson(x, [-3 * value + 2 for value in x]) == pytest.approx(-1)


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=2, max_size=20))
def test_pearson_against_numpy(points):
    x, y = (list(column) for column in zip(*points, strict=True))
    result = pearson(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(result)
    else:
        assert result == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


def test_correlations_without_values():
    assert math.isnan(pearson([], []))
    assert math.isnan(kendall_tau([], []))


@pytest.mark.parametrize(("n", "share", "difference"), [(200, 0.2, 0.1), (500, 0.3, 0.06)])
def test_the_detectable_difference_is_found_about_four_times_in_five(n, share, difference):
    detectable = detectable_difference(n, round(share * n))
    rng = np.random.default_rng(0)
    gained = rng.multinomial(
        n, [(share + detectable) / 2, (share - detectable) / 2, 1 - share], size=2000
    )
    power = np.mean([mcnemar_exact(int(b), int(c)) < 0.05 for b, c, _ in gained])
    assert 0.7 < power < 0.88
    assert detectable == pytest.approx(difference, rel=0.4)


def test_the_detectable_difference_at_its_borders():
    assert math.isnan(detectable_difference(0, 0))
    assert detectable_difference(3, 0) == 1.0
    assert detectable_difference(1319, 0) == 6 / 1319  # six pairs on one side give p = 0.03
    assert mcnemar_exact(6, 0) < 0.05 < mcnemar_exact(5, 0)
    assert detectable_difference(400, 100) < detectable_difference(100, 25)
    with pytest.raises(ValueError, match="discordant"):
        detectable_difference(3, 4)


SCORES = st.lists(st.integers(-4, 4), min_size=2, max_size=8)


@given(SCORES, SCORES)
def test_auroc_is_the_share_of_pairs_with_delongs_variance(positive, negative):
    def wins(x, y):
        return Fraction(int(x > y)) + Fraction(int(x == y), 2)

    m, n = len(positive), len(negative)
    area = sum(wins(x, y) for x in positive for y in negative) / (m * n)
    by_positive = [sum(wins(x, y) for y in negative) / n for x in positive]
    by_negative = [sum(wins(x, y) for x in positive) / m for y in negative]
    variance = sum((v - area) ** 2 for v in by_positive) / (m * (m - 1))
    variance += sum((v - area) ** 2 for v in by_negative) / (n * (n - 1))
    found = auroc(positive, negative)
    assert found.mean == pytest.approx(float(area)) and found.n == m
    if not variance:
        bound = wilson(round(area * min(m, n)), min(m, n))
        assert (found.low, found.high) == (bound.low, bound.high)
    else:
        half = 1.959963984540054 * math.sqrt(variance)
        assert found.low == pytest.approx(max(0, float(area) - half), abs=1e-12)
        assert found.high == pytest.approx(min(1, float(area) + half), abs=1e-12)


def test_auroc_is_mann_whitneys_u():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(0.7, 1, 37).round(1), rng.normal(0, 1, 51).round(1)
    u = scipy_stats.mannwhitneyu(positive, negative).statistic
    assert auroc(positive, negative).mean == pytest.approx(u / (37 * 51))


def test_auroc_intervals_hold_the_true_area():
    rng = np.random.default_rng(1)
    truth = (1 + math.erf(1 / 2)) / 2  # of normal scores a standard deviation apart
    held = [
        found.low <= truth <= found.high
        for found in (auroc(rng.normal(1, 1, 40), rng.normal(0, 1, 60)) for _ in range(400))
    ]
    assert 0.92 < sum(held) / 400 < 0.98


def test_auroc_of_equal_scores_is_not_certain():
    found = auroc([0.0] * 4, [0.0] * 9)
    assert found.mean == 0.5 and found.low < 0.2 and found.high > 0.8


def test_auroc_of_too_few_is_not_known():
    assert auroc([1], [0, 0]) == Interval(1.0, 0.0, 1.0, 1)
    nothing = auroc([], [1])
    assert math.isnan(nothing.mean) and (nothing.low, nothing.high, nothing.n) == (0.0, 1.0, 0)


def test_a_mean_of_two_means_is_half_of_newcombes_difference():
    """Of a mean and a negated one, which is how a difference is written as a sum."""
    one, other = wilson(56, 70).interval, wilson(48, 80).interval
    turned = Interval(-other.mean, -other.high, -other.low, other.n)
    found, half = mean_of_means([one, turned]), newcombe(one, other)
    assert found.n == 70
    assert [2 * found.mean, 2 * found.low, 2 * found.high] == pytest.approx(
        [half.mean, half.low, half.high]
    )
    assert mean_of_means([one]) == one


def test_a_mean_of_means_covers_the_true_one():
    """Simulated: three rates of very different n, of which the smallest makes the width."""
    rng = np.random.default_rng(0)
    sizes, rates = (1500, 300, 40), (0.7, 0.5, 0.2)
    covered = 0
    for _ in range(1000):
        drawn = [wilson(int(rng.binomial(n, p)), n) for n, p in zip(sizes, rates, strict=True)]
        found = mean_of_means([one.interval for one in drawn])
        covered += found.low <= sum(rates) / 3 <= found.high
    assert 0.93 <= covered / 1000 <= 0.97
