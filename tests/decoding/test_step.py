from types import SimpleNamespace

import pytest
import torch

from midspan.decoding import decoding_config
from midspan.decoding.commit_rules import best, by_factor, by_threshold
from midspan.decoding.draws import gumbel, hashed_uniform
from midspan.decoding.step import (
    Draws,
    StepSettings,
    filter_logits,
    forbid,
    probability,
    sample,
    step,
)


def test_sampling_follows_the_probabilities():
    probs = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    uniform = torch.rand(1, 40_000, generator=torch.Generator().manual_seed(0))
    tokens = sample(probs.expand(1, 40_000, 6), uniform)
    found = torch.bincount(tokens[0], minlength=6) / 40_000
    assert torch.allclose(found, probs, atol=0.01)


def test_sampling_never_takes_an_impossible_token():
    probs = torch.tensor([[[0.0, 0.4, 0.6, 0.0]] * 3])
    edges = torch.tensor([[0.0, 0.5, 1 - 2**-24]])
    assert sample(probs, edges).tolist() == [[1, 2, 2]]


def test_gumbel_scores_draw_without_replacement():
    weights = torch.tensor([0.6, 0.3, 0.1])
    uniform = torch.rand(40_000, 3, generator=torch.Generator().manual_seed(0))
    chosen = best(weights.log() + gumbel(uniform), torch.full((40_000,), 2))
    expected = torch.multinomial(
        weights.expand(40_000, 3), 2, generator=torch.Generator().manual_seed(1)
    )
    counts = torch.bincount(expected.flatten(), minlength=3) / 40_000
    assert torch.allclose(chosen.float().mean(0), counts, atol=0.01)


def test_selection_breaks_ties_to_the_left_and_takes_none_of_zero():
    scores = torch.tensor([[0.5, 0.9, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4]])
    chosen = best(scores, torch.tensor([3, 0]))
    assert chosen.tolist() == [[True, True, True, False], [False] * 4]


def test_filters_keep_the_nucleus_and_the_top_k():
    logits = torch.tensor([[[0.1, 0.5, 0.15, 0.25]]]).log()
    assert filter_logits(logits, 0.6, None).isfinite().tolist() == [[[False, True, False, True]]]
    assert filter_logits(logits, 0.01, None).isfinite().sum() == 1
    assert filter_logits(logits, None, 3).isfinite().tolist() == [[[False, True, True, True]]]
    assert torch.equal(filter_logits(logits, 1.0, 9), logits)


def test_draws_are_uniform_and_depend_on_seed_draw_and_position_alone():
    seeds, draws = torch.tensor([0, 1, -5, 2**62]), torch.tensor([0, 1, 2, 3])
    position = torch.arange(20_000).expand(4, -1)
    numbers = hashed_uniform(seeds, draws, position)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert torch.allclose(numbers.mean(1), torch.full((4,), 0.5), atol=0.01)
    assert torch.allclose(numbers.var(1), torch.full((4,), 1 / 12), atol=0.003)
    counts = torch.histc(numbers[0], 20, 0, 1)
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # chi-squared, 19 degrees of freedom
    assert numbers.corrcoef().fill_diagonal_(0).abs().max() < 0.03
    assert abs(torch.stack([numbers[0, 1:], numbers[0, :-1]]).corrcoef()[0, 1]) < 0.03
    assert torch.equal(
        hashed_uniform(seeds[2:3], draws[2:3], position[:1, 7:9])[0], numbers[2, 7:9]
    )


def test_confident_positions_are_chosen_and_at_least_one():
    scores = torch.tensor([[0.9, 0.4, 0.95, -torch.inf], [0.2, 0.3, 0.3, 0.299995]])
    given = (scores, scores.isfinite(), torch.zeros(2))
    left = by_threshold(*given, threshold=0.9, ties="left")
    assert left.tolist() == [[True, False, True, False], [False, True, False, False]]
    together = by_threshold(*given, threshold=0.9, ties="together")
    assert together.tolist() == [[True, False, True, False], [False, True, True, True]]


def test_the_factor_rule_asks_for_more_of_each_further_position():
    # Thresholds at factor 1: 1/2, 2/3, 3/4.
    scores = torch.tensor([[0.7, 0.74, 0.6], [0.8, 0.8, 0.8], [0.1, 0.2, -torch.inf]])
    chosen = by_factor(scores, scores.isfinite(), torch.zeros(3), factor=1.0)
    assert chosen.tolist() == [[True, True, False], [True] * 3, [False, True, False]]


def test_probabilities_are_those_of_the_softmax():
    logits = torch.randn(15, 11, generator=torch.Generator().manual_seed(0))
    tokens = logits.argmin(-1)
    expected = logits.softmax(-1).gather(-1, tokens[:, None])[:, 0]
    assert torch.allclose(probability(logits, tokens), expected, atol=1e-6)


