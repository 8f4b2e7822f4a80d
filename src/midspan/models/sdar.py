"""SDAR (1.7B, 4B, 8B and 30B-A3B): Qwen3 with block-causal attention, not shifted.

Source: the published modelling code of JetAstra/SDAR; key names are Qwen3's already. The logits of
the dense models are tested against that code; of the mixture (`sdar_moe`, Qwen3Moe with
renormalised softmax routing in every layer) only what the dense ones share.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import (
    AutoTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from midspan.models.chat import chatml
from midspan.models.family import Family, PublishedToken, PublishedTokens, register
from midspan.models.layers import OnceRoundedRMSNorm
from midspan.models.native import (
    BlockDiffusionMixin,
    ExpertsMixin,
    merged_experts,
    register_native,
)
from midspan.models.published import Allowed, PublishedConfig

_CONSTANTS: Mapping[str, Any] = {"rope_scaling": None}


class SdarConfig(PublishedConfig, Qwen3Config):
    """A Qwen3 config that reads and writes SDAR's published config.json."""

    model_type = "sdar"
    published_architecture = "SDARForCausalLM"
    published_constants = _CONSTANTS

    mask_token_id: int | None = None
    block_size: int = 4
    is_causal: bool = False
    use_cache: bool = False


class SdarForMaskedDiffusion(BlockDiffusionMixin, Qwen3ForCausalLM):
    """SDAR over Qwen3's layers; logits at position i predict position i."""

    config_class = SdarConfig

    def __init__(self, config: SdarConfig) -> None:
        super().__init__(config)
        for module in self.modules():
            if isinstance(module, Qwen3RMSNorm):
                module.__class__ = OnceRoundedRMSNorm


class SdarMoeConfig(PublishedConfig, Qwen3MoeConfig):
    """A Qwen3Moe config that reads and writes SDAR-30B-A3B's published config.json."""

    model_type = "sdar_moe"
    published_architecture = "SDARMoeForCausalLM"
    published_constants = _CONSTANTS
    published_fields: ClassVar[Mapping[str, str]] = {"num_experts": "num_local_experts"}
    allowed: ClassVar[Allowed] = {
        "decoder_sparse_step": (1,),
        "mlp_only_layers": (None, []),
        "norm_topk_prob": (True,),
    }

    mask_token_id: int | None = None
    norm_topk_prob: bool = True
    block_size: int = 4
    is_causal: bool = False
    use_cache: bool = False


class SdarMoeForMaskedDiffusion(ExpertsMixin, BlockDiffusionMixin, Qwen3MoeForCausalLM):
    """SDAR's mixture of experts over Qwen3Moe's layers."""

    config_class = SdarMoeConfig


register_native(SdarConfig, SdarForMaskedDiffusion, {})
register_native(SdarMoeConfig, SdarMoeForMaskedDiffusion, {}, merged_experts())
AutoTokenizer.register(SdarConfig, Qwen2Tokenizer)
AutoTokenizer.register(SdarMoeConfig, Qwen2Tokenizer)

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def _family(config_class: Any, model_class: Any, **experts: Any) -> Family:
    return register(
        Family(
            name=config_class.model_type,
            model_types=(config_class.model_type,),
            config_class=config_class,
            model_class=model_class,
            logit_shift=False,
            noise="absorbing",
            # tokenizer_config.json's text; special_tokens_map.json says <MASK>, which is no token.
            special_tokens=PublishedTokens(
                vocab_size=151936,
                mask=PublishedToken("<|MASK|>", 151669),
                eos=PublishedToken("<|endoftext|>", 151643),
                eot=PublishedToken("<|im_end|>", 151645),
                pad=PublishedToken("<|endoftext|>", 151643),
            ),
            chat=chatml,
            # As published: 4 steps a block.
            decoding_defaults={
                "sampler": "block",
                "length": 512,
                "steps": 512,
                "block_length": 4,
                "temperature": 1.0,
                "threshold": 0.85,
            },
            max_length=32768,
            published_settings={"rms_norm_eps": 1e-6, "num_experts_per_tok": 8},
            cumulative_positions=True,
            template_first=True,
            attention="block_causal",
            block_length=4,
            **experts,
        )
    )


SDAR = _family(
    SdarConfig,
    SdarForMaskedDiffusion,
    lora_targets=(*_ATTENTION, "gate_proj", "up_proj", "down_proj"),
)
SDAR_MOE = _family(
    SdarMoeConfig,
    SdarMoeForMaskedDiffusion,
    lora_targets=_ATTENTION,
    expert_parameters=("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
)
