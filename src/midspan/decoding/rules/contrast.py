"""Guide decoding by what the model would say to another prompt."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM


class Contrast(Rule):
    """Logits l + w * (l - o), with o those of the same canvas behind another prompt.

    Above 0 it leads away from the other prompt's answer, below 0 towards it. It costs a forward
    more at each step.

    Attributes:
        prompt: The other prompt, a user's text.
        weight: w.
    """

    rule: Literal["contrast"] = "contrast"
    prompt: str
    weight: float = Field(1.0, allow_inf_nan=False)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        if lm.family.attention != "full":
            raise MidspanError(
                f"rules.contrast: is for full attention, and that of family {lm.family.name} is "
                "block-causal: blocks would begin elsewhere behind another prompt"
            )
        ids = lm.encode_chat(self.prompt)
        if len(ids) + length > lm.max_length:
            raise MidspanError(
                f"rules.contrast.prompt: {len(ids)} tokens and a canvas of {length} exceed the "
                f"model's {lm.max_length}; shorten it"
            )
        return _Contrast(lm, ids, self.weight)


class _Contrast(Hook):
    def __init__(self, lm: DiffusionLM, prompt_ids: list[int], weight: float) -> None:
        self._lm, self._prompt_P, self._weight = lm, torch.tensor(prompt_ids), weight

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        tokens_AL = view.tokens_AL
        prompt_AP = self._prompt_P.to(tokens_AL.device).expand(len(tokens_AL), -1)
        ids_AT = torch.cat([prompt_AP, tokens_AL], 1)
        rows_AR = prompt_AP.shape[1] + position_AR
        other_ARV = self._lm.logits(ids_AT, rows=rows_AR).float().to(logits_ARV.device)
        guided_ARV = logits_ARV + self._weight * (logits_ARV - other_ARV)
        # What is forbidden stays so: minus infinity minus a number has no other value.
        logits_ARV.copy_(guided_ARV.where(logits_ARV > -torch.inf, -torch.inf))
        for row in range(len(view.requests)):
            view.spend(row, 1)


RULE = Contrast
