"""The attention mask of block diffusion: bidirectional within a block, causal between blocks.

Shapes: B rows, K keys (everything seen so far), Q queries (the last of them).
"""

from typing import Any

import torch
from torch import Tensor

from midspan.errors import MidspanError

# Implementations that take a mask of any shape: of booleans, and of what is added to scores.
MASKED = _BOOLEAN, _ADDITIVE = "sdpa", "eager"


def block_causal_mask(
    real_BK: Tensor,
    block_length: int,
    queries: int | Tensor | None = None,
    border: int | Tensor | None = None,
) -> Tensor:
    """Which keys each query sees, [B, 1, Q, K], True where it does.

    Blocks count from each row's first real token, prompt and canvas alike, or to both sides of a
    border; either way a padded row sees what the same row sees alone. Padding is seen by nobody and
    sees only itself: a softmax over nothing is not a number.

    Args:
        real_BK: 1 at real positions, 0 at padding.
        block_length: Tokens of a block.
        queries: Q, where these are the last keys and a cache holds those before; or the queries'
            columns, [B, Q], which may lie behind all keys; by default all positions are queries.
        border: The column at which a block begins, [B] where rows differ.
    """
    key_K = torch.arange(real_BK.shape[1], device=real_BK.device)
    position_BK = real_BK.long().cumsum(-1) - 1
    if border is not None:
        position_BK = key_K - torch.as_tensor(border, device=real_BK.device).view(-1, 1)
    real_BK = real_BK.bool()
    if isinstance(queries, Tensor):
        # Every column has a position, as far behind the first key as it lies.
        query_BQ = queries
        position_BQ = query_BQ + position_BK[:, -1:] - key_K[-1]
        real_BQ = query_BQ >= real_BK.int().argmax(1, keepdim=True)
    else:
        count = len(key_K) if queries is None else queries
        query_BQ = key_K[None, -count:]
        position_BQ, real_BQ = position_BK[:, -count:], real_BK[:, -count:]
    block_BK, block_BQ = (
        position.div(block_length, rounding_mode="floor") for position in (position_BK, position_BQ)
    )
    seen_BQK = block_BK[:, None, :] <= block_BQ[..., None]
    seen_BQK = seen_BQK & real_BQ[..., None] & real_BK[:, None, :]
    return (seen_BQK | (key_K == query_BQ[..., None]))[:, None]


def block_attention(
    model: Any,
    real_BK: Tensor,
    block_length: int,
    queries: int | Tensor | None = None,
    border: int | Tensor | None = None,
) -> Tensor:
    """`block_causal_mask` in the form that the model's attention implementation takes."""
    return for_attention(block_causal_mask(real_BK, block_length, queries, border), model)


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
