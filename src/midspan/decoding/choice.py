"""One step's choice: a token for each open position, and how much it deserves to be committed.

Pure functions of logits. Shapes: B rows, R open positions of a row, V vocabulary.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from midspan.decoding.config import DecodingConfig
from midspan.models.family import SpecialTokens

# Logits whose normaliser is computed at once; 16 MiB in single precision.
_LARGEST_PART = 1 << 22


class Choice(NamedTuple):
    """A token for every position, its probability, and the score by which positions compete."""

    token_BR: Tensor
    probability_BR: Tensor
    score_BR: Tensor


def edit_logits(logits_BRV: Tensor, tokens: SpecialTokens, config: DecodingConfig) -> Tensor:
    """Forbid what must never be committed: the mask token and, if asked for, EOS. In place."""
    logits_BRV[..., tokens.mask] = -torch.inf
    if config.eos_policy == "suppress_logits":
        logits_BRV[..., tokens.eos] = -torch.inf
    return logits_BRV


def choose(
    logits_BRV: Tensor, tokens: SpecialTokens, config: DecodingConfig, uniform_BR: Tensor | None
) -> Choice:
    """Choose tokens and score positions.

    Args:
        logits_BRV: Edited logits, single precision.
        tokens: The model's special tokens.
        config: Says temperature, filters, rule and EOS policy.
        uniform_BR: Uniform draws in [0, 1), one a token; None at temperature 0.
    """
    tempered_BRV = logits_BRV
    if config.temperature > 0:
        tempered_BRV = logits_BRV / config.temperature
    tempered_BRV = filter_logits(tempered_BRV, config.top_p, config.top_k)
    if uniform_BR is None:
        token_BR = tempered_BRV.argmax(-1)
    else:
        token_BR = sample(tempered_BRV.softmax(-1), uniform_BR)

    # LLaDA ranks by the model's own distribution, the others by the one sampled from.
    ranked_BRV = logits_BRV if config.sampler == "llada" else tempered_BRV
    late: list[int] = []
    if config.eos_policy == "suppress_confidence":
        late = [token for token in (tokens.eos, tokens.eot) if token is not None]
        ranked_BRV = ranked_BRV.clone()
        ranked_BRV[..., late] = -torch.inf
    probability_BR = probability(ranked_BRV, token_BR)
    score_BR = score(ranked_BRV, probability_BR, config)
    for token in late:
        score_BR = score_BR.masked_fill(token_BR == token, torch.finfo(score_BR.dtype).min)
    return Choice(token_BR, probability_BR, score_BR)


def score(logits_BRV: Tensor, probability_BR: Tensor, config: DecodingConfig) -> Tensor:
    """How much each position deserves to be committed under the remasking rule, [B, R]."""
    if config.remasking == "margin":
        best_BR2 = logits_BRV.softmax(-1).topk(2, dim=-1).values
        return best_BR2[..., 0] - best_BR2[..., 1]
    if config.remasking == "entropy":
        return -torch.special.entr(logits_BRV.softmax(-1)).sum(-1)
    return probability_BR


def probability(logits_BRV: Tensor, token_BR: Tensor) -> Tensor:
    """Probability of the tokens, [B, R], without the whole softmax."""
    chosen_BR = logits_BRV.gather(-1, token_BR[..., None])[..., 0]
    # In parts, since logsumexp takes as much memory again as what it is given.
    rows = max(1, _LARGEST_PART // logits_BRV.shape[-1])
    parts = [part.logsumexp(-1) for part in logits_BRV.flatten(0, 1).split(rows)]
    return (chosen_BR - torch.cat(parts).view_as(chosen_BR)).exp()


def filter_logits(logits_BRV: Tensor, top_p: float | None, top_k: int | None) -> Tensor:
    """Rule out the tokens outside the nucleus `top_p`, then those below the `top_k` likeliest."""
    if top_p is not None and top_p < 1:
        sorted_BRV, order_BRV = logits_BRV.sort(dim=-1, descending=True)
        probs_BRV = sorted_BRV.softmax(-1)
        # A token stays while those before it do not fill the nucleus; the first always stays.
        out_BRV = probs_BRV.cumsum(-1) - probs_BRV > top_p
        out_BRV = torch.zeros_like(out_BRV).scatter(-1, order_BRV, out_BRV)
        logits_BRV = logits_BRV.masked_fill(out_BRV, -torch.inf)
    if top_k is not None and top_k < logits_BRV.shape[-1]:
        floor_BR1 = logits_BRV.topk(top_k, dim=-1).values[..., -1:]
        logits_BRV = logits_BRV.masked_fill(logits_BRV < floor_BR1, -torch.inf)
    return logits_BRV


def sample(probs_BRV: Tensor, uniform_BR: Tensor) -> Tensor:
    """Tokens by inverse transform; the distribution of the published Gumbel-max, one draw each."""
    cumulative_BRV = probs_BRV.cumsum(-1)
    total_BR1 = cumulative_BRV[..., -1:]
    # Below the total, so that rounding never lands on a token without probability.
    target_BR1 = (uniform_BR[..., None] * total_BR1).minimum(
        torch.nextafter(total_BR1, torch.zeros_like(total_BR1))
    )
    return torch.searchsorted(cumulative_BRV, target_BR1, right=True)[..., 0]


_INT64_WRAP = 1 << 63


def _signed(constant: int) -> int:
    """A 64-bit constant as torch's signed integers write it."""
    return constant - 2 * _INT64_WRAP if constant >= _INT64_WRAP else constant


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX = ((30, _signed(0xBF58476D1CE4E5B9)), (27, _signed(0x94D049BB133111EB)), (31, 1))


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): each bit in decides every bit out."""
    for shift, factor in _MIX:
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x


def uniform(seed_B: Tensor, draw_B: Tensor, position_BR: Tensor) -> Tensor:
    """Numbers in [0, 1), [B, R]: a hash of seed, draw and position.

    So a position's draw depends neither on the rows beside it nor on what else is drawn for.

    Args:
        seed_B: A row's seed.
        draw_B: Which of the row's draws.
        position_BR: Canvas positions.
    """
    key_B = _mix(_mix(seed_B + _GOLDEN) + draw_B * _GOLDEN)
    bits_BR = _mix(key_B[:, None] + position_BR * _GOLDEN)
    return ((bits_BR >> 40) & 0xFFFFFF).float() / (1 << 24)


def gumbel(uniform_BR: Tensor) -> Tensor:
    """Gumbel noise: added to log-weights, the k largest are k draws without replacement."""
    tiny = torch.finfo(uniform_BR.dtype).tiny
    return -(-uniform_BR.clamp(min=tiny).log()).log()


def select(score_BR: Tensor, commits_B: Tensor) -> Tensor:
    """True at the `commits_B` best scores of each row, [B, R]; ties go to the leftmost."""
    order_BR = score_BR.argsort(dim=-1, descending=True, stable=True)
    rank_R = torch.arange(score_BR.shape[1], device=score_BR.device)
    return torch.zeros_like(score_BR, dtype=torch.bool).scatter(
        1, order_BR, rank_R < commits_B[:, None]
    )


def select_confident(
    score_BR: Tensor, threshold: float, ties: Literal["left", "together"]
) -> Tensor:
    """True at the scores that reach the threshold, [B, R], and at the best score of each row.

    Fast-dLLM's rule; with `ties="together"` dInfer's, where all that lie within 1e-5 of a best
    score below the threshold go with it.
    """
    if ties == "together":
        best_B1 = score_BR.amax(1, keepdim=True)
        return (score_BR >= (best_B1 - 1e-5).clamp(max=threshold)) & score_BR.isfinite()
    best_BR = select(score_BR, torch.ones(len(score_BR), device=score_BR.device))
    return (score_BR >= threshold) | best_BR


def select_by_factor(score_BR: Tensor, factor: float) -> Tensor:
    """True at the n best scores, for the largest n at which the n-th is >= 1 - factor / (n + 1).

    Fast-dLLM's rule, without its fault of committing the last position whatever its score; at
    least the best one.
    """
    rank_R = torch.arange(1, score_BR.shape[1] + 1, device=score_BR.device)
    sorted_BR = score_BR.sort(dim=1, descending=True).values
    reach_B = (sorted_BR >= 1 - factor / (rank_R + 1)).sum(1)
    return select(score_BR, reach_B.clamp(min=1))
