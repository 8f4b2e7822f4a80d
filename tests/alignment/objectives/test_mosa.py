"""The objective against loops that read like Algorithm 1."""

import dataclasses
import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.alignment.objectives import (
    MosaObjective,
    PhraseCanvas,
    TrainingCanvas,
    TrainingSample,
)
from midspan.alignment.objectives.window import allowed_starts
from midspan.alignment.scores import ResponseStates
from midspan.scoring.window import best_starts

VOCABULARY = 7
WIDTH = 5


class Pair(NamedTuple):
    """A refusal and a harmful continuation."""

    safe: tuple[int, ...]
    harmful: tuple[int, ...]


PAIR = Pair(safe=(1, 2, 0), harmful=(3, 4))


def states_of(batch: int, length: int, seed: int, masked_BL=None, direction="forward"):
    """Random hidden states of policy and reference in double precision."""
    generator = torch.Generator().manual_seed(seed)
    policy, reference = (
        torch.randn(batch, length, WIDTH, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    head = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=torch.float64)
    if masked_BL is None:
        masked_BL = torch.ones(batch, length, dtype=torch.bool)
    return ResponseStates(policy, reference, head, masked_BL, direction)


def log_probabilities(hidden_BLD, states) -> torch.Tensor:
    return (hidden_BLD @ states.head_VD.T).log_softmax(-1)


def sample_of(pair) -> TrainingSample:
    canvas = PhraseCanvas((), (), *pair) if pair else TrainingCanvas((), ())
    return TrainingSample((canvas,), harmful=pair is not None)


def best_score(logp_LV, phrase, window, overflow) -> tuple[float, int]:
    """GetMaxScore of Algorithm 1, one start and one token at a time."""
    best, place = -math.inf, -1
    last = window[1] if overflow == "forbid" else len(logp_LV) - 1
    for start in range(window[0], window[1] + 1):
        if start + len(phrase) - 1 > last:
            continue
        score = sum(logp_LV[start + j][token].item() for j, token in enumerate(phrase))
        if score > best:
            best, place = score, start
    return best, place


def divergence(policy_LV, reference_LV, direction, reduction) -> float:
    first, second = (policy_LV, reference_LV)
    if direction == "reverse":
        first, second = second, first
    total = 0.0
    for p_V, q_V in zip(first.tolist(), second.tolist(), strict=True):
        total += sum(math.exp(p) * (p - q) for p, q in zip(p_V, q_V, strict=True))
    return total if reduction == "sum" else total / len(policy_LV)


@st.composite
def scored(draw):
    """A canvas partly masked, a window in it, and a phrase."""
    length = draw(st.integers(1, 12))
    first = draw(st.integers(0, length - 1))
    last = draw(st.integers(first, length - 1))
    phrase = draw(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=5))
    masked = draw(st.lists(st.sampled_from([True, True, True, False]),
                           min_size=length, max_size=length))  # fmt: skip
    overflow = draw(st.sampled_from(["allow", "forbid"]))
    return masked, (first, last), tuple(phrase), overflow, draw(st.integers(0, 999))


@given(scored())
def test_best_starts_are_algorithm_1_on_masked_positions(case):
    masked, window, phrase, overflow, seed = case
    states = states_of(1, len(masked), seed)
    logp_LV = log_probabilities(states.policy_BLD, states)[0]
    blocked_LV = logp_LV.masked_fill(~torch.tensor(masked)[:, None], -torch.inf)
    score, start = best_score(blocked_LV, phrase, window, overflow)
    allowed = allowed_starts([phrase], torch.tensor([masked]), torch.tensor([window]), overflow)
    if score == -math.inf:
        assert not allowed.any()
        return
    best, found = best_starts(logp_LV[None, :, list(phrase)], [phrase], allowed)
    assert best.item() == pytest.approx(score, abs=1e-9)
    assert found.item() == start


@pytest.mark.parametrize(("overflow", "last"), [("allow", 4), ("forbid", 3)])
def test_overflow_decides_whether_a_phrase_may_run_past_the_window(overflow, last):
    masked = torch.ones(1, 8, dtype=torch.bool)
    allowed = allowed_starts([(1, 2)], masked, torch.tensor([(2, 4)]), overflow)
    assert allowed.nonzero()[:, 1].tolist() == list(range(2, last + 1))


def naive_loss(states, samples, config) -> float:
    policy = log_probabilities(states.policy_BLD, states)
    reference = log_probabilities(states.reference_BLD, states)
    kinds = (config.kl_direction, config.kl_reduction)
    harmful, benign = [], []
    for row, sample in enumerate(samples):
        canvas = sample.canvases[0]
        if not sample.harmful:
            kl = divergence(policy[row], reference[row], *kinds)
            benign.append(config.benign_weight * kl)
            continue
        rows = slice(None)
        if config.kl_rows == "window":
            reach = max(
                len(ids)
                for other in samples
                if other.harmful
                for ids in (other.canvases[0].safe_ids, other.canvases[0].harmful_ids)
            )
            rows = slice(config.window[0], config.window[1] + reach)
        kl = divergence(policy[row][rows], reference[row][rows], *kinds)
        safe, _ = best_score(policy[row], canvas.safe_ids, config.window, config.overflow)
        negative, _ = best_score(policy[row], canvas.harmful_ids, config.window, config.overflow)
        if config.negative_floor is not None:
            negative = max(negative, config.negative_floor * len(canvas.harmful_ids))
        harmful.append(config.beta * kl - safe + config.negative_weight * negative)
    return sum(harmful) / len(harmful) + (sum(benign) / len(benign) if benign else 0)


