"""Layers between the last hidden states and the output layer."""

from torch import Tensor


class PredictionHeadMixin:
    """Model with layers of its own between the last hidden states and the output layer."""

    def output_states(self, hidden_BQD: Tensor) -> Tensor:
        """What the output layer takes, [B, Q, D]."""
        raise NotImplementedError
