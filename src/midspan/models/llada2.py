"""LLaDA2.0 and 2.1 (mini 16B, flash 100B): Glm4Moe with block-causal attention, not shifted.

Source: the published modelling code of inclusionAI/LLaDA2.0. Keys have other names, queries, keys
and values are one matrix, each expert is a tensor of its own. 2.1's token editing and 2.2's are
ways to decode; the network is the same.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import Glm4MoeConfig, Glm4MoeForCausalLM
from transformers.core_model_loading import Split, WeightConverter

from midspan.errors import MidspanError
from midspan.models.chat import role_tags
from midspan.models.family import Family, PublishedToken, PublishedTokens, register
from midspan.models.native import (
    BlockDiffusionMixin,
    ExpertsMixin,
    merged_experts,
    register_native,
)
from midspan.models.published import Allowed, PublishedConfig

# What every published config says, and the native class assumes.
_PUBLISHED_CONSTANTS: dict[str, Any] = {
    "embedding_dropout": 0.0,
    "output_dropout": 0.0,
    "rope_scaling": None,
    "score_function": "sigmoid",
    "use_bias": False,
    "use_qk_norm": True,
    "use_qkv_bias": False,
}
_RENAMES = {
    r"model.word_embeddings": "model.embed_tokens",
    r"attention.dense": "self_attn.o_proj",
    r"attention.query_layernorm": "self_attn.q_norm",
    r"attention.key_layernorm": "self_attn.k_norm",
    r"mlp.gate.expert_bias": "mlp.gate.e_score_correction_bias",
}
_SPLIT = WeightConverter(
    source_patterns="attention.query_key_value.weight",
    target_patterns=[f"self_attn.{part}_proj.weight" for part in "qkv"],
    operations=[Split(0)],
)


class Llada2MoeConfig(PublishedConfig, Glm4MoeConfig):
    """A Glm4Moe config that reads and writes LLaDA2's published config.json.

    Raises:
        MidspanError: If a field asks for something that Glm4Moe does not compute.
    """

    model_type = "llada2_moe"
    published_architecture = "LLaDA2MoeModelLM"
    published_constants = _PUBLISHED_CONSTANTS
    published_fields: ClassVar[Mapping[str, str]] = {
        "num_experts": "n_routed_experts",
        "num_shared_experts": "n_shared_experts",
    }
    allowed: ClassVar[Allowed] = {
        **{key: (value,) for key, value in _PUBLISHED_CONSTANTS.items()},
        "moe_router_enable_expert_bias": (True, None),
        # The published code renormalises always.
        "norm_topk_prob": (True,),
        "num_nextn_predict_layers": (0, None),
        "use_rmsnorm": (True, None),
    }
    native_only = frozenset({"attention_bias", "num_nextn_predict_layers", "num_mtp_layers"})

    vocab_size: int = 157184
    rms_norm_eps: float = 1e-6
    mask_token_id: int | None = None
    head_dim: int | None = None
    use_qk_norm: bool = True
    num_mtp_layers: int = 0
    block_size: int = 32
    is_causal: bool = False
    use_cache: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Check that there are experts: the native defaults are those of another model."""
        if "score_function" in kwargs:
            for field in ("num_experts", "num_shared_experts"):
                if not kwargs.get(field):
                    raise MidspanError(f"config.json: {field}={kwargs.get(field)} must be above 0")
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        super().__post_init__(**kwargs)
        turned = self.head_dim * self.rope_parameters["partial_rotary_factor"]
        if kwargs.get("rotary_dim", turned) != turned:
            raise MidspanError(
                f"config.json: rotary_dim={kwargs['rotary_dim']} is not head_dim times "
                f"partial_rotary_factor, {turned:g}"
            )


class Llada2MoeForMaskedDiffusion(ExpertsMixin, BlockDiffusionMixin, Glm4MoeForCausalLM):
    """LLaDA2 over Glm4Moe's layers; logits at position i predict position i."""

    config_class = Llada2MoeConfig


register_native(Llada2MoeConfig, Llada2MoeForMaskedDiffusion, _RENAMES, [_SPLIT, *merged_experts()])

LLADA2_MOE = register(
    Family(
        name="llada2_moe",
        model_types=(Llada2MoeConfig.model_type,),
        config_class=Llada2MoeConfig,
        model_class=Llada2MoeForMaskedDiffusion,
        logit_shift=False,
        published_settings={
            **{"rms_norm_eps": 1e-6, "num_experts_per_tok": 8},
            **{"n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5},
        },
        noise="absorbing",
        special_tokens=PublishedTokens(
            vocab_size=157184,
            mask=PublishedToken("<|mask|>", 156895),
            eos=PublishedToken("<|endoftext|>", 156892),
            eot=PublishedToken("<|role_end|>", None),
            pad=PublishedToken("<|endoftext|>", 156892),
        ),
        chat=role_tags,
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
        expert_parameters=("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
        # As published: 32 steps a block.
        decoding_defaults={
            "sampler": "block",
            "length": 2048,
            "steps": 2048,
            "block_length": 32,
            "temperature": 0.0,
            "threshold": 0.95,
        },
        max_length=32768,
        cumulative_positions=True,
        template_first=True,
        attention="block_causal",
        block_length=32,
    )
)
