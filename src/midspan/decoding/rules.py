"""The built-in rules of which positions a step commits, as hooks."""

from typing import Literal

import torch
from torch import Tensor

from midspan.decoding.choice import select, select_by_factor, select_confident
from midspan.decoding.config import DecodingConfig
from midspan.decoding.hooks import Hook, Proposal, View


def rule_for(config: DecodingConfig) -> Hook:
    """The rule that the config asks for."""
    if config.threshold is None:
        return Scheduled() if config.factor is None else ByFactor(config.factor)
    if config.sampler == "block":
        return ScheduledOrConfident(config.threshold)
    return Confident(config.threshold, config.ties)


def open_scores(proposal: Proposal) -> Tensor:
    """Scores of the open positions, minus infinity elsewhere, [A, R]."""
    return proposal.choice.score_BR.masked_fill(~proposal.open_AR, -torch.inf)


class Scheduled(Hook):
    """As many of the best as the schedule says."""

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        """See `Hook`."""
        return select(open_scores(proposal), proposal.commits_A) & proposal.open_AR


class Confident(Hook):
    """All that reach the threshold, and at least one (Fast-dLLM, dInfer)."""

    def __init__(self, threshold: float, ties: Literal["left", "together"]) -> None:
        self.threshold, self.ties = threshold, ties

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        """See `Hook`."""
        scores_AR = open_scores(proposal)
        return select_confident(scores_AR, self.threshold, self.ties) & proposal.open_AR


class ByFactor(Hook):
    """The more, the more confident they are (Fast-dLLM)."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        """See `Hook`."""
        return select_by_factor(open_scores(proposal), self.factor) & proposal.open_AR


class ScheduledOrConfident(Hook):
    """All above the threshold where these are no fewer than the schedule says (LLaDA2, SDAR)."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        """See `Hook`."""
        scores_AR = open_scores(proposal)
        above_AR = scores_AR > self.threshold
        enough_A1 = above_AR.sum(1, keepdim=True) >= proposal.commits_A[:, None]
        scheduled_AR = select(scores_AR, proposal.commits_A) & proposal.open_AR
        return torch.where(enough_A1, above_AR, scheduled_AR)
