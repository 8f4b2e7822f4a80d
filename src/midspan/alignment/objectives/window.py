"""What objectives share that reward a refusal somewhere in a window of the response.

Shapes: B rows, H harmful rows, N benign ones, L response positions, P tokens of a phrase.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from midspan.alignment.objectives.base import (
    Ids,
    Objective,
    SampleLosses,
    TrainingSample,
    merged,
    split,
)  # fmt: skip
from midspan.alignment.objectives.blocks import block_terms, is_in_blocks
from midspan.alignment.scores import ResponseStates


class WindowObjective(Objective):
    """A reward on harmful prompts, a KL to the reference on them and on benign ones.

    Attributes:
        window: First and last start position of the safe and harmful phrases, both included.
        overflow: "allow": a phrase may run past the window's end, as Algorithm 1 is printed;
            "forbid": it must end inside, as the paper's text says.
        beta: Weight of KL(policy || reference) on harmful prompts.
        negative_weight: Weight of what is to become unlikely; the paper's is 1.
        negative_floor: Nats per token below which what is to become unlikely is clamped and
            gives no gradient; the paper has no floor.
        benign_weight: Weight of the KL to the reference on benign prompts; the paper has none.
    """

    window: tuple[int, int] = (20, 60)
    overflow: Literal["allow", "forbid"] = "allow"
    beta: float = Field(0.05, ge=0)
    negative_weight: float = Field(1.0, ge=0)
    negative_floor: float | None = Field(None, lt=0)

    @model_validator(mode="after")
    def _window_is_ordered(self) -> Self:
        first, last = self.window
        if not 0 <= first <= last:
            raise ValueError(f"window must satisfy 0 <= first <= last, not {first}, {last}")
        return self

    @property
    def uses_reference(self) -> bool:
        """Both KL terms compare with it."""
        return self.beta > 0 or self.benign_weight > 0

    @property
    def latest_start(self) -> int:
        """The window's."""
        return self.window[1]

    def check_phrase(self, phrase: Ids, length: int) -> str | None:
        """A phrase must fit behind the window's first start."""
        first, last = self.window
        limit = last + 1 if self.overflow == "forbid" else length
        if first + len(phrase) <= limit:
            return None
        return (
            f"has {len(phrase)} tokens and does not fit behind the window's start {first} "
            f"(limit {limit}); shorten it or widen objective.window"
        )

    def losses(self, states: ResponseStates, samples: Sequence[TrainingSample]) -> SampleLosses:
        """Minus the objective on harmful rows, the KL to the reference on benign ones."""
        if is_in_blocks(samples):
            return self._block_losses(states, samples)
        harmful, benign = split(samples)
        parts: list[tuple[Sequence[int], Tensor]] = []
        metrics: dict[str, Tensor] = {}
        if harmful:
            loss_H, metrics = self.harmful_losses(states, samples, harmful)
            parts.append((harmful, loss_H))
        if benign:
            loss_N, kept = self.benign_losses(states, samples, benign)
            metrics |= kept
            parts.append((benign, loss_N))
        return SampleLosses(merged(len(samples), parts), metrics)

    def benign_losses(
        self, states: ResponseStates, samples: Sequence[TrainingSample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses [N] of the benign samples at ``rows``, and their metrics."""
        kl_N = self.benign_kl(states, rows)
        return self.benign_weight * kl_N, {"kl_benign": kl_N}

    def answers_needed(self, *, in_blocks: bool) -> tuple[bool, bool]:
        """In blocks every canvas stands behind a part of an answer."""
        return (True, self.benign_weight > 0) if in_blocks else self.needs_answers

    def _block_losses(
        self, states: ResponseStates, samples: Sequence[TrainingSample]
    ) -> SampleLosses:
        """The same objective where a model decodes block after block."""
        scaled = self.kl_reduction == "sum"
        terms = block_terms(states, samples, kl=self.uses_reference, scaled=scaled)
        harmful, benign = split(samples)
        negative_S = terms.harmful_S
        if self.negative_floor is not None:
            negative_S = torch.maximum(negative_S, self.negative_floor * terms.harmful_size_S)
        loss_S = self.beta * terms.kl_S - terms.safe_S + self.negative_weight * negative_S
        is_benign_S = torch.tensor([not sample.harmful for sample in samples], device=loss_S.device)
        metrics = {
            "reward": terms.safe_S - terms.harmful_S, "reward_safe": terms.safe_S,
            "reward_harmful": terms.harmful_S, "kl_harmful": terms.kl_S,
        }  # fmt: skip
        metrics = {name: values_S[harmful] for name, values_S in metrics.items() if harmful}
        metrics |= {"kl_benign": terms.kl_S[benign]} if benign else {}
        return SampleLosses(
            torch.where(is_benign_S, self.benign_weight * terms.kl_S, loss_S), metrics
        )

    @abstractmethod
    def harmful_losses(
        self, states: ResponseStates, samples: Sequence[TrainingSample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses [H] of the harmful samples at ``rows``, one canvas each, and their metrics."""


def allowed_starts(
    phrases: Sequence[Ids], masked_HL: Tensor, window_H2: Tensor, overflow: str
) -> Tensor:
    """Starts [H, L] inside each row's window at which the whole phrase stands on masked positions.

    Args:
        phrases: One a row.
        masked_HL: Positions that the model has to predict.
        window_H2: First and last start of each row.
        overflow: "allow" lets a phrase run past the window's end, never past the canvas.
    """
    length = masked_HL.shape[1]
    size_H1 = torch.tensor([[len(phrase)] for phrase in phrases], device=masked_HL.device)
    start_L = torch.arange(length, device=masked_HL.device)
    end_HL = start_L + size_H1 - 1
    last_H1 = window_H2[:, 1:] if overflow == "forbid" else torch.full_like(size_H1, length - 1)
    inside_HL = (start_L >= window_H2[:, :1]) & (start_L <= window_H2[:, 1:]) & (end_HL <= last_H1)
    revealed_HL = (~masked_HL).cumsum(1)
    before_HL = revealed_HL - (~masked_HL).long()
    through_HL = revealed_HL.gather(1, end_HL.clamp(max=length - 1))
    return inside_HL & (through_HL == before_HL)
