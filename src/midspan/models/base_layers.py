"""Layers of the base that PEFT saves with an adapter: embeddings and head.

PEFT's ``save_embedding_layers="auto"`` writes them where the adapter targets them or the vocabulary
was resized, and its loading writes them over the base's own. Here the base stays what it is with
the adapter off, so they must be the base's own layers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midspan.errors import MidspanError
from midspan.models.checkpoint import Shapes

_REMEDY = "merge it with PEFT on the model it was trained on, and load the merged folder"


def vocabulary_rows(model: Any) -> dict[str, int]:
    """Rows of the input and the output embeddings, by module name."""
    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    return {
        name: module.weight.shape[0]
        for name, module in model.named_modules()
        if any(module is layer for layer in layers)
    }


def check_not_resized(shapes: Shapes, rows: Mapping[str, int], adapter: str | Path) -> None:
    """Refuse embeddings of another number of rows than the base's.

    Args:
        shapes: The adapter's tensors, by native key without PEFT's prefix.
        rows: See `vocabulary_rows`.
        adapter: For the message.

    Raises:
        MidspanError: Naming the layer, both numbers and the way round.
    """
    for key, shape in sorted(shapes.items()):
        layer = next((name for name in rows if key.startswith(f"{name}.")), None)
        whole = key.endswith(".weight") and ".lora_" not in key and len(shape) == 2
        if layer and whole and shape[0] != rows[layer]:
            raise MidspanError(
                f"adapter {adapter} was trained on a resized vocabulary: its {layer} has "
                f"{shape[0]} rows, the base {rows[layer]}; {_REMEDY}"
            )


def saved_base_layers(wrapped: Any) -> Shapes:
    """The tensors that PEFT may write beside an adapter's own, by PEFT's key."""
    from peft import get_peft_model_state_dict

    own = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    saved = get_peft_model_state_dict(wrapped, save_embedding_layers=True)
    return {key: tuple(tensor.shape) for key, tensor in saved.items() if key not in own}


def without_base_layers(
    wrapped: Any, tensors: Mapping[str, Tensor], adapter: str | Path
) -> dict[str, Tensor]:
    """An adapter's tensors but for the layers of the base, which must be the base's own.

    Args:
        wrapped: The base with the adapter's modules on it.
        tensors: What the adapter's file holds, by native key.
        adapter: For the message.

    Raises:
        MidspanError: Naming a layer that holds other values than the base's.
    """
    extra = saved_base_layers(wrapped)
    for key in sorted(extra.keys() & tensors.keys()):
        # Of a module that is trained whole PEFT writes a second copy, and ignores it in loading.
        trained = key.replace(".modules_to_save.", ".")
        own = tensors[trained] if trained != key else _stored(wrapped, key)
        if not _same(tensors[key], own):
            name = key.removeprefix("base_model.model.")
            raise MidspanError(
                f"adapter {adapter}: its {name} has other values than the base's, and would change "
                f"the base with the adapter off too; train that layer under modules_to_save, or "
                f"{_REMEDY}"
            )
    return {key: tensor for key, tensor in tensors.items() if key not in extra}


def _stored(wrapped: Any, key: str) -> Tensor:
    """A tensor of the loaded model; accelerate may have offloaded it."""
    from accelerate.utils import align_module_device

    module, _, name = key.rpartition(".")
    layer = wrapped.get_submodule(module)
    with align_module_device(layer):
        return getattr(layer, name).detach().cpu()


def _same(saved: Tensor, own: Tensor) -> bool:
    """Whether two layers are equal, but for the number format of either."""
    return any(torch.equal(saved.to(dtype), own.to(dtype)) for dtype in (saved.dtype, own.dtype))