@pytest.mark.parametrize("fields", [
    {}, {"temperature": 0.7, "remasking": "margin", "eos_policy": "suppress_confidence"},
    {"remasking": "random"}, {"threshold": 0.2, "ties": "together"}, {"factor": 1.0},
    {"sampler": "dream", "temperature": 0.5, "top_p": 0.9, "top_k": 9, "alg_temp": 0.3},
    {"sampler": "block", "threshold": 0.2},
], ids=str)  # fmt: skip
def test_a_step_is_one_graph_and_leaves_its_arguments(fields):
    """Branches on values would break the graph; `backend="eager"` runs what was traced."""
    tokens = SimpleNamespace(mask=15, eos=1, eot=2)
    settings = StepSettings.of(decoding_config(**fields), tokens)
    generator = torch.Generator().manual_seed(0)
    numbers_AR = torch.rand(3, 4, 5, generator=generator)
    draws = Draws(
        token_AR=numbers_AR[0] if settings.temperature else None,
        position_AR=numbers_AR[1] if settings.alg_temp else None,
        order_AR=numbers_AR[2] if settings.remasking == "random" else None,
    )
    logits_ARV = forbid(torch.randn(4, 5, 16, generator=generator) * 3, settings.forbidden)
    open_AR = torch.tensor([[True] * 5, [False] * 5, [True] * 2 + [False] * 3, [True] * 5])
    given = (logits_ARV, open_AR, torch.tensor([1, 0, 2, 5]), draws, settings)
    before = logits_ARV.clone()
    candidates, chosen_AR = step(*given)
    traced, traced_AR = torch.compile(step, backend="eager", fullgraph=True)(*given)
    assert torch.equal(logits_ARV, before)
    assert torch.equal(chosen_AR, traced_AR)
    assert all(torch.equal(one, two) for one, two in zip(candidates, traced, strict=True))
    assert not (chosen_AR & ~open_AR).any()
    assert 15 not in candidates.token_AR
    assert chosen_AR.any(1).tolist() == [True, False, True, True]


@pytest.mark.parametrize("fields", [
    {"sampler": "dream", "alg_temp": 0.2}, {"sampler": "block", "alg_temp": 0.2},
    {"remasking": "random"}, {"sampler": "dream", "remasking": "random"},
], ids=str)  # fmt: skip
def test_ends_come_last_and_before_nothing(fields):
    config = decoding_config(**fields, eos_policy="suppress_confidence")
    settings = StepSettings.of(config, SimpleNamespace(mask=15, eos=1, eot=2))
    # An end where the draw is best, and where nothing else is open.
    token_AR = torch.tensor([[1, 3, 2], [4, 4, 1]])
    logits_ARV = 9.0 * torch.nn.functional.one_hot(token_AR, 16)
    open_AR = torch.tensor([[True, True, True], [False, False, True]])
    draw_AR = torch.tensor([[0.99, 0.01, 0.98], [0.5, 0.6, 0.7]])
    by_order = config.remasking == "random"
    draws = Draws(order_AR=draw_AR) if by_order else Draws(position_AR=draw_AR)
    _, chosen_AR = step(logits_ARV, open_AR, torch.tensor([1, 1]), draws, settings)
    assert chosen_AR.tolist() == [[False, True, False], [False, False, True]]


@pytest.mark.parametrize("remasking", ["low_confidence", "margin", "entropy"])
@pytest.mark.parametrize("sampler", ["dream", "block"])
def test_an_end_that_fills_the_nucleus_has_no_confidence(sampler, remasking):
    fields = {"sampler": sampler, "top_p": 0.5, "remasking": remasking}
    config = decoding_config(**fields, eos_policy="suppress_confidence")
    settings = StepSettings.of(config, SimpleNamespace(mask=15, eos=1, eot=2))
    logits_ARV = 9.0 * torch.nn.functional.one_hot(torch.tensor([[1, 3]]), 16)
    open_AR = torch.ones(1, 2, dtype=torch.bool)
    candidates, chosen_AR = step(logits_ARV, open_AR, torch.tensor([1]), Draws(), settings)
    assert candidates.probability_AR.tolist() == [[0.0, 1.0]]
    assert chosen_AR.tolist() == [[False, True]]


@pytest.mark.parametrize("fields", [
    {"temperature": 0.7, "remasking": "margin", "eos_policy": "suppress_confidence"},
    {"sampler": "dream", "temperature": 0.5, "top_p": 0.9, "top_k": 40, "remasking": "entropy"},
], ids=str)  # fmt: skip
def test_a_step_in_parts_is_the_step_at_once(fields, monkeypatch):
    settings = StepSettings.of(decoding_config(**fields), SimpleNamespace(mask=15, eos=1, eot=2))
    generator = torch.Generator().manual_seed(0)
    logits_ARV = torch.randn(3, 5, 1500, generator=generator) * 4
    draws = Draws(token_AR=torch.rand(3, 5, generator=generator))
    given = (logits_ARV, torch.rand(3, 5) < 0.8, torch.tensor([1, 2, 3]), draws, settings)
    at_once, chosen_AR = step(*given)
    monkeypatch.setattr("midspan.decoding.step._SMALLEST_PART", 1)
    in_parts, again_AR = step(*given)
    assert torch.equal(chosen_AR, again_AR)
    assert all(torch.equal(one, two) for one, two in zip(at_once, in_parts, strict=True))
