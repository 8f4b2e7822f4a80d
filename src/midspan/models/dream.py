"""Dream (v0-Base, v0-Instruct, Dream-Coder, DiffuCoder): Qwen2 with full attention, shifted by one.

Source: the published modelling code of DreamLM/Dream. The row at position i-1 predicts
position i, as in the autoregressive model it was trained from.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from midspan.errors import MidspanError
from midspan.models.chat import chatml
from midspan.models.family import Family, PublishedToken, PublishedTokens, register
from midspan.models.native import MaskedDiffusionMixin, register_native
from midspan.models.published import Allowed, PublishedConfig

_REASONER = (
    "config.json: {} is DreamReasoner's, which shares Dream's model_type but decodes in blocks and "
    "without the shift; it is not implemented: its published code could not be verified"
)


class DreamConfig(PublishedConfig, Qwen2Config):
    """A Qwen2 config that reads and writes Dream's published config.json.

    Raises:
        MidspanError: If a field asks for something that Qwen2 with full attention does not compute.
    """

    model_type = "Dream"
    published_architecture = "DreamModel"
    published_constants: ClassVar[Mapping[str, Any]] = {"rope_scaling": None}
    allowed: ClassVar[Allowed] = {"num_experts": (None,)}

    vocab_size: int = 152064
    mask_token_id: int | None = None
    is_causal: bool = False
    use_cache: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse the relative that shares the model type: it would decode to garbage here."""
        if kwargs.get("block_size") is not None:
            raise MidspanError(_REASONER.format(f"block_size={kwargs['block_size']}"))
        if "DreamForCausalLM" in (self.architectures or ()):
            raise MidspanError(_REASONER.format("architecture DreamForCausalLM"))
        super().__post_init__(**kwargs)


class DreamForMaskedDiffusion(MaskedDiffusionMixin, Qwen2ForCausalLM):
    """Dream over Qwen2's layers; its raw logits are not shifted, as in the published code."""

    config_class = DreamConfig


class DreamTokenizer(Qwen2Tokenizer):
    """Qwen2's tokenizer under the name by which published folders ask for remote code."""


register_native(DreamConfig, DreamForMaskedDiffusion, {})
AutoTokenizer.register(DreamConfig, DreamTokenizer)

DREAM = register(
    Family(
        name="dream",
        model_types=(DreamConfig.model_type,),
        config_class=DreamConfig,
        model_class=DreamForMaskedDiffusion,
        logit_shift=True,
        published_settings={"rms_norm_eps": 1e-6},
        noise="absorbing",
        special_tokens=PublishedTokens(
            vocab_size=152064,
            mask=PublishedToken("<|mask|>", 151666),
            eos=PublishedToken("<|endoftext|>", 151643),
            eot=PublishedToken("<|im_end|>", 151645),
            pad=PublishedToken("<|endoftext|>", 151643),
        ),
        chat=chatml,
        lora_targets=(
            *("q_proj", "k_proj", "v_proj", "o_proj"),
            *("gate_proj", "up_proj", "down_proj"),
        ),
        # The README's settings; generation_config.json (alg "origin") is a research default.
        decoding_defaults={
            "sampler": "dream",
            "length": 512,
            "steps": 512,
            "temperature": 0.2,
            "top_p": 0.95,
            "remasking": "entropy",
            "alg_temp": 0.0,
            "eps": 1e-3,
        },
        max_length=2048,
        cumulative_positions=True,
        template_first=True,
    )
)
