"""Commit refusal tokens that persist in the first steps (RAEC's idea)."""

from collections import Counter
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._places import first_tokens
from midspan.models.model import DiffusionLM


class EarlyCommit(Rule):
    """Where refusal tokens are predicted in several early steps, they are committed at once.

    After RAEC, of which the abstract alone could be read: tokens, persistence and steps are ours.

    Attributes:
        texts: The first token of each tells a refusal.
        persistence: Steps in a row in which one must be predicted somewhere in the block.
        steps: In the first so many steps.
    """

    rule: Literal["early_commit"] = "early_commit"
    texts: tuple[str, ...] = Field(("sorry", "cannot", "can't", "unable"), min_length=1)
    persistence: int = Field(3, ge=1)
    steps: int = Field(16, ge=1)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        return _EarlyCommit(self, first_tokens(lm, self.texts))


class _EarlyCommit(Hook):
    def __init__(self, rule: EarlyCommit, tokens: list[int]) -> None:
        self._rule, self._tokens = rule, tokens
        self._seen: Counter[int] = Counter()

    def on_canvas(self, view: View) -> None:
        for request in view.requests:
            del self._seen[request]

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        token_AR = proposal.candidates.token_AR
        wanted_N = torch.tensor(self._tokens, device=token_AR.device)
        refusing_AR = torch.isin(token_AR, wanted_N) & proposal.open_AR
        chosen_AR = proposal.chosen_AR.clone()
        for row, request in enumerate(view.requests):
            is_seen = bool(refusing_AR[row].any()) and view.step_A[row] < self._rule.steps
            self._seen[request] = self._seen[request] + 1 if is_seen else 0
            if self._seen[request] >= self._rule.persistence:
                chosen_AR[row] |= refusing_AR[row]
        return chosen_AR


RULE = EarlyCommit
