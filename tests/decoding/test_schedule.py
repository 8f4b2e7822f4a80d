import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from midspan.decoding import DecodingConfig
from midspan.decoding.schedule import Plan, even_commits, linear_commits, plan_row, random_times


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
def test_a_plan_never_commits_more_than_is_open(open_L, num_blocks):
    for sampler in ("llada", "dream"):
        blocks = num_blocks if sampler == "llada" else 1
        config = DecodingConfig(
            sampler=sampler, length=24, block_length=24 // blocks, steps=12 * blocks
        )
        stages = plan_row(np.array(open_L), config)
        assert sum(stage.commits for stage in stages) == sum(open_L)
        assert all(1 <= stage.commits <= stage.open for stage in stages)
        assert [stage.start for stage in stages] == sorted(stage.start for stage in stages)


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
    config = DecodingConfig(length=4, steps=4, block_length=2)
    open_BL = np.array([[True] * 4, [False, False, True, False], [False] * 4])
    plan = Plan.stack([plan_row(row, config) for row in open_BL], torch.device("cpu"))
    assert plan.forwards_B.tolist() == [4, 1, 0]
    assert plan.start_BN.tolist() == [[0, 0, 2, 2], [2, 0, 0, 0], [0] * 4]
    assert plan.commits_BN.tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [0] * 4]
    assert plan.select(np.array([False, True, False])).open_BN.tolist() == [[1, 0, 0, 0]]
