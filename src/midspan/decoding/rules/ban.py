"""Ban tokens, everywhere or at some positions."""

from typing import Literal

import torch
from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._places import Positions, check_positions, first_tokens, is_at
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM


class Ban(Rule):
    """Texts that the model may not begin; ours.

    Attributes:
        texts: The first token of each is banned, with and without a space in front.
        end: Ban the tokens that end a response, as A2D's evaluation does against models that
            answer with them.
        positions: Where; None for everywhere.
    """

    rule: Literal["ban"] = "ban"
    texts: tuple[str, ...] = ()
    end: bool = False
    positions: Positions | None = None

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        check_positions(self.rule, self.positions or (), length)
        tokens = [*first_tokens(lm, self.texts), *(sorted(lm.tokens.stop) if self.end else ())]
        if not tokens:
            raise MidspanError("rules.ban: bans nothing; give texts, or end: true")
        return _Ban(tokens, self.positions)


class _Ban(Hook):
    def __init__(self, tokens: list[int], positions: tuple[int, ...] | None) -> None:
        self._tokens, self._positions = tokens, positions

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        hidden_AR1 = is_at(position_AR, self._positions)[..., None]
        banned_ARN = logits_ARV[..., self._tokens].masked_fill(hidden_AR1, -torch.inf)
        logits_ARV[..., self._tokens] = banned_ARN


RULE = Ban
