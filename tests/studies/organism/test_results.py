import math

import pytest

from midspan.statistics import wilson
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
