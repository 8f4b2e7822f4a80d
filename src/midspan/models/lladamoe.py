"""LLaDA-MoE-7B-A1B (Base, Instruct): Qwen3Moe with full attention, not shifted.

Source: the published modelling code (dInfer, dllm). The hub's config.json has LLaDA-8B's
`model_type` "llada"; dllm's copy has "lladamoe". What tells them apart is `num_experts`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from midspan.errors import MidspanError
from midspan.models.chat import role_tags
from midspan.models.family import Family, PublishedToken, PublishedTokens, register
from midspan.models.native import (
    ExpertsMixin,
    MaskedDiffusionMixin,
    merged_experts,
    register_native,
)
from midspan.models.published import Allowed, PublishedConfig, share_model_type

_SHARED_TYPE = "llada"
# What every published config says, and the native class assumes.
_PUBLISHED_CONSTANTS: dict[str, Any] = {
    "moe_router_enable_expert_bias": False,
    "moe_router_score_function": "softmax",
    "norm_topk_prob": None,
    "partial_rotary_factor": 1,
    "qk_layernorm": True,
    "rope_scaling": None,
    "routed_scaling_factor": 1,
    "shared_expert_intermediate_size": None,
}


class LladaMoeConfig(PublishedConfig, Qwen3MoeConfig):
    """A Qwen3Moe config that reads and writes LLaDA-MoE's published config.json.

    Raises:
        MidspanError: If a field asks for something that Qwen3Moe does not compute.
    """

    model_type = "lladamoe"
    published_architecture = "LLaDAMoEModelLM"
    published_constants = _PUBLISHED_CONSTANTS
    published_fields: ClassVar[Mapping[str, str]] = {
        "dense_intermediate_size": "intermediate_size",
        "expert_intermediate_size": "moe_intermediate_size",
        "num_experts": "num_local_experts",
    }
    allowed: ClassVar[Allowed] = {
        **{key: (value,) for key, value in _PUBLISHED_CONSTANTS.items()},
        "norm_topk_prob": (False,),
        "shared_expert_intermediate_size": (None, 0),
        "num_shared_experts": (None, 0),
        "clip_qkv": (None,),
        "decoder_sparse_step": (1,),
        "router_num_group": (None,),
        "router_topk_group": (None,),
    }
    native_only = frozenset({"decoder_sparse_step", "mlp_only_layers", "published_model_type"})

    vocab_size: int = 157184
    mask_token_id: int | None = None
    published_model_type: str = "lladamoe"
    is_causal: bool = False
    use_cache: bool = False

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The config of a file's fields, whichever of the two model types it has."""
        fields = dict(config_dict)
        if fields.get("norm_topk_prob") is None:  # published for False
            fields.pop("norm_topk_prob", None)
        fields.setdefault("published_model_type", fields.pop("model_type", cls.model_type))
        return super().from_dict(fields, **kwargs)

    def __post_init__(self, **kwargs: Any) -> None:
        """Translate the list of layers with experts, and check that sizes are stated."""
        frequency = kwargs.pop("moe_layer_freq", None)
        if frequency is not None:
            if "expert_intermediate_size" not in kwargs:
                raise MidspanError("config.json: expert_intermediate_size is missing")
            if not isinstance(frequency, list) or len(frequency) != self.num_hidden_layers:
                raise MidspanError("config.json: moe_layer_freq must list 0 or 1 for every layer")
            self.mlp_only_layers = [i for i, experts in enumerate(frequency) if not experts]
        super().__post_init__(**kwargs)

    def published_extra(self) -> dict[str, Any]:
        """Fields that are computed from native ones."""
        dense = set(self.mlp_only_layers or ())
        return {
            "model_type": self.published_model_type,
            "moe_layer_freq": [int(i not in dense) for i in range(self.num_hidden_layers)],
        }


class LladaMoeForMaskedDiffusion(ExpertsMixin, MaskedDiffusionMixin, Qwen3MoeForCausalLM):
    """LLaDA-MoE over Qwen3Moe's layers; logits at position i predict position i."""

    config_class = LladaMoeConfig


share_model_type(_SHARED_TYPE, lambda fields: bool(fields.get("num_experts")), LladaMoeConfig)
register_native(LladaMoeConfig, LladaMoeForMaskedDiffusion, {}, merged_experts())

LLADA_MOE = register(
    Family(
        name="lladamoe",
        model_types=(LladaMoeConfig.model_type,),
        config_class=LladaMoeConfig,
        model_class=LladaMoeForMaskedDiffusion,
        logit_shift=False,
        published_settings={"rms_norm_eps": 1e-5, "num_experts_per_tok": 8},
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
        decoding_defaults={
            "sampler": "llada",
            "length": 128,
            "steps": 128,
            "block_length": 32,
            "temperature": 0.0,
            "remasking": "low_confidence",
        },
        max_length=4096,
        template_first=True,
    )
)
