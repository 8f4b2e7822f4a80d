"""The trunk of Llama's and Qwen's shapes as bare tensor operations, for inference.

transformers' modules spend a quarter of a small forward outside of products: in calls of modules
and decorators, masks of every layer, memory for what lives for one operation. Here the same
operations run on the same weights in the same layout, so that results are equal to the last bit.
What a module has beyond its published computation (hooks, another attention, compiled parts) makes
the trunk unknown, and the module runs; a linear layer that is not known (quantised, DoRA) is called
as it is.
Shapes: B rows, Q positions of a forward, K keys, D hidden width, H heads, E head width.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

from midspan.models.bare import BareModel
from midspan.models.trunk_parts import Layer, Norm, Projection, Trunk

# Rotations that are kept of a model.
_KEPT = 4


def lean_states(
    base: Any,
    input_ids_BQ: Tensor,
    mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    cache: Any = None,
) -> Tensor | None:
    """What ``base.model(...)`` gives as its last hidden state, [B, Q, D]; None where not known.

    Args:
        base: A native model of `midspan.models`.
        input_ids_BQ: Token ids.
        mask: 1 at real keys, [B, K], or True where a query sees a key, [B, 1, Q, K].
        position_ids: [1 or B, Q]; None for 0, 1, 2, ...
        cache: A transformers `Cache`, where keys and values are kept.
    """
    device = input_ids_BQ.device
    is_bare = isinstance(base, BareModel)
    # A bare model has no module to leave these to.
    if not is_bare and (torch.is_grad_enabled() or is_autocast(device)):
        return None
    length = input_ids_BQ.shape[1]
    if not is_bare and cache is not None and mask is not None and mask.ndim == 2:
        keys, offset = cache.get_mask_sizes(length, 0)
        if offset or mask.shape[1] != keys:
            return None
    trunk = trunk_of(base)
    if trunk is None:
        return None
    states_BQD = embedding(input_ids_BQ, trunk.embedding)
    turns = _turns(trunk.rotary, states_BQD, position_ids)
    return run_layers(trunk, states_BQD, turns, additive(mask, states_BQD), cache)


def trunk_of(base: Any) -> Trunk | None:
    """A model's trunk: its own where it is nothing else, or what is read from its modules."""
    if isinstance(base, BareModel):
        return base.trunk
    from midspan.models.trunk_weights import read_trunk

    return read_trunk(base)


def is_autocast(device: torch.device) -> bool:
    """Whether products on a device choose their number format themselves."""
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def run_layers(
    trunk: Trunk, states_BQD: Tensor, turns: tuple[Tensor, Tensor], seen: Tensor | None, cache: Any
) -> Tensor:
    """The states after the final norm, [B, Q, D].

    Args:
        trunk: The weights.
        states_BQD: The embedded ids; overwritten.
        turns: Cosines, and sines whose first half has its sign turned, [1 or B, Q, 1, E].
        seen: What is added to the scores, or True where a query sees a key, [B, 1, Q, K].
        cache: See `lean_states`.
    """
    for index, layer in enumerate(trunk.layers):
        given_BQD = normed(states_BQD, layer.norm)
        attended_BQD = _attended(layer, given_BQD, turns, seen, cache, index)
        states_BQD = projected(attended_BQD, layer.output).add_(states_BQD)
        given_BQD = normed(states_BQD, layer.feed_norm)
        gated = silu(projected(given_BQD, layer.gate), inplace=True)
        gated *= projected(given_BQD, layer.up)
        states_BQD = projected(gated, layer.down).add_(states_BQD)
    return normed(states_BQD, trunk.norm)


