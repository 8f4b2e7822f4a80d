"""What monitors read of a step."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from midspan.decoding.hooks import View


def end_probability(
    view: View, position_AR: Tensor, logits_ARV: Tensor, stop: Sequence[int]
) -> Tensor:
    """Probability of all end tokens together at each row's leftmost masked position, [A]."""
    size = view.open_AL.shape[1]
    inside_AR = (position_AR >= 0) & (position_AR < size)
    open_AR = view.open_AL.gather(1, position_AR.clamp(0, size - 1)) & inside_AR
    first_A1 = position_AR.masked_fill(~open_AR, torch.iinfo(position_AR.dtype).max)
    first_A1 = first_A1.argmin(1, keepdim=True)
    index_A1V = first_A1[..., None].expand(-1, 1, logits_ARV.shape[-1])
    logits_AV = logits_ARV.gather(1, index_A1V)[:, 0]
    return logits_AV.softmax(-1)[:, list(stop)].sum(-1)


def about_to_end(
    view: View, position_AR: Tensor, logits_ARV: Tensor, stop: Sequence[int], limit: "EndLimit"
) -> list[int]:
    """Rows that are still early and whose leftmost masked position is likely an end token."""
    probability_A = end_probability(view, position_AR, logits_ARV, stop).tolist()
    return [
        row
        for row, probability in enumerate(probability_A)
        if view.step_A[row] < limit.steps and probability > limit.threshold
    ]


class EndLimit(Protocol):
    """When an end is likely: above `threshold`, in the first `steps` steps."""

    @property
    def threshold(self) -> float:
        """Probability of all end tokens together."""

    @property
    def steps(self) -> int:
        """Steps that are early."""
