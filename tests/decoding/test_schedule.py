import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from midspan.decoding import decoding_config
from midspan.decoding.schedule import RowStates, even_commits, linear_commits, random_times


@given(st.integers(0, 300), st.integers(1, 300))
def test_even_commits_spend_every_mask_evenly(masks, steps):
    counts = even_commits(masks, steps)
    assert (len(counts), sum(counts)) == (steps, masks)
    assert max(counts) - min(counts) <= 1
    assert counts == sorted(counts, reverse=True)


@given(st.integers(0, 300), st.integers(1, 300))
def test_linear_commits_spend_every_mask(masks, steps):
    counts = linear_commits(masks, steps, 1e-3)
    assert (len(counts), sum(counts)) == (steps, masks)
    assert min(counts) >= 0


@given(st.lists(st.booleans(), min_size=24, max_size=24), st.sampled_from([1, 2, 3, 12]))
def test_a_schedule_commits_what_is_open_block_by_block(open_L, num_blocks):
    for sampler in ("llada", "dream", "block"):
        fields = {"steps": 12}
        if sampler != "dream":
            fields = {"steps": 12 * num_blocks, "block_length": 24 // num_blocks}
        config = decoding_config(sampler=sampler, length=24, **fields)
        still_open_BL = np.array([open_L, [True] * 24])
        states = RowStates(config, still_open_BL, None)
        visited = []
        while not states.finished_B[0]:
            rows_A = np.flatnonzero(~states.finished_B)
            start = states.block_B * config.block
            for row, commits in zip(rows_A, states.commits(rows_A), strict=True):
                block = still_open_BL[row, start[row] : start[row] + config.block]
                assert 1 <= commits <= block.sum()
                block[np.flatnonzero(block)[:commits]] = False
            visited.append(states.block_B[0])
            states.advance(rows_A)
            states.update(still_open_BL)
        assert visited == sorted(visited)
        assert states.steps_B[0] == len(visited) <= states.total <= 24
        assert not still_open_BL[0].any()


def test_random_times_follow_the_schedule():
    uniform = torch.rand(50_000, generator=torch.Generator().manual_seed(0)).numpy()
    times = random_times(uniform, 8, 1e-3)
    schedule = np.linspace(1, 1e-3, 9)
    for step in range(7):
        still_masked = times >= step
        share = (times[still_masked] == step).mean()
        assert abs(share - (1 - schedule[step + 1] / schedule[step])) < 0.02
    assert times.max() == 7


def test_rows_of_different_plans_stand_side_by_side():
    config = decoding_config(length=4, steps=4, block_length=2)
    open_BL = np.array([[True] * 4, [False, False, True, False], [False] * 4])
    states = RowStates(config, open_BL, None)
    assert states.block_B.tolist() == [0, 1, 2]
    assert states.finished_B.tolist() == [False, False, True]
    assert states.total == 4
    states.select(np.array([False, True, False]))
    assert states.open_BN.tolist() == [[0, 1]]
    assert states.commits(np.array([0])).tolist() == [1]


def test_what_is_opened_again_comes_back_one_a_forward():
    config = decoding_config(length=4, steps=1)
    states = RowStates(config, np.ones((1, 4), dtype=bool), None)
    assert states.commits(np.array([0])).tolist() == [4]
    states.advance(np.array([0]))
    states.update(np.array([[True, False, True, False]]))
    assert states.commits(np.array([0])).tolist() == [1]