def _attended(
    layer: Layer,
    given_BQD: Tensor,
    turns: tuple[Tensor, Tensor],
    seen: Tensor | None,
    cache: Any,
    index: int,
) -> Tensor:
    """What the heads found, side by side, [B, Q, HE]."""
    batch, length, _ = given_BQD.shape
    attention = layer.attention
    shape = (batch, length, -1, attention.head_dim)
    query_BQHE = projected(given_BQD, layer.query).view(shape)
    key_BQHE = projected(given_BQD, layer.key).view(shape)
    value = projected(given_BQD, layer.value).view(shape).transpose(1, 2)
    if layer.query_norm is not None and layer.key_norm is not None:
        query_BQHE = normed(query_BQHE, layer.query_norm)
        key_BQHE = normed(key_BQHE, layer.key_norm)
    query, key = (turned(states, *turns).transpose(1, 2) for states in (query_BQHE, key_BQHE))
    if cache is not None:
        key, value = cache.update(key, value, index)
    if attention.num_key_value_groups > 1:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        options = {"scaling": attention.scaling, "is_causal": False}
        found_BQHE, _ = sdpa_attention_forward(attention, query, key, value, seen, **options)
    else:
        found = scaled_dot_product_attention(query, key, value, seen, scale=attention.scaling)
        found_BQHE = found.transpose(1, 2)
    return found_BQHE.reshape(batch, length, -1)


def additive(mask: Tensor | None, states_BQD: Tensor) -> Tensor | None:
    """The mask as attention takes it; None where everything is seen.

    On a CPU attention would make zeros and infinities of it in every layer; here it is done once.
    """
    if mask is None:
        return None
    if mask.ndim == 2:
        real_BK = mask.bool()
        if real_BK.all():
            return None
        mask = real_BK[:, None, None].expand(-1, 1, states_BQD.shape[1], -1)
    if mask.dtype != torch.bool or mask.device.type != "cpu":
        return mask
    return states_BQD.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)


def turned(states_BQHE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotated queries or keys, in their own number format."""
    half = states_BQHE.shape[-1] // 2
    swapped_BQHE = torch.cat((states_BQHE[..., half:], states_BQHE[..., :half]), -1)
    return (states_BQHE * cos).add_(swapped_BQHE * sin).to(states_BQHE.dtype)


def normed(states: Tensor, norm: Norm) -> Tensor:
    """States over their root mean square, times the norm's weight."""
    wide = states if states.dtype == torch.float32 else states.float()
    scale = (wide * wide).mean(-1, keepdim=True).add_(norm.epsilon).rsqrt_()
    scaled = wide * scale
    if norm.rounded_once:
        return (scaled * norm.weight).to(states.dtype)
    return scaled.to(states.dtype).mul_(norm.weight)


def projected(states: Tensor, layer: Projection | nn.Module) -> Tensor:
    """What a linear layer makes of states, adapters included."""
    if isinstance(layer, nn.Module):
        # A hook on it may have kept its result, which callers overwrite.
        result: Tensor = layer(states).clone()
        return result
    result = linear(states, layer.weight, layer.bias)
    for pair in layer.pairs:
        added = linear(linear(states, pair.down), pair.up, pair.bias)
        result += added if pair.scaling == 1 else added.mul_(pair.scaling)
    return result


# Positions, number format and device; the frequencies and what they turn by.
_Length = tuple[int, torch.dtype, torch.device]
_Rotation = tuple[Tensor | None, tuple[Tensor, Tensor]]
_rotations: WeakKeyDictionary[nn.Module, dict[_Length, _Rotation]] = WeakKeyDictionary()


def _turns(
    rotary: nn.Module, states_BQD: Tensor, position_ids: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines; those of whole sequences are kept, since steps repeat them."""
    if position_ids is not None:
        return signed(*rotary(states_BQD, position_ids))
    kept = _rotations.setdefault(rotary, {})
    # A module that moved to another device has another buffer.
    frequencies = rotary._buffers["inv_freq"]
    key = states_BQD.shape[1], states_BQD.dtype, states_BQD.device
    found = kept.get(key)
    if found is None or found[0] is not frequencies:
        position_1Q = torch.arange(key[0], device=states_BQD.device)[None]
        found = kept[key] = frequencies, signed(*rotary(states_BQD, position_1Q))
        for oldest in list(kept)[:-_KEPT]:
            kept.pop(oldest, None)
    return found[1]


def signed(cos_BQE: Tensor, sin_BQE: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines as `turned` takes them, [1 or B, Q, 1, E]."""
    half = sin_BQE.shape[-1] // 2
    signed_BQE = torch.cat((-sin_BQE[..., :half], sin_BQE[..., half:]), -1)
    return cos_BQE[:, :, None], signed_BQE[:, :, None]
