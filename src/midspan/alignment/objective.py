"""MOSA's reward and loss as pure tensor functions. They know no model and no tokenizer.

Shapes: B samples, L response positions, V vocabulary, P phrase length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from midspan.alignment.config import ObjectiveConfig


@dataclass(frozen=True)
class PhrasePair:
    """The phrases drawn for one harmful prompt, as token ids.

    Attributes:
        safe: Refusal, ending in the end-of-text token.
        harmful: Continuation that must become unlikely.
    """

    safe: tuple[int, ...]
    harmful: tuple[int, ...]


@dataclass(frozen=True)
class ObjectiveResult:
    """Loss (scalar, minimised) and what Figure 7 plots, each a mean over the batch.

    ``reward``, ``reward_safe`` and ``reward_harmful`` are sums of nats over a phrase;
    ``kl_harmful`` and ``kl_benign`` are nats (see ``kl_reduction``), ``position`` is the mean
    start that the safe phrase's maximum picked.
    """

    loss: Tensor
    metrics: dict[str, float]


def window_scores(
    logp_BLV: Tensor, phrases: Sequence[Sequence[int]], window: tuple[int, int], overflow: str
) -> tuple[Tensor, Tensor]:
    """Best log-probability of each row's phrase over start positions (Algorithm 1, GetMaxScore).

    Args:
        logp_BLV: Log-probabilities at every response position.
        phrases: One phrase a row, token ids; lengths may differ.
        window: First and last start, both included.
        overflow: "allow" lets a phrase run past the window's end, never past the canvas.

    Returns:
        Scores [B] in nats and arg-max starts [B].
    """
    length = logp_BLV.shape[1]
    longest = max(len(phrase) for phrase in phrases)
    padded_BP = torch.tensor([[*p, *[0] * (longest - len(p))] for p in phrases])
    padded_BP = padded_BP.to(logp_BLV.device)
    size_B = torch.tensor([len(phrase) for phrase in phrases], device=logp_BLV.device)
    place_P = torch.arange(longest, device=logp_BLV.device)
    start_K = torch.arange(window[0], window[1] + 1, device=logp_BLV.device)
    # One gather of the phrase's tokens at every position, then one read along diagonals.
    at_BLP = logp_BLV.gather(2, padded_BP[:, None].expand(-1, length, -1))
    position_KP = (start_K[:, None] + place_P).clamp(max=length - 1)
    token_BKP = at_BLP[:, position_KP, place_P]
    score_BK = token_BKP.masked_fill(place_P >= size_B[:, None, None], 0.0).sum(2)
    end_BK = start_K + size_B[:, None] - 1
    last = window[1] if overflow == "forbid" else length - 1
    score_BK = score_BK.masked_fill(end_BK > last, -torch.inf)
    best_B, index_B = score_BK.max(1)
    return best_B, start_K[index_B]


def kl_divergence(policy_BLV: Tensor, reference_BLV: Tensor, config: ObjectiveConfig) -> Tensor:
    """KL a sample [B] between log-probabilities, reduced over positions as configured."""
    if config.kl_direction == "forward":
        first, second = policy_BLV, reference_BLV
    else:
        first, second = reference_BLV, policy_BLV
    kl_BL = F.kl_div(second, first, reduction="none", log_target=True).sum(2)
    return kl_BL.sum(1) if config.kl_reduction == "sum" else kl_BL.mean(1)


def mosa_loss(
    policy_BLV: Tensor,
    reference_BLV: Tensor,
    pairs: Sequence[PhrasePair | None],
    config: ObjectiveConfig,
) -> ObjectiveResult:
    """Minus Algorithm 1's objective, plus the benign term.

    Args:
        policy_BLV: Log-probabilities with the adapter on.
        reference_BLV: The same with the adapter off, without gradient.
        pairs: Phrases of each harmful row; None marks a benign row.
        config: Window, weights and the KL's shape.
    """
    harmful = [row for row, pair in enumerate(pairs) if pair is not None]
    drawn = [pair for pair in pairs if pair is not None]
    policy = policy_BLV[harmful]
    safe_B, start_B = window_scores(policy, [p.safe for p in drawn], config.window, config.overflow)
    harmful_B, _ = window_scores(policy, [p.harmful for p in drawn], config.window, config.overflow)
    negative_B = harmful_B
    if config.negative_floor is not None:
        size_B = torch.tensor([len(p.harmful) for p in drawn], device=harmful_B.device)
        negative_B = harmful_B.clamp(min=config.negative_floor * size_B)
    kl_B = kl_divergence(policy, reference_BLV[harmful], config)
    reward_B = safe_B - config.negative_weight * negative_B
    loss = (config.beta * kl_B - reward_B).mean()
    metrics = {
        "reward": (safe_B - harmful_B).mean().item(),
        "reward_safe": safe_B.mean().item(),
        "reward_harmful": harmful_B.mean().item(),
        "kl_harmful": kl_B.mean().item(),
        "position": start_B.float().mean().item(),
    }
    benign = [row for row, pair in enumerate(pairs) if pair is None]
    if benign:
        kl_benign = kl_divergence(policy_BLV[benign], reference_BLV[benign], config).mean()
        loss = loss + config.benign_weight * kl_benign
        metrics["kl_benign"] = kl_benign.item()
    return ObjectiveResult(loss, metrics | {"loss": loss.item()})
