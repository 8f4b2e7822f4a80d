"""The module that training wraps: one forward pass from samples to losses.

Everything that touches a weight happens inside ``forward``, so wrappers that gather weights or
gradients around it (DDP, FSDP2) see all of it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from midspan.alignment.objectives import Objective, SampleLosses, TrainingSample
from midspan.alignment.scores import ResponseStates
from midspan.models import DiffusionLM
from midspan.models.padding import left_padded


class Policy(nn.Module):
    """A model with an adapter; the reference is the same weights with the adapter off."""

    def __init__(self, lm: DiffusionLM, objective: Objective) -> None:
        super().__init__()
        self.network = lm.model
        self.lm = lm
        self.objective = objective
        # What accelerate shards by.
        self._no_split_modules = lm.base._no_split_modules

    @property
    def device(self) -> torch.device:
        """Where the inputs are wanted."""
        return self.lm.device

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """Recompute each layer in the backward pass."""
        self.lm.base.activation_checkpointing_enable(**options)

    def forward(self, batch: dict[str, Any], objective: Objective | None = None) -> SampleLosses:
        """Losses of a collated batch, under another objective where one is given.

        One pass with the adapter on, and one with it off if needed.
        """
        objective = objective or self.objective
        return objective.losses(self._states(batch, objective), batch["samples"])

    def _states(self, batch: dict[str, Any], objective: Objective) -> ResponseStates:
        """Hidden states of policy and reference at the response.

        The policy comes first: FSDP2 remembers of each weight's first use whether it is trained,
        and PEFT freezes an adapter while it is off.
        """
        policy_BLD = self._response(batch)
        reference_BLD = None
        if objective.uses_reference:
            with torch.no_grad(), self.lm.adapter_disabled():
                reference_BLD = self._response(batch)
        head = self.lm.base.lm_head
        head_VD, bias_V = head.weight, getattr(head, "bias", None)
        if bias_V is not None:
            # A bias is the weight of a state that is always 1.
            head_VD = torch.cat([head_VD, bias_V[:, None]], 1)
            policy_BLD = F.pad(policy_BLD, (0, 1), value=1.0)
            reference_BLD = (
                None if reference_BLD is None else F.pad(reference_BLD, (0, 1), value=1.0)
            )
        return ResponseStates(
            policy_BLD,
            reference_BLD,
            head_VD,
            batch["masked"],
            objective.kl_direction,
        )

    def _response(self, batch: dict[str, Any]) -> Tensor:
        length = batch["masked"].shape[1]
        ids_BT = batch["input_ids"]
        hidden_BTD = self.lm.hidden(
            ids_BT, batch["attention_mask"], canvas=ids_BT.shape[1] - length
        )
        # With a logit shift, position i is predicted by the state at i - 1.
        last = hidden_BTD.shape[1] - int(self.lm.family.logit_shift)
        return hidden_BTD[:, last - length : last]


class Collator:
    """Samples to one left-padded batch of their canvases."""

    def __init__(self, lm: DiffusionLM) -> None:
        assert lm.tokens.mask is not None
        self.mask = lm.tokens.mask
        self.pad = lm.tokens.pad

    def __call__(self, samples: Sequence[TrainingSample]) -> dict[str, Any]:
        """``input_ids`` and ``attention_mask`` [B, T], ``masked`` [B, L], and the samples."""
        canvases = [canvas for sample in samples for canvas in sample.canvases]
        rows = [(*canvas.prompt_ids, *canvas.response_ids) for canvas in canvases]
        ids_BT, attention_BT = left_padded(rows, self.pad)
        response_BL = torch.tensor([canvas.response_ids for canvas in canvases])
        return {
            "input_ids": ids_BT,
            "attention_mask": torch.ones_like(ids_BT) if attention_BT is None else attention_BT,
            "masked": response_BL == self.mask,
            "samples": list(samples),
        }
