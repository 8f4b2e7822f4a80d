"""Commit positions in an order of one's own instead of by confidence."""

from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from midspan.decoding.commit_rules import by_schedule
from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._places import Positions, check_positions
from midspan.models.model import DiffusionLM


class Order(Rule):
    """A commit order, within each block; as many positions a step as the schedule says.

    Attributes:
        by: "left" or "right" first (DIJA's forward and backward), or "given".
        positions: With "given", these first, in this order; then the others from the left.
    """

    rule: Literal["order"] = "order"
    by: Literal["left", "right", "given"] = "left"
    positions: Positions = ()

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        if bool(self.positions) != (self.by == "given"):
            raise ValueError("positions: give them with by: given, and only there")
        return self

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        check_positions(self.rule, self.positions, length)
        first = list(dict.fromkeys(self.positions))
        ranked = [*first, *(position for position in range(length) if position not in first)]
        return _Order(ranked[::-1] if self.by == "right" else ranked)


class _Order(Hook):
    def __init__(self, ranked: list[int]) -> None:
        self._score_L = torch.empty(len(ranked))
        self._score_L[ranked] = -torch.arange(len(ranked), dtype=torch.float)

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        # The last block's positions behind the canvas come last.
        position_AR = proposal.position_AR.cpu()
        last = len(self._score_L) - 1
        inside_AR = (position_AR >= 0) & (position_AR <= last)
        score_AR = self._score_L[position_AR.clamp(0, last)]
        score_AR = score_AR.where(inside_AR, -last - 1.0 - position_AR)
        score_AR = score_AR.to(proposal.open_AR.device)
        return by_schedule(score_AR, proposal.open_AR, proposal.commits_A)


RULE = Order
