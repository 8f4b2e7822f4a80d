"""The attention mask of block diffusion: bidirectional within a block, causal between blocks.

Shapes: B rows, K keys (everything seen so far), Q queries (the last of them).
"""

from typing import Any

import torch
from torch import Tensor

from midspan.errors import MidspanError

_BOOLEAN, _ADDITIVE = "sdpa", "eager"


def block_causal_mask(
    real_BK: Tensor,
    block_length: int,
    num_queries: int | None = None,
    border: int | Tensor | None = None,
) -> Tensor:
    """Which keys each query sees, [B, 1, Q, K], True where it does.

    Blocks count from each row's first real token, prompt and canvas alike, or to both sides of a
    border; either way a padded row sees what the same row sees alone. Padding is seen by nobody and
    sees only itself: a softmax over nothing is not a number.

    Args:
        real_BK: 1 at real positions, 0 at padding.
        block_length: Tokens of a block.
        num_queries: Q, where a cache holds the keys before; by default all positions are queries.
        border: The column at which a block begins, [B] where rows differ.
    """
    num_keys = real_BK.shape[1]
    first = num_keys - (num_keys if num_queries is None else num_queries)
    key_K = torch.arange(num_keys, device=real_BK.device)
    position_BK = real_BK.long().cumsum(-1) - 1
    if border is not None:
        position_BK = key_K - torch.as_tensor(border, device=real_BK.device).view(-1, 1)
    block_BK = position_BK.div(block_length, rounding_mode="floor")
    seen_BQK = block_BK[:, None, :] <= block_BK[:, first:, None]
    itself_QK = key_K[first:, None] == key_K
    return ((seen_BQK & real_BK.bool()[:, None, :]) | itself_QK)[:, None]


def block_attention(
    model: Any,
    real_BK: Tensor,
    block_length: int,
    num_queries: int | None = None,
    border: int | Tensor | None = None,
) -> Tensor:
    """`block_causal_mask` in the form that the model's attention implementation takes."""
    return for_attention(block_causal_mask(real_BK, block_length, num_queries, border), model)


def for_attention(allowed: Tensor, model: Any) -> Tensor:
    """A boolean mask in the form that the model's attention implementation takes.

    Raises:
        MidspanError: If the implementation takes no mask of this shape.
    """
    implementation = model.config._attn_implementation
    if implementation == _BOOLEAN:
        return allowed
    if implementation == _ADDITIVE:
        added = torch.zeros_like(allowed, dtype=model.dtype)
        return added.masked_fill(~allowed, torch.finfo(model.dtype).min)
    raise MidspanError(
        f"attention implementation {implementation!r} takes no block-causal mask; use "
        f"{_BOOLEAN} or {_ADDITIVE}"
    )