def mean_loss(config, states, samples) -> torch.Tensor:
    values = config.losses(states, samples).values_S
    harmful = [row for row, sample in enumerate(samples) if sample.harmful]
    benign = [row for row, sample in enumerate(samples) if not sample.harmful]
    return values[harmful].mean() + (values[benign].mean() if benign else 0)


CONFIGS = {
    "verbatim": MosaObjective(window=(2, 5)),
    "forbid": MosaObjective(window=(1, 5), overflow="forbid", kl_direction="reverse"),
    "full": MosaObjective(window=(2, 5), negative_weight=0.3, negative_floor=-1.5,
                          benign_weight=2.0, kl_reduction="mean"),
    "window": MosaObjective(window=(2, 5), kl_rows="window", benign_weight=1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_is_the_sum_over_samples(name):
    config = CONFIGS[name]
    states = states_of(4, 9, seed=3, direction=config.kl_direction)
    pairs = [PAIR, None, Pair((5, 0), (6,)), None]
    samples = [sample_of(pair) for pair in pairs]
    loss = mean_loss(config, states, samples)
    assert loss.item() == pytest.approx(naive_loss(states, samples, config))


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_is_the_finite_difference(name):
    config = CONFIGS[name]
    states = states_of(2, 8, seed=5, direction=config.kl_direction)
    samples = [sample_of(PAIR), sample_of(None)]

    def loss(policy_BLD):
        moved = dataclasses.replace(states, policy_BLD=policy_BLD)
        return mean_loss(config, moved, samples)

    assert torch.autograd.gradcheck(loss, states.policy_BLD.requires_grad_())


def test_verbatim_loss_is_minus_the_papers_objective():
    states = states_of(2, 80, seed=7)
    config = MosaObjective()
    samples = [sample_of(PAIR)] * 2
    losses = config.losses(states, samples)
    objective = losses.metrics["reward"] - 0.05 * losses.metrics["kl_harmful"]
    assert torch.allclose(losses.values_S, -objective)


def test_below_the_floor_the_harmful_phrase_gives_no_gradient():
    def gradient(floor: float, weight: float) -> torch.Tensor:
        states = states_of(1, 6, seed=9)
        states.policy_BLD.requires_grad_()
        config = MosaObjective(window=(0, 3), negative_floor=floor, negative_weight=weight, beta=0)
        pair = Pair(safe=(1,), harmful=(3, 3))
        config.losses(states, [sample_of(pair)]).values_S.sum().backward()
        return states.policy_BLD.grad

    without = gradient(-50.0, 0.0)
    assert not torch.equal(gradient(-50.0, 1.0), without)
    assert torch.equal(gradient(-1e-6, 1.0), without)


def test_a_revealed_position_counts_neither_for_phrases_nor_for_the_kl():
    masked = torch.ones(2, 9, dtype=torch.bool)
    masked[:, 3] = False
    states = states_of(2, 9, seed=12, masked_BL=masked)
    config = MosaObjective(window=(2, 5), benign_weight=1.0)
    samples = [sample_of(PAIR), sample_of(None)]
    before = config.losses(states, samples)
    states.policy_BLD[:, 3] += 5.0
    assert torch.equal(config.losses(states, samples).values_S, before.values_S)
    assert before.metrics["position"].item() >= 4


@settings(max_examples=20)
@given(st.integers(0, 999))
def test_metrics_are_values_of_harmful_rows(seed):
    states = states_of(3, 9, seed)
    pairs = [None, PAIR, Pair((5, 0), (6, 6, 2))]
    # Weight and floor change the loss, never what Figure 7 plots.
    config = MosaObjective(
        window=(1, 4), negative_weight=0.1, negative_floor=-0.5, benign_weight=1.0
    )
    metrics = config.losses(states, [sample_of(pair) for pair in pairs]).metrics
    policy = log_probabilities(states.policy_BLD, states)
    safe = [best_score(policy[row], pairs[row].safe, (1, 4), "allow") for row in (1, 2)]
    harmful = [best_score(policy[row], pairs[row].harmful, (1, 4), "allow")[0] for row in (1, 2)]
    assert metrics["reward_safe"].tolist() == pytest.approx([score for score, _ in safe])
    assert metrics["reward_harmful"].tolist() == pytest.approx(harmful)
    assert metrics["position"].tolist() == [start for _, start in safe]
    assert metrics["kl_benign"].shape == (1,)
