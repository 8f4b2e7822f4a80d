"""Layers of published models that transformers' classes compute otherwise in half precision."""

from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
    eager_attention_forward,
)
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm


class PreciseRotaryEmbedding(LlamaRotaryEmbedding):
    """Llama's cosines and sines, in single precision whatever the model's."""

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, [B, T, head size].

        Args:
            x: Any tensor on the wanted device; its number format does not matter.
            position_ids: Positions, [B, T].
        """
        return super().forward(x.new_empty(0, dtype=torch.float32), position_ids)


class PreciseRotaryAttention(LlamaAttention):
    """Llama's attention with queries and keys rotated in single precision, then rounded."""

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """See `LlamaAttention`; the position embeddings are `PreciseRotaryEmbedding`'s."""
        query, key, value = (
            projection(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        rotated = apply_rotary_pos_emb(query, key, *position_embeddings)
        query, key = (states.to(value.dtype) for states in rotated)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        dropout = self.attention_dropout if self.training else 0.0
        options = {"dropout": dropout, "scaling": self.scaling, **kwargs}
        output, weights = attend(self, query, key, value, attention_mask, **options)
        return self.o_proj(output.flatten(2)), weights


class OnceRoundedRMSNorm(Qwen3RMSNorm):
    """Qwen3's norm, rounded after its weight instead of before, as flash-attn's kernel does it."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """States of the same shape and number format, normalised over the last dimension."""
        states = hidden_states.to(torch.float32)
        scale = torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (states * scale * self.weight).to(hidden_states.dtype)
