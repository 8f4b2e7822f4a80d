"""Hand over a state: the first steps commit the tokens of a draft instead of the model's own."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.decoding.commit_rules import by_schedule
from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.rule import Rule
from midspan.models.model import DiffusionLM


class Draft(Rule):
    """Anchoring at step t, the threat of Recovery Alignment: t steps write a draft.

    Then the model goes on. In each of these steps the draft's tokens replace the model's
    predictions, and the sampler's own share of them is committed: those in which the model has most
    confidence. With as many steps as tokens, t tokens of the draft stand after t steps, as
    published.

    Attributes:
        text: The draft, from canvas position 0 on. What lies behind the canvas is cut.
        steps: t.
    """

    rule: Literal["draft"] = "draft"
    text: str = Field(min_length=1)
    steps: int = Field(ge=1)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        return _Draft(lm.encode_phrase(self.text)[:length], self.steps)


class _Draft(Hook):
    def __init__(self, ids: list[int], steps: int) -> None:
        self._ids_D, self._steps = torch.tensor(ids), steps
        self._score_AR: Tensor | None = None

    def _drafted(self, view: View, position_AR: Tensor) -> Tensor:
        """True where the draft speaks, [A, R]."""
        early_A = torch.tensor([step < self._steps for step in view.step_A])
        inside_AR = (position_AR >= 0) & (position_AR < len(self._ids_D))
        return inside_AR & early_A.to(position_AR.device)[:, None]

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        drafted_AR = self._drafted(view, position_AR)
        ids_D = self._ids_D.to(position_AR.device)
        token_AR1 = ids_D[position_AR.clamp(0, len(ids_D) - 1)][..., None]
        own_AR1 = logits_ARV.gather(-1, token_AR1)
        self._score_AR = (own_AR1[..., 0] - logits_ARV.logsumexp(-1)).where(drafted_AR, -torch.inf)
        logits_ARV.masked_fill_(drafted_AR[..., None], -torch.inf)
        # A token that the sampler forbids has no finite logit, and may stand in a draft.
        kept_AR1 = own_AR1.clamp(min=torch.finfo(own_AR1.dtype).min)
        logits_ARV.scatter_(-1, token_AR1, kept_AR1.where(drafted_AR[..., None], own_AR1))

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        drafted_AR = self._drafted(view, proposal.position_AR) & proposal.open_AR
        assert self._score_AR is not None
        chosen_AR = by_schedule(self._score_AR, drafted_AR, proposal.commits_A)
        return torch.where(drafted_AR.any(1, keepdim=True), chosen_AR, proposal.chosen_AR)


RULE = Draft
