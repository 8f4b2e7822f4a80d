"""Allow nothing but some tokens at some positions."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._places import Positions, all_tokens, check_positions, is_at
from midspan.models.model import DiffusionLM


class Allow(Rule):
    """Limit positions to the tokens of some texts; ours. Several of one position intersect.

    Attributes:
        texts: Their tokens are allowed, with and without a space in front.
        positions: Where.
    """

    rule: Literal["allow"] = "allow"
    texts: tuple[str, ...] = Field(min_length=1)
    positions: Positions = Field(min_length=1)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        check_positions(self.rule, self.positions, length)
        return _Allow(all_tokens(lm, self.texts), self.positions)


class _Allow(Hook):
    def __init__(self, tokens: list[int], positions: tuple[int, ...]) -> None:
        self._tokens, self._positions = tokens, positions

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        allowed_V = torch.zeros(logits_ARV.shape[-1], dtype=torch.bool, device=logits_ARV.device)
        allowed_V[self._tokens] = True
        banned_ARV = is_at(position_AR, self._positions)[..., None] & ~allowed_V
        logits_ARV.masked_fill_(banned_ARV, -torch.inf)


RULE = Allow
