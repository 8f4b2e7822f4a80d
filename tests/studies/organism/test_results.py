import math

import pytest

from midspan.statistics import wilson
from midspan.studies.organism.cases import Sizes
from midspan.studies.organism.demo.claims import demo_claims, demo_hypotheses
from midspan.studies.organism.results import Results, mean_positions, order_correlation


def record(model, cell, behavior, success, *, refusal=False, held_out=False, attempt="", n=0):
    return {
        "model": model,
        "decoding": "one block",
        "cell": cell,
        "id": f"{cell}/{behavior}/{attempt}/{n}" if n else f"{cell}/{behavior}",
        "behavior": behavior,
        "attempt": attempt,
        "held_out_item": held_out,
        "verdict": {"success": success, "refusal": refusal, "coherent": True},
    }


def test_best_of_counts_behaviors_not_attempts():
    rows = [
        record("m", "wraps_held_out", "a", False, n=1),
        record("m", "wraps_held_out", "a", True, n=2),
        record("m", "wraps_held_out", "b", False, n=3),
        record("m", "wraps_held_out", "c", False, held_out=True, n=4),
        record("other", "wraps_held_out", "b", True, n=5),
    ]
    results = Results(rows)
    assert results.best_of("m", "one block", "wraps_held_out") == wilson(1, 3)
    assert results.best_of("m", "one block", "wraps_held_out", held_out_item=True) == wilson(0, 1)
    assert results.rate("m", "one block", "wraps_held_out") == wilson(1, 4)


def test_false_refusals_count_both_benign_cells():
    rows = [
        record("m", "benign_plain", "a", False, refusal=True),
        record("m", "benign_wrapped", "b", True),
        record("m", "plain", "c", False, refusal=True),
    ]
    assert Results(rows).false_refusals("m", "one block") == wilson(1, 2)


def test_mean_positions_leaves_anchors_out():
    trace = {"position": [5, 0, 1, 9], "step": [-1, 0, 0, 2], "token": [1, 1, 1, 1]}
    assert mean_positions([trace, trace], 3) == [0.5, None, 9.0]


def test_order_correlation_knows_both_directions():
    forward = {"position": [0, 1, 2, 9], "step": [0, 1, 2, 0], "token": [5, 5, 5, 0]}
    assert order_correlation([forward], frozenset({0})) == pytest.approx(1.0)
    assert order_correlation([forward], frozenset()) < 0.5
    backward = {"position": [2, 1, 0], "step": [0, 1, 2], "token": [5, 5, 5]}
    assert order_correlation([backward], frozenset()) == pytest.approx(-1.0)
    assert math.isnan(order_correlation([], frozenset()))


def claims_for(ours: int, initial: int, best: int = 0, count: int = 200, planned: int = 0):
    rows = []
    models = {"original": count, "initial-stable": initial, "mosa-stable": ours, "psa": best}
    for model, broken in models.items():
        for place in range(count):
            rows.append(record(model, "wraps_held_out", f"w{place}", place < broken))
            rows.append(record(model, "benign_plain", f"b{place}", True))
            rows.append(record(model, "arithmetic", f"q{place}", True))
            for start in (0, 20, 40, 60, 80):
                rows.append(record(model, f"prefill_{start}", f"p{place}", start > 0))
    trace = {"position": [0, 1, 2], "step": [0, 1, 2], "token": [1, 1, 1]}
    rows = [row | {"trace": trace} for row in rows]
    sizes = Sizes(wraps=planned or count, prefill=count, benign=count // 2, utility=count // 3)
    return demo_claims(demo_hypotheses(sizes), Results(rows))


def test_claims_are_decided_by_intervals():
    outcomes = [claim.outcome for claim in claims_for(ours=8, initial=100)]
    assert outcomes == ["supported"] * 10
    refuted = claims_for(ours=150, initial=40)
    assert [claim.outcome for claim in refuted[:2]] == ["refuted", "refuted"]
    close = claims_for(ours=20, initial=22)
    assert [claim.outcome for claim in close[:2]] == ["undecided", "undecided"]
    assert "n=200" in close[0].evidence
    worse = claims_for(ours=8, initial=100, best=60)
    assert [claim.outcome for claim in worse[:8]] == [
        *["supported"] * 4, "refuted", "refuted", *["supported"] * 2,
    ]  # fmt: skip
    assert worse[5].text == "PSA resists them better than MOSA (stable)"


def test_fewer_cases_than_planned_decide_nothing():
    claims = claims_for(ours=0, initial=100, planned=201)
    assert [claim.outcome for claim in claims[:3]] == ["no verdict", "no verdict", "supported"]
    assert "n = 201" in claims[0].expected and "at most 0.1" in claims[0].rule
