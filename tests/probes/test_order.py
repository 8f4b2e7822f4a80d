import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.decoding import Generation, Trace, decoding_config
from midspan.probes.order import CommitOrder, OrderConfig, _blocks, _measure, order, order_cells
from midspan.statistics import kendall_tau


def adjacent_by_hand(positions, steps):
    """A commit counts when no position to its left is committed later."""
    pairs = list(zip(positions, steps, strict=True))
    return sum(all(t <= step for q, t in pairs if q < p) for p, step in pairs) / len(pairs)


@given(st.permutations(range(12)), st.lists(st.integers(0, 5), min_size=12, max_size=12))
def test_order_is_that_of_the_definition(positions, steps):
    found = CommitOrder.of(np.array(positions), np.array(steps))
    assert found.adjacent == pytest.approx(adjacent_by_hand(positions, steps))
    tau = kendall_tau(positions, steps)
    assert found.tau == pytest.approx(tau) or math.isnan(tau)


def test_left_to_right_is_one_and_backwards_is_minus_one():
    position = np.arange(8)
    forwards = CommitOrder.of(position, position // 2)
    assert forwards.adjacent == 1 and forwards.tau > 0.9
    backwards = CommitOrder.of(position, 7 - position)
    assert backwards == CommitOrder(pytest.approx(-1), 1 / 8)
    nothing = CommitOrder.of(np.array([], int), np.array([], int))
    assert math.isnan(nothing.tau) and math.isnan(nothing.adjacent)


def test_records_hold_the_whole_canvas_in_order(context, data):
    rows = order(context, data, OrderConfig(shuffles=5))
    assert len(rows) == 2 * len(data.requests)
    for row in rows:
        shown = list(itertools.chain.from_iterable(row["curve_all"]))
        assert shown[::2] == list(range(8))
        assert 0 <= row["end_tokens"] <= 32
        assert all(0 <= position <= 31 for position in shown[1::2])


def test_blocks_alone_look_ordered_and_one_block_does_not(context, data):
    cells = order_cells(order(context, data, OrderConfig(shuffles=30)))
    for cell in cells:
        tau = cell.means["tau_chance"].mean
        assert tau > 0.6 if cell.decoding == "blocks of 8" else abs(tau) < 0.1
        assert -1 <= cell.means["adjacent_chance"].mean <= 1
        assert cell.means["tau"].n == 4
    assert {cell.request_kind for cell in cells} == {"harmful", "benign"}


def test_chance_stays_within_the_blocks_that_decoding_had():
    """SDAR's count from the prompt's first token, and a block may begin in the prompt."""
    positions, sdar = np.arange(8), decoding_config(sampler="block", length=8, block_length=4)
    for start, sampler, sizes in (
        ("prompt", sdar, [2, 4, 2]),
        ("canvas", sdar, [4, 4]),
        ("prompt", decoding_config(length=8, block_length=4, steps=8), [4, 4]),
    ):
        lm = SimpleNamespace(family=SimpleNamespace(blocks_from=start))
        found = _blocks(lm, sampler, prompt_size=6)(positions)
        assert np.unique(found, return_counts=True)[1].tolist() == sizes


def test_end_tokens_are_apart():
    """The end of the canvas is filled first; the words before it from left to right."""
    columns = {"position": [7, 6, 0, 1, 2, 3, 4, 5], "token": [1, 1, 5, 6, 7, 8, 9, 5],
               "step": [0, 0, 1, 1, 2, 2, 3, 3], "confidence": [1.0] * 8}  # fmt: skip
    made = Generation((5, 6, 7, 8, 9, 5, 1, 1), "", Trace.from_dict(columns), 4, False)
    found = _measure(made, np.zeros_like, frozenset({1}), np.random.default_rng(0), 50)
    assert (found["end_tokens"], found["end_step"], found["text_step"]) == (2, 0, 2)
    assert found["tau"] > 0.8 > 0.1 > found["tau_all"]
    assert (found["adjacent"], found["adjacent_all"]) == (1, 0.75)
    assert found["curve"] == [[1, 0.5], [2, 2.5], [3, 4.5]]
    assert found["curve_all"] == [[0, 6.5], *found["curve"]]
    assert abs(found["tau_chance"]) < 0.2
