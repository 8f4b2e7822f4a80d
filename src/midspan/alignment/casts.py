"""LoRA under autocast without the casts that change nothing.

An adapter trains in single precision on a half-precision base. PEFT widens what goes into each
adapted layer to the adapter's format, and autocast rounds it back before the product: two kernels
a layer and pass, and two more in the backward pass, for the same numbers.
"""

from functools import partial
from typing import Any

import torch

from midspan.models.trunk import is_autocast


def leave_casts_to_autocast(network: Any) -> None:
    """Let adapted layers take what they are given wherever autocast is on, in place.

    Args:
        network: A `PeftModel`. Outside of autocast its layers do as before.
    """
    from peft.tuners.lora import LoraLayer

    for layer in network.modules():
        if isinstance(layer, LoraLayer):
            layer._cast_input_dtype = partial(_cast, layer)


def _cast(layer: Any, states: Any, dtype: torch.dtype) -> Any:
    if states is not None and is_autocast(states.device):
        return states
    return type(layer)._cast_input_dtype(layer, states, dtype)
