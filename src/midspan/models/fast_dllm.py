"""Fast-dLLM v2 (1.5B, 7B): Qwen2.5 with block-causal attention, shifted by one.

Source: the published modelling code of Efficient-Large-Model/Fast_dLLM_v2_7B. Row i-1 predicts
position i. So a block's first token comes from the last row of the block before, which sees nothing
of the new block, and every other token from a row of its own block. The published code ignores the
caller's attention mask and decodes one row; here padding is seen by nobody.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from midspan.models.chat import chatml
from midspan.models.family import Family, PublishedToken, PublishedTokens, register
from midspan.models.native import BlockDiffusionMixin, register_native
from midspan.models.published import Allowed, PublishedConfig


class FastDllmConfig(PublishedConfig, Qwen2Config):
    """A Qwen2 config that reads and writes Fast-dLLM v2's published config.json."""

    model_type = "Fast_dLLM_Qwen"
    published_architecture = "Fast_dLLM_QwenForCausalLM"
    published_fields: ClassVar[Mapping[str, str]] = {"bd_size": "block_size"}
    # Published files turn on a cache that a denoising forward has no use for.
    published_constants: ClassVar[Mapping[str, Any]] = {"rope_scaling": None, "use_cache": True}
    allowed: ClassVar[Allowed] = {"num_experts": (None,)}

    vocab_size: int = 152064
    # Not in the published file: the tokenizer has it.
    mask_token_id: int | None = None
    block_size: int = 32
    # Spelled as published: training pairs each mask pattern with its complement.
    conplemenrary_mask: bool = True
    is_causal: bool = False
    use_cache: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Let the base read the file, all but its `use_cache`."""
        super().__post_init__(**kwargs)
        self.use_cache = False

    def published_extra(self) -> dict[str, Any]:
        """What the native config leaves out: the kind of every layer."""
        return {"layer_types": ["full_attention"] * self.num_hidden_layers}


class FastDllmForMaskedDiffusion(BlockDiffusionMixin, Qwen2ForCausalLM):
    """Fast-dLLM v2 over Qwen2's layers; its raw logits are not shifted, as published."""

    config_class = FastDllmConfig


register_native(FastDllmConfig, FastDllmForMaskedDiffusion, {})
AutoTokenizer.register(FastDllmConfig, Qwen2Tokenizer)

FAST_DLLM = register(
    Family(
        name="fast_dllm_v2",
        model_types=(FastDllmConfig.model_type,),
        config_class=FastDllmConfig,
        model_class=FastDllmForMaskedDiffusion,
        logit_shift=True,
        published_settings={"rms_norm_eps": 1e-6},
        noise="absorbing",
        special_tokens=PublishedTokens(
            vocab_size=152064,
            # Of Qwen2.5-1.5B, from which the smaller model was made with the same tokenizer.
            other_vocab_sizes=(151936,),
            mask=PublishedToken("|<MASK>|", 151665),
            eos=PublishedToken("<|im_end|>", 151645),
            pad=PublishedToken("<|endoftext|>", 151643),
        ),
        chat=chatml,
        lora_targets=(
            *("q_proj", "k_proj", "v_proj", "o_proj"),
            *("gate_proj", "up_proj", "down_proj"),
        ),
        # As published: one token a forward and all above the threshold; at a temperature the
        # published code also sets top_p to 0.95.
        decoding_defaults={
            "sampler": "block",
            "length": 512,
            "steps": 512,
            "block_length": 32,
            "sub_block_length": 8,
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
