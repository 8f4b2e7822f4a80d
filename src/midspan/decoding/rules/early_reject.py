"""Reject a request whose response would begin by ending (A2D's early rejection)."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._signals import about_to_end
from midspan.models.model import DiffusionLM


class EarlyReject(Rule):
    """Reject where the end tokens are likely at the leftmost masked position.

    A2D's paper; its code was not published. The model must have been trained to answer harmful
    requests with end tokens. A sampler under which end tokens are forbidden blinds it.

    Attributes:
        threshold: Reject above this probability of all end tokens together.
        steps: In the first so many steps.
    """

    rule: Literal["early_reject"] = "early_reject"
    threshold: float = Field(0.9, gt=0, lt=1)
    steps: int = Field(1, ge=1)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        return _EarlyReject(self, sorted(lm.tokens.stop))


class _EarlyReject(Hook):
    def __init__(self, rule: EarlyReject, stop: list[int]) -> None:
        self._rule, self._stop = rule, stop

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        for row in about_to_end(view, position_AR, logits_ARV, self._stop, self._rule):
            view.reject(row, self._rule.rule)


RULE = EarlyReject
