"""Which open positions a step commits: functions of scores, open positions and counts.

Shapes: A rows, R positions of a row.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from midspan.decoding.config import DecodingConfig

# From scores [A, R], open positions [A, R] and the schedule's counts [A] to what is committed.
CommitRule = Callable[[Tensor, Tensor, Tensor], Tensor]


def commit_rule(config: DecodingConfig) -> CommitRule:
    """The rule that the config asks for."""
    if config.factor is not None:
        return partial(by_factor, factor=config.factor)
    if config.doubt is not None:
        return partial(by_doubt, doubt=config.doubt)
    if config.threshold is None:
        return by_schedule
    if config.sampler == "block":
        return partial(by_schedule_or_threshold, threshold=config.threshold)
    return partial(by_threshold, threshold=config.threshold, ties=config.ties)


def by_schedule(score_AR: Tensor, open_AR: Tensor, commits_A: Tensor) -> Tensor:
    """As many of the best as the schedule says; ties go to the leftmost."""
    return best(open_scores(score_AR, open_AR), commits_A) & open_AR


def by_threshold(
    score_AR: Tensor,
    open_AR: Tensor,
    commits_A: Tensor,
    *,
    threshold: float,
    ties: Literal["left", "together"],
) -> Tensor:
    """All that reach the threshold, and the best of each row; the schedule has no say.

    Fast-dLLM's rule; with `ties="together"` dInfer's, where all that lie within 1e-5 of a best
    score below the threshold go with it.
    """
    score_AR = open_scores(score_AR, open_AR)
    if ties == "together":
        best_A1 = score_AR.amax(1, keepdim=True)
        return (score_AR >= (best_A1 - 1e-5).clamp(max=threshold)) & open_AR
    position_R = torch.arange(score_AR.shape[1], device=score_AR.device)
    is_best_AR = position_R == score_AR.argmax(1, keepdim=True)
    return ((score_AR >= threshold) | is_best_AR) & open_AR


def by_factor(score_AR: Tensor, open_AR: Tensor, commits_A: Tensor, *, factor: float) -> Tensor:
    """The n best, for the largest n at which the n-th score is >= 1 - factor / (n + 1).

    Fast-dLLM's rule, without its fault of committing the last position whatever its score; at
    least the best one. The schedule has no say.
    """
    score_AR = open_scores(score_AR, open_AR)
    rank_R = torch.arange(1, score_AR.shape[1] + 1, device=score_AR.device)
    sorted_AR = score_AR.sort(dim=1, descending=True).values
    reach_A = (sorted_AR >= 1 - factor / (rank_R + 1)).sum(1)
    return best(score_AR, reach_A.clamp(min=1)) & open_AR


def by_doubt(score_AR: Tensor, open_AR: Tensor, commits_A: Tensor, *, doubt: float) -> Tensor:
    """The n best, for the largest n at which the doubts of those before the n-th sum to `doubt`.

    A doubt is 1 - score. By the union bound the tokens before the last are all the likeliest ones
    with a probability of 1 - doubt, however they depend on each other; the last one costs nothing,
    as a step's only token costs nothing. With entropies this is EB-Sampler's rule (Ben-Hamu et al.
    2025), whose sum leaves out the largest one too. The schedule has no say.
    """
    score_AR = open_scores(score_AR, open_AR)
    doubt_AR = 1 - score_AR.sort(dim=1, descending=True).values
    before_AR = doubt_AR.cumsum(1) - doubt_AR
    return best(score_AR, (before_AR <= doubt).sum(1)) & open_AR


def by_schedule_or_threshold(
    score_AR: Tensor, open_AR: Tensor, commits_A: Tensor, *, threshold: float
) -> Tensor:
    """All above the threshold where these are no fewer than the schedule says (LLaDA2, SDAR)."""
    above_AR = open_scores(score_AR, open_AR) > threshold
    enough_A1 = above_AR.sum(1, keepdim=True) >= commits_A[:, None]
    return torch.where(enough_A1, above_AR, by_schedule(score_AR, open_AR, commits_A))


def open_scores(score_AR: Tensor, open_AR: Tensor) -> Tensor:
    """Scores of the open positions, minus infinity elsewhere, [A, R]."""
    return score_AR.masked_fill(~open_AR, -torch.inf)


def best(score_AR: Tensor, count_A: Tensor) -> Tensor:
    """True at the `count_A` best scores of each row, [A, R]; ties go to the leftmost."""
    order_AR = score_AR.argsort(dim=-1, descending=True, stable=True)
    rank_R = torch.arange(score_AR.shape[1], device=score_AR.device)
    return torch.zeros_like(score_AR, dtype=torch.bool).scatter(
        1, order_AR, rank_R < count_A[:, None]
    )
