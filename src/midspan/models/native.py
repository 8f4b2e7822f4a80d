"""What the native classes share: registration, and a `generate` that is never autoregressive."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from midspan.errors import MidspanError


class MaskedDiffusionMixin:
    """Bidirectional model whose `generate` denoises. Placed before the transformers class."""

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Decode with `midspan.decoding`; the inherited left-to-right loop would be wrong here.

        Args:
            inputs: Prompt ids, [B, T], left padded; `input_ids` is its other name.
            attention_mask: 1 at real positions, [B, T].
            input_ids: See `inputs`.
            **kwargs: Passed to `midspan.decoding.generate_hf`.

        Returns:
            Prompt and response ids, [B, T + length].

        Raises:
            MidspanError: If there are no prompt ids.
        """
        # Imported here because decoding imports models.
        from midspan.decoding import generate_hf

        prompt_BT = inputs if input_ids is None else input_ids
        if prompt_BT is None:
            raise MidspanError("generate needs input_ids: a diffusion model starts from a prompt")
        return generate_hf(self, prompt_BT, attention_mask, **kwargs)


def refuse_unimplemented(
    family: str, config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]
) -> None:
    """Refuse a config that asks for something the native class does not compute.

    Args:
        family: The family's name, for the message.
        config: A config's keys and values.
        allowed: For each key that must not vary, the values under which it changes nothing.

    Raises:
        MidspanError: Naming the first such key and its value.
    """
    for key, value in config.items():
        if key in allowed and value not in allowed[key]:
            raise MidspanError(
                f"config.json: {key}={value!r} is not implemented for {family} models"
            )


def register_native(config_class: Any, model_class: Any, renames: Mapping[str, str]) -> None:
    """Make transformers' Auto classes resolve a published checkpoint to the native class.

    Args:
        config_class: The native config, with the published `model_type`.
        model_class: The native model.
        renames: Published key pattern (a regular expression) to native key part.
    """
    # AutoModel too: the published folders map it to the class with the head.
    AutoConfig.register(config_class.model_type, config_class)
    AutoModel.register(config_class, model_class)
    AutoModelForCausalLM.register(config_class, model_class)
    # Without an entry of their own, transformers skips classes defined outside its package.
    register_checkpoint_conversion_mapping(
        model_class.__name__,
        [WeightRenaming(source, target) for source, target in renames.items()],
        overwrite=True,
    )


def empty_model(model_class: Any, config: Any) -> Any:
    """The model that a config describes, on the meta device: names and shapes without memory."""
    with torch.device("meta"):
        return model_class(config)
