"""A model that is nothing but its trunk's weights: what decoding needs where nothing else is asked.

It has no modules, so nothing can be hooked, trained or adapted; `loading.load` gives the native
class for that. Its results are the native class's, to the last bit.
Shapes: B rows, Q positions, D hidden width, V vocabulary, E head width.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from midspan.models.trunk_parts import Trunk


@dataclass(frozen=True)
class BareConfig:
    """What of a config decoding asks for, under transformers' names."""

    model_type: str
    num_hidden_layers: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int
    rope_parameters: dict[str, Any]
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    mask_token_id: int | None
    _attn_implementation: str = "sdpa"

    def get_text_config(self) -> "BareConfig":
        """Itself: there is no other part."""
        return self


class Heads(NamedTuple):
    """What attention asks a layer; keys and values have as many heads as queries."""

    head_dim: int
    scaling: float
    num_key_value_groups: int = 1


class Rotary(nn.Module):
    """Llama's cosines and sines in single precision.

    Args:
        width: Of a head, E.
        theta: The base of the frequencies.
    """

    inv_freq: Tensor

    def __init__(self, width: int, theta: float) -> None:
        super().__init__()
        exponents = torch.arange(0, width, 2, dtype=torch.float) / width
        self.register_buffer("inv_freq", 1.0 / (theta**exponents), persistent=False)

    def forward(self, states: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, [B, Q, E]; the states do not matter."""
        angles_BQE = (position_ids[..., None].float() * self.inv_freq).repeat(1, 1, 2)
        return angles_BQE.cos(), angles_BQE.sin()


@dataclass(frozen=True, eq=False)
class BareModel:
    """A trunk between an embedding and a head."""

    config: BareConfig
    trunk: Trunk
    embedding: nn.Embedding
    lm_head: nn.Linear

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return self.lm_head.weight.dtype

    def get_input_embeddings(self) -> nn.Embedding:
        """See transformers' method."""
        return self.embedding

    def get_output_embeddings(self) -> nn.Linear:
        """See transformers' method."""
        return self.lm_head
