"""Powers against exact sums, and draws against what is assumed."""

import math
import random

import pytest

from midspan.statistics import wilson
from midspan.studies.hypotheses import Bound, Hypothesis, Paired
from midspan.studies.power import REPEATS, Pairs, Rate, Shares, Values, power

ATTEMPTS = 4


def test_the_power_of_a_bound_is_a_binomial_sum():
    rule = Bound(side="at most", limit=0.15)
    n, rate = 48, 0.04
    exact = sum(
        math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
        for k in range(n + 1)
        if wilson(k, n).high <= 0.15 or wilson(k, n).low > 0.15
    )
    one = Hypothesis(text="t", metric="m", n=n, rule=rule)
    assert power(one, Rate(rate)) == pytest.approx(exact, abs=4 * 0.5 / math.sqrt(REPEATS))


def test_equal_sides_decide_no_more_often_than_chance():
    one = Hypothesis(text="t", metric="m", n=60, rule=Paired())
    assert power(one, Pairs(first=0.3, second=0.3, both=0.1)) < 0.1
    same = Hypothesis(text="t", metric="m", n=60, rule=Bound(side="above", limit=0.0))
    assert power(same, Shares((0.3, 0.3), (0.3,), correlation=0)) < 0.12


@pytest.mark.parametrize("first, second, both", [(0.2, 0.6, 0.1), (0.5, 0.1, 0.0)])
def test_pairs_have_the_rates_that_are_assumed(first, second, both):
    n = 4000
    drawn = Pairs(first, second, both).drawn(n, random.Random(0))
    assert drawn.value == pytest.approx(first - second, abs=0.05)
    discordant = first + second - 2 * both
    width = 2 * 1.96 * math.sqrt((discordant - (first - second) ** 2) / n)
    assert drawn.high - drawn.low == pytest.approx(width, rel=0.1)


def test_shares_have_the_rates_and_the_correlation_that_are_assumed():
    n, rng = 4000, random.Random(0)
    works = [Shares((0.6,) * ATTEMPTS, (0.2,) * ATTEMPTS, 0.5)._case(rng) for _ in range(n)]
    ours = [first for first, _ in works]
    mean = sum(ours) / n
    variance = sum((share - mean) ** 2 for share in ours) / n
    assert mean == pytest.approx(0.6, abs=0.03)
    assert sum(second for _, second in works) / n == pytest.approx(0.2, abs=0.03)
    expected = 0.6 * 0.4 * (0.5 + 0.5 / ATTEMPTS)
    assert variance == pytest.approx(expected, rel=0.1)


def test_one_side_of_shares_is_a_mean_and_values_are_normal():
    rng = random.Random(0)
    mean = Shares((0.1, 0.3)).drawn(2000, rng)
    assert mean.value == pytest.approx(0.2, abs=0.03) and mean.low < 0.2 < mean.high
    assert str(Shares((0.1, 0.3))) == "20%, correlation 0.6"
    drawn = Values(0.9, 0.1).drawn(400, rng)
    assert drawn.high - drawn.low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.1)


def test_every_decoding_must_agree_and_each_is_drawn_for_itself():
    rule = Bound(side="at most", limit=0.15)
    n, rate = 36, 0.02
    one = Hypothesis(text="t", metric="m", n=n, rule=rule)
    exact = sum(
        math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
        for k in range(n + 1)
        if wilson(k, n).high <= 0.15
    )
    found = power(one, Rate(rate), decodings=2, repeats=2000)
    assert found == pytest.approx(exact**2, abs=4 * 0.5 / math.sqrt(2000))


def test_fewer_than_five_cases_have_no_power():
    rule = Bound(side="at least", limit=0.0)
    few, enough = (Hypothesis(text="t", metric="m", n=n, rule=rule) for n in (4, 5))
    assert power(few, Rate(0.5)) == 0 and power(enough, Rate(0.5)) == 1
