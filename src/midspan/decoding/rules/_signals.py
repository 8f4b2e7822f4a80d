"""When a row is about to end."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from midspan.decoding.hooks import View
from midspan.decoding.signals import end_probability


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
