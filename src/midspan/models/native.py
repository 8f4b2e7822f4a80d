"""What the native classes share: registration, and a `generate` that is never autoregressive."""

from collections.abc import Callable, Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)
from transformers.core_model_loading import WeightConverter, WeightRenaming

from midspan.errors import MidspanError
from midspan.models.attention import block_attention

# (model, prompt ids [B, T], attention mask [B, T] or None, keyword arguments) -> ids [B, T + L]
Generate = Callable[..., Tensor]

# Named, not imported: the decoder builds on this package.
_GENERATE: list[Generate | str] = ["midspan.decoding.hf:generate_hf"]


def register_generate(function: Generate | str) -> None:
    """Let a function, or one that ``module:name`` names, be `generate` of every native model."""
    _GENERATE[:] = [function]


def registered_generate() -> Generate:
    """What was registered last; midspan's own decoder where nothing was."""
    (function,) = _GENERATE
    return resolve_name(function) if isinstance(function, str) else function


class MaskedDiffusionMixin:
    """Bidirectional model whose `generate` denoises. Placed before the transformers class.

    Raises:
        MidspanError: If the config is of another family; a shared `model_type` may hide that.
    """

    def __init__(self, config: Any) -> None:
        config_class = self.config_class  # type: ignore[attr-defined]
        if not isinstance(config, config_class):
            raise MidspanError(
                f"{type(self).__name__} takes a {config_class.__name__}, this config.json is a "
                f"{type(config).__name__}: load it with midspan.load or an Auto class"
            )
        super().__init__(config)  # type: ignore[call-arg]

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Decode with what is registered; the inherited left-to-right loop would be wrong here.

        Args:
            inputs: Prompt ids, [B, T], left padded; `input_ids` is its other name.
            attention_mask: 1 at real positions, [B, T].
            input_ids: See `inputs`.
            **kwargs: Passed to the registered decoder, `midspan.decoding.generate_hf`.

        Returns:
            Prompt and response ids, [B, T + length].

        Raises:
            MidspanError: If there are no prompt ids.
        """
        prompt_BT = inputs if input_ids is None else input_ids
        if prompt_BT is None:
            raise MidspanError("generate needs input_ids: a diffusion model starts from a prompt")
        return registered_generate()(self, prompt_BT, attention_mask, **kwargs)


class BlockDiffusionMixin(MaskedDiffusionMixin):
    """Model that attends within a block and to the blocks before it, also when called bare."""

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        """The transformers forward, under the block-causal mask of `config.block_size`.

        Without a block size attention is full.

        Args:
            input_ids: Token ids, [B, T].
            attention_mask: 1 at real positions, [B, T]; or a mask of [B, 1, Q, K], taken as it is.
            **kwargs: See the transformers class.

        Raises:
            MidspanError: If there is a cache but no mask that says which blocks it holds.
        """
        block_size = self.config.block_size  # type: ignore[attr-defined]
        if block_size is not None and (attention_mask is None or attention_mask.ndim == 2):
            if kwargs.get("past_key_values") is not None:
                raise MidspanError("with a cache, give attention_mask as [batch, 1, queries, keys]")
            tokens = kwargs["inputs_embeds"][..., 0] if input_ids is None else input_ids
            real_BT = torch.ones_like(tokens) if attention_mask is None else attention_mask
            attention_mask = block_attention(self, real_BT, block_size)
        return super().forward(  # type: ignore[misc]
            input_ids=input_ids, attention_mask=attention_mask, **kwargs
        )


class ExpertsMixin:
    """Mixture of experts over a transformers class; the experts' kernel may be chosen."""

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        # transformers looks for its decorator in the source of the module that defines the class.
        return True


def register_native(
    config_class: Any,
    model_class: Any,
    renames: Mapping[str, str],
    converters: Sequence[WeightConverter] = (),
) -> None:
    """Make transformers' Auto classes resolve a published checkpoint to the native class.

    Args:
        config_class: The native config, with the published `model_type`.
        model_class: The native model.
        renames: Published key pattern (a regular expression) to native key part.
        converters: Tensors that are split or merged; at most one acts on a renamed key.
    """
    # AutoModel too: the published folders map it to the class with the head.
    AutoConfig.register(config_class.model_type, config_class)
    AutoModel.register(config_class, model_class)
    AutoModelForCausalLM.register(config_class, model_class)
    # Without an entry of their own, transformers skips classes defined outside its package.
    register_checkpoint_conversion_mapping(
        model_class.__name__,
        [*(WeightRenaming(source, target) for source, target in renames.items()), *converters],
        overwrite=True,
    )


def merged_experts() -> list[WeightConverter]:
    """From one tensor an expert, as published, to one of all experts, as computed."""
    # Registered under another class name than ours, the library's own list does not apply.
    return list(get_checkpoint_conversion_mapping("qwen2_moe"))


def empty_model(model_class: Any, config: Any) -> Any:
    """The model that a config describes, on the meta device: names and shapes without memory."""
    with torch.device("meta"):
        return model_class(config)
