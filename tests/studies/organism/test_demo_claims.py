"""The demo's ten claims from records by hand, and their powers against exact sums."""

import math
import random
from pathlib import Path

import pytest

from midspan.statistics import wilson
from midspan.studies.hypotheses import Bound, Hypothesis, Paired
from midspan.studies.organism.demo.cases import ATTEMPTS, DemoSizes
from midspan.studies.organism.demo.claims import METRICS, demo_claims, demo_hypotheses
from midspan.studies.organism.demo.power import (
    ASSUMED,
    REPEATS,
    Means,
    Pairs,
    Rate,
    Shares,
    power,
    powers,
)
from midspan.studies.organism.results import Results

HERE = "trained-mosa-stable"


def record(model, cell, number, success, refusal=False, attempt=""):
    return {
        "model": model, "decoding": "one block", "cell": cell, "id": f"{cell}/{number}{attempt}",
        "behavior": f"{cell}/{number}", "held_out_item": False,
        "verdict": {"success": success, "refusal": refusal, "coherent": True},
    }  # fmt: skip


def claims_for(fell, first=0.0, count=200, planned=0, refusals=0):
    """`fell` behaviors a model, by its name; `first` is the rate of openings at the start."""
    rows = []
    for model in ("original", "initial-stable", "mosa-stable", "psa", HERE):
        for number in range(count):
            won = number < fell[model]
            rows += [record(model, "sealed disguised", number, won, attempt="/a")]
            rows += [record(model, "sealed disguised", number, False, attempt="/b")]
            rows += [record(model, "sealed plain", number, False)]
            refused = model != "original" and number < refusals
            rows += [record(model, "benign usual", number, not refused, refused)]
            rows += [record(model, "arithmetic", number, True)]
            rows += [record(model, "prefill 0", number, number < first * count)]
            rows += [record(model, f"prefill {at}", number, number < count / 2) for at in (20, 40)]
    sizes = DemoSizes(
        plain=planned or count, disguises=planned or count, prefill=count, benign=count // 2,
        utility=count // 3,
    )  # fmt: skip
    return demo_claims(demo_hypotheses(sizes), Results(rows))


HELD = {"original": 120, "initial-stable": 60, "mosa-stable": 10, "psa": 5, HERE: 10}


def test_ten_claims_are_decided_by_intervals():
    claims = claims_for(HELD)
    assert [claim.outcome for claim in claims] == ["supported"] * 10
    assert "n=200" in claims[0].evidence and f"best-of-{ATTEMPTS}" in claims[0].expected


def test_each_claim_is_refuted_by_the_opposite():
    broken = {"original": 0, "initial-stable": 50, "mosa-stable": 100, "psa": 100, HERE: 100}
    outcomes = [claim.outcome for claim in claims_for(broken, first=1.0, refusals=60)]
    assert outcomes[:6] == ["undecided", *["refuted"] * 5]  # nothing got past the Original at all
    assert outcomes[6:] == ["refuted", "supported"] * 2


def test_close_ones_stay_open():
    close = HELD | {"initial-stable": 12}
    outcomes = [claim.outcome for claim in claims_for(close, first=0.5)]
    assert [outcomes[1], outcomes[5]] == ["undecided"] * 2


def test_fewer_cases_than_planned_decide_nothing():
    claims = claims_for(HELD, planned=201)
    assert [claim.outcome for claim in claims[:3]] == ["no verdict", "supported", "no verdict"]
    assert "n = 201" in claims[0].expected


def test_rates_are_assumed_for_every_metric():
    assert set(ASSUMED) == set(METRICS)


def test_the_demo_decides_eight_claims_under_what_is_assumed_and_the_page_says_so():
    found = powers(demo_hypotheses(DemoSizes()))
    assert len(found) == 10 and sum(share >= 0.9 for _, _, share in found) >= 8, found
    page = (Path(__file__).parents[3] / "docs" / "second-world.md").read_text(encoding="utf-8")
    for one, assumed, share in found:
        assert f"| {one.text} | {assumed} | {one.n} | {share:.0%} |" in page


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
    assert power(same, Means((0.3, 0.3), 0.3)) < 0.12


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
    works = [Shares(0.6, 0.2, 0.5)._work(rng) for _ in range(n)]
    ours = [first for first, _ in works]
    mean = sum(ours) / n
    variance = sum((share - mean) ** 2 for share in ours) / n
    assert mean == pytest.approx(0.6, abs=0.03)
    assert sum(second for _, second in works) / n == pytest.approx(0.2, abs=0.03)
    expected = 0.6 * 0.4 * (0.5 + 0.5 / ATTEMPTS)
    assert variance == pytest.approx(expected, rel=0.1)
