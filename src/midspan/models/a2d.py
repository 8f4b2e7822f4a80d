"""A2D (Tiny-A2D and what its recipe makes): Qwen3, Qwen2 and Llama with full or block attention.

Source: modelling, loading and sampling code of ZHZisZZ/dllm (ca176752), under the model types
a2d-qwen3, a2d-qwen2 and a2d-llama; key names are the source model's. Logits are not shifted, and
sliding layers have no window. Masked (MDLM) and block diffusion (BD3LM) checkpoints share model
type and config: `block_size` in config.json makes a model one of blocks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from midspan.models.chat import chatml
from midspan.models.family import (
    Family,
    Message,
    Piece,
    PublishedToken,
    PublishedTokens,
    Special,
    register,
)
from midspan.models.native import BlockDiffusionMixin, register_native
from midspan.models.published import Allowed, PublishedConfig

# What the published scripts train and decode block diffusion with.
_BLOCK_LENGTH = 32


class A2dConfig(PublishedConfig):
    """What the three configs share."""

    published_constants: ClassVar[Mapping[str, Any]] = {"rope_scaling": None, "use_cache": True}
    allowed: ClassVar[Allowed] = {"mlp_bias": (False,), "use_sliding_window": (False, None, True)}
    native_only: ClassVar[frozenset[str]] = frozenset({"published_layer_types"})
    dtype_field = "dtype"

    def __post_init__(self, **kwargs: Any) -> None:
        """Give every layer full attention, and keep what the file says of them."""
        kept = kwargs.pop("published_layer_types", None)
        self.published_layer_types = kept or getattr(self, "layer_types", None)
        self.layer_types = None
        super().__post_init__(**kwargs)
        if self.layer_types is not None:
            self.layer_types = ["full_attention"] * len(self.layer_types)
        self.use_cache = False

    def published_extra(self) -> dict[str, Any]:
        """The layers' types, which midspan does not look at."""
        kept = self.published_layer_types
        return {} if kept is None else {"layer_types": kept}


class A2dQwen3Config(A2dConfig, Qwen3Config):
    """A Qwen3 config that reads and writes a published config.json."""

    model_type = "a2d-qwen3"
    published_architecture = "A2DQwen3LMHeadModel"

    mask_token_id: int | None = None
    block_size: int | None = None
    is_causal: bool = False


class A2dQwen2Config(A2dConfig, Qwen2Config):
    """A Qwen2 config that reads and writes a published config.json."""

    model_type = "a2d-qwen2"
    published_architecture = "A2DQwen2LMHeadModel"

    mask_token_id: int | None = None
    block_size: int | None = None
    is_causal: bool = False


class A2dLlamaConfig(A2dConfig, LlamaConfig):
    """A Llama config that reads and writes a published config.json."""

    model_type = "a2d-llama"
    published_architecture = "A2DLlamaLMHeadModel"

    mask_token_id: int | None = None
    block_size: int | None = None
    is_causal: bool = False


class A2dQwen3ForMaskedDiffusion(BlockDiffusionMixin, Qwen3ForCausalLM):
    """A2D over Qwen3's layers; logits at position i predict position i."""

    config_class = A2dQwen3Config


class A2dQwen2ForMaskedDiffusion(BlockDiffusionMixin, Qwen2ForCausalLM):
    """A2D over Qwen2's layers."""

    config_class = A2dQwen2Config


class A2dLlamaForMaskedDiffusion(BlockDiffusionMixin, LlamaForCausalLM):
    """A2D over Llama's layers."""

    config_class = A2dLlamaConfig


def llama_pieces(messages: Sequence[Message]) -> list[Piece]:
    """Llama 3's chat format up to and including the assistant's header."""

    def header(role: str) -> list[Piece]:
        return [Special("<|start_header_id|>"), role, Special("<|end_header_id|>"), "\n\n"]

    pieces: list[Piece] = [Special("<|begin_of_text|>")]
    for message in messages:
        text = message["content"].strip()
        pieces += [*header(message["role"]), text, Special("<|eot_id|>")]
    return [*pieces, *header("assistant")]


def _tokens(vocab_size: int, eot: str) -> PublishedTokens:
    """The mask is added at loading; end, padding and beginning are the tokenizer's own."""
    own = PublishedToken(None)
    return PublishedTokens(
        vocab_size,
        mask=PublishedToken("<|mask|>"),
        bos=own,
        eos=own,
        eot=PublishedToken(eot),
        pad=own,
        adds_mask=True,
    )


# The model card's; the published scripts take blocks of 32.
_MASKED_DEFAULTS = {
    "sampler": "llada",
    "schedule": "linear",
    "length": 128,
    "steps": 128,
    "block_length": 64,
    "temperature": 0.0,
    "remasking": "low_confidence",
}
_BLOCK_DEFAULTS = {
    "sampler": "block",
    "schedule": "linear",
    "length": 128,
    "steps": 128,
    "block_length": _BLOCK_LENGTH,
    "temperature": 0.0,
}


def _family(config_class: Any, model_class: Any, **own: Any) -> Family:
    register_native(config_class, model_class, {})
    # As which the published folders map it.
    AutoModelForMaskedLM.register(config_class, model_class)
    masked = Family(
        name=config_class.model_type,
        model_types=(config_class.model_type,),
        config_class=config_class,
        model_class=model_class,
        logit_shift=False,
        noise="absorbing",
        lora_targets=(
            *("q_proj", "k_proj", "v_proj", "o_proj"),
            *("gate_proj", "up_proj", "down_proj"),
        ),
        decoding_defaults=_MASKED_DEFAULTS,
        max_length=32768,
        cumulative_positions=True,
        template_first=True,
        **own,
    )
    in_blocks = dataclasses.replace(
        masked,
        name=f"{masked.name}-blocks",
        decoding_defaults=_BLOCK_DEFAULTS,
        attention="block_causal",
        block_length=_BLOCK_LENGTH,
        blocks_from="canvas",
    )
    return register(dataclasses.replace(masked, in_blocks=in_blocks))


_QWEN: Mapping[str, Any] = {
    "special_tokens": _tokens(151936, "<|im_end|>"),
    "chat": chatml,
    "published_settings": {"rms_norm_eps": 1e-6},
    # Published loading turns Qwen3's thinking off, which its template would have on.
    "template_options": {"enable_thinking": False},
}
A2D_QWEN3 = _family(A2dQwen3Config, A2dQwen3ForMaskedDiffusion, **_QWEN)
A2D_QWEN2 = _family(A2dQwen2Config, A2dQwen2ForMaskedDiffusion, **_QWEN)
A2D_LLAMA = _family(
    A2dLlamaConfig,
    A2dLlamaForMaskedDiffusion,
    special_tokens=_tokens(128256, "<|eot_id|>"),
    chat=llama_pieces,
    published_settings={"rms_norm_eps": 1e-5},
)
AutoTokenizer.register(A2dQwen3Config, Qwen2Tokenizer)
AutoTokenizer.register(A2dQwen2Config, Qwen2Tokenizer)
