"""LLaDA (8B-Base, 8B-Instruct, 1.5) and MMaDA: Llama with full attention under other names.

Source: the published modelling code of ML-GSAI/LLaDA and Gen-Verse/MMaDA. The architecture is
Llama's; the checkpoints differ in their key names and config fields, and in half precision queries
and keys are rotated in single precision, where Llama rounds cosines and sines first.
"""

from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from midspan.errors import MidspanError
from midspan.models.family import Family, register
from midspan.models.layers import PreciseRotaryAttention, PreciseRotaryEmbedding
from midspan.models.llada_family import (
    ILLADA_VOCABULARY,
    LLADA_BLOCK,
    LLADA_VOCABULARY,
    PUBLISHED_CONSTANTS,
    llada_family,
    mmada_chat_pieces,
)
from midspan.models.native import MaskedDiffusionMixin, register_native
from midspan.models.published import PublishedConfig

# Published config field: native field.
_FIELDS = {
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "mlp_hidden_size": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "weight_tying": "tie_word_embeddings",
    "embedding_size": "vocab_size",
}
_ALLOWED: dict[str, tuple[Any, ...]] = {
    **{key: (value,) for key, value in PUBLISHED_CONSTANTS.items()},
    "include_qkv_bias": (False, None),
    "block_group_size": (1, None),
    "multi_query_attention": (False, None),
    "rope_full_precision": (True, False),
    "clip_qkv": (None,),
    # LLaDA-MoE was published under model_type "llada" as well; its own config reads it.
    "num_experts": (None,),
    "sliding_window": (None,),
    # A native name that the published format cannot express.
    "mlp_bias": (False,),
}
_RENAMES = {
    r"model.transformer.wte": "model.embed_tokens",
    r"model.transformer.ln_f": "model.norm",
    r"model.transformer.ff_out": "lm_head",
    r"model.transformer.blocks": "model.layers",
    r"attn_norm": "input_layernorm",
    r"ff_norm": "post_attention_layernorm",
    r"(?<=\d\.)q_proj": "self_attn.q_proj",
    r"(?<=\d\.)k_proj": "self_attn.k_proj",
    r"(?<=\d\.)v_proj": "self_attn.v_proj",
    r"attn_out": "self_attn.o_proj",
    r"ff_proj": "mlp.gate_proj",
    r"(?<=\d\.)up_proj": "mlp.up_proj",
    r"(?<=\d\.)ff_out": "mlp.down_proj",
}


class LladaConfig(PublishedConfig, LlamaConfig):
    """A Llama config that reads and writes LLaDA's published config.json.

    Attributes:
        rope_full_precision: Whether queries and keys are rotated in single precision, whatever the
            model's, as all published checkpoints say.

    Raises:
        MidspanError: If a field asks for something that Llama does not compute.
    """

    model_type = "llada"
    published_architecture = "LLaDAModelLM"
    published_fields = _FIELDS
    published_constants = PUBLISHED_CONSTANTS
    allowed = _ALLOWED
    native_only = frozenset({"attention_bias", "mlp_bias", "hidden_act", "head_dim"}) | {
        "pretraining_tp"
    }

    vocab_size: int = LLADA_VOCABULARY
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    mask_token_id: int | None = None
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5
    is_causal: bool = False
    use_cache: bool = False
    rope_full_precision: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Check what the fields say together."""
        if "d_model" in kwargs and kwargs.get("mlp_hidden_size") is None:
            raise MidspanError("config.json: mlp_hidden_size is missing")
        super().__post_init__(**kwargs)
        if self.head_dim * self.num_attention_heads != self.hidden_size:
            raise MidspanError("config.json: head_dim must be hidden_size / num_attention_heads")
        if self.vocab_size == ILLADA_VOCABULARY:
            raise MidspanError(
                f"config.json: vocab_size={self.vocab_size} is iLLaDA's, which is not implemented: "
                "its published config and special tokens could not be verified"
            )

    def published_extra(self) -> dict[str, Any]:
        """The size of the vocabulary, which the published file states twice, and the rotation."""
        return {"vocab_size": self.vocab_size, "rope_full_precision": self.rope_full_precision}


class MmadaConfig(LladaConfig):
    """MMaDA's config: LLaDA's, with image codes behind the text vocabulary."""

    model_type = "mmada"
    published_architecture = "MMadaModelLM"

    vocab_size: int = 134656


class LladaForMaskedDiffusion(MaskedDiffusionMixin, LlamaForCausalLM):
    """LLaDA over Llama's layers; logits at position i predict position i."""

    config_class = LladaConfig

    def __init__(self, config: LladaConfig) -> None:
        super().__init__(config)
        if config.rope_full_precision:
            # Nothing but `forward` differs, so the layers keep the weights they were made with.
            self.model.rotary_emb.__class__ = PreciseRotaryEmbedding
            for layer in self.model.layers:
                layer.self_attn.__class__ = PreciseRotaryAttention
        # LLaDA pads with its EOS, whose embedding must learn like any other.
        self.model.embed_tokens.padding_idx = None


class MmadaForMaskedDiffusion(LladaForMaskedDiffusion):
    """MMaDA's text side."""

    config_class = MmadaConfig


def _family(config_class: Any, model_class: Any, **own: Any) -> Family:
    register_native(config_class, model_class, _RENAMES)
    return register(
        llada_family(
            config_class.model_type,
            (config_class, model_class),
            vocab_size=config_class.vocab_size,
            **own,
        )
    )


LLADA = _family(LladaConfig, LladaForMaskedDiffusion, block_length=LLADA_BLOCK)
MMADA = _family(MmadaConfig, MmadaForMaskedDiffusion, block_length=128, chat=mmada_chat_pieces)
