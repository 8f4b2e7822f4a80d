"""The objective against loops that read like Algorithm 1."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.alignment.config import ObjectiveConfig
from midspan.alignment.objective import PhrasePair, kl_divergence, mosa_loss, window_scores

VOCABULARY = 7
PAIR = PhrasePair(safe=(1, 2, 0), harmful=(3, 4))


def log_probabilities(batch: int, length: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, length, VOCABULARY, generator=generator, dtype=torch.float64)
    return (2 * logits).log_softmax(-1)


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
    """A canvas, a window that fits it, and ragged phrases that fit the window."""
    length = draw(st.integers(1, 12))
    first = draw(st.integers(0, length - 1))
    last = draw(st.integers(first, length - 1))
    overflow = draw(st.sampled_from(["allow", "forbid"]))
    room = (last + 1 if overflow == "forbid" else length) - first
    token = st.integers(0, VOCABULARY - 1)
    phrase = st.lists(token, min_size=1, max_size=min(room, 5))
    phrases = draw(st.lists(phrase, min_size=1, max_size=4))
    logp_BLV = log_probabilities(len(phrases), length, draw(st.integers(0, 999)))
    return logp_BLV, phrases, (first, last), overflow


@given(scored())
def test_window_scores_are_algorithm_1(case):
    logp_BLV, phrases, window, overflow = case
    score_B, start_B = window_scores(logp_BLV, phrases, window, overflow)
    for row, phrase in enumerate(phrases):
        score, start = best_score(logp_BLV[row], phrase, window, overflow)
        assert score_B[row].item() == pytest.approx(score, abs=1e-9)
        assert start_B[row].item() == start


def test_overflow_decides_whether_a_phrase_may_run_past_the_window():
    logp_BLV = log_probabilities(1, 8, seed=0)
    logp_BLV[0, 4, 1] = logp_BLV[0, 5, 2] = 10.0
    _, allowed = window_scores(logp_BLV, [[1, 2]], (2, 4), "allow")
    _, forbidden = window_scores(logp_BLV, [[1, 2]], (2, 4), "forbid")
    assert (allowed.item(), forbidden.item() <= 3) == (4, True)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_kl_is_the_sum_over_words(direction, reduction):
    policy, reference = log_probabilities(3, 5, seed=1), log_probabilities(3, 5, seed=2)
    config = ObjectiveConfig(kl_direction=direction, kl_reduction=reduction)
    expected = [
        divergence(*rows, direction, reduction) for rows in zip(policy, reference, strict=True)
    ]
    assert kl_divergence(policy, reference, config).tolist() == pytest.approx(expected)


def naive_loss(policy, reference, pairs, config) -> float:
    kinds = (config.kl_direction, config.kl_reduction)
    harmful, benign = [], []
    for row, pair in enumerate(pairs):
        kl = divergence(policy[row], reference[row], *kinds)
        if pair is None:
            benign.append(config.benign_weight * kl)
            continue
        safe, _ = best_score(policy[row], pair.safe, config.window, config.overflow)
        negative, _ = best_score(policy[row], pair.harmful, config.window, config.overflow)
        if config.negative_floor is not None:
            negative = max(negative, config.negative_floor * len(pair.harmful))
        harmful.append(config.beta * kl - safe + config.negative_weight * negative)
    return sum(harmful) / len(harmful) + (sum(benign) / len(benign) if benign else 0)


CONFIGS = {
    "verbatim": ObjectiveConfig(window=(2, 5)),
    "forbid": ObjectiveConfig(window=(1, 5), overflow="forbid", kl_direction="reverse"),
    "full": ObjectiveConfig(window=(2, 5), negative_weight=0.3, negative_floor=-1.5,
                            benign_weight=2.0, kl_reduction="mean"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_is_the_sum_over_samples(name):
    policy, reference = log_probabilities(4, 9, seed=3), log_probabilities(4, 9, seed=4)
    pairs = [PAIR, None, PhrasePair((5, 0), (6,)), None]
    result = mosa_loss(policy, reference, pairs, CONFIGS[name])
    assert result.loss.item() == pytest.approx(naive_loss(policy, reference, pairs, CONFIGS[name]))
    assert result.metrics["loss"] == pytest.approx(result.loss.item())


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_is_the_finite_difference(name):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 8, VOCABULARY, generator=generator, dtype=torch.float64)
    reference = log_probabilities(2, 8, seed=6)
    pairs = [PAIR, None]

    def loss(logits_BLV):
        return mosa_loss(logits_BLV.log_softmax(-1), reference, pairs, CONFIGS[name]).loss

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


def test_verbatim_loss_is_minus_the_papers_objective():
    policy, reference = log_probabilities(2, 80, seed=7), log_probabilities(2, 80, seed=8)
    metrics = mosa_loss(policy, reference, [PAIR, PAIR], ObjectiveConfig()).metrics
    objective = metrics["reward"] - 0.05 * metrics["kl_harmful"]
    assert metrics["loss"] == pytest.approx(-objective)


def test_below_the_floor_the_harmful_phrase_gives_no_gradient():
    policy = log_probabilities(1, 6, seed=9)

    def gradient(floor: float, harmful: tuple[int, ...]) -> torch.Tensor:
        config = ObjectiveConfig(window=(0, 3), negative_floor=floor, beta=0)
        leaf = policy.clone().requires_grad_()
        pair = PhrasePair(safe=(1,), harmful=harmful)
        mosa_loss(leaf, policy, [pair], config).loss.backward()
        return leaf.grad[0, :, 3]

    assert gradient(-50.0, (3, 3)).abs().sum() > 0
    assert gradient(-1e-6, (3, 3)).abs().sum() == 0


def test_benign_rows_contribute_only_their_kl():
    policy, reference = log_probabilities(2, 6, seed=10), log_probabilities(2, 6, seed=11)
    config = ObjectiveConfig(window=(0, 3), benign_weight=3.0)
    alone = mosa_loss(policy[:1], reference[:1], [PAIR], config)
    both = mosa_loss(policy, reference, [PAIR, None], config)
    benign = divergence(policy[1], reference[1], "forward", "sum")
    assert both.loss.item() == pytest.approx(alone.loss.item() + 3 * benign)
    assert both.metrics["kl_benign"] == pytest.approx(benign)
    assert "kl_benign" not in alone.metrics
    assert both.metrics["reward"] == alone.metrics["reward"]


@settings(max_examples=20)
@given(st.integers(0, 999))
def test_metrics_are_means_over_harmful_rows(seed):
    policy, reference = log_probabilities(3, 9, seed), log_probabilities(3, 9, seed + 1)
    pairs = [None, PAIR, PhrasePair((5, 0), (6, 6, 2))]
    # Weight and floor change the loss, never what Figure 7 plots.
    config = ObjectiveConfig(window=(1, 4), negative_weight=0.1, negative_floor=-0.5)
    metrics = mosa_loss(policy, reference, pairs, config).metrics
    safe = [best_score(policy[row], pairs[row].safe, (1, 4), "allow") for row in (1, 2)]
    harmful = [best_score(policy[row], pairs[row].harmful, (1, 4), "allow")[0] for row in (1, 2)]
    assert metrics["reward_safe"] == pytest.approx(sum(score for score, _ in safe) / 2)
    assert metrics["reward_harmful"] == pytest.approx(sum(harmful) / 2)
    assert metrics["reward"] == pytest.approx(metrics["reward_safe"] - metrics["reward_harmful"])
    assert metrics["position"] == pytest.approx(sum(start for _, start in safe) / 2)
