"""Dream (v0-Base, v0-Instruct, Dream-Coder, DiffuCoder): Qwen2 with full attention, shifted by one.

Source: the published modelling code of DreamLM/Dream. The row at position i-1 predicts
position i, as in the autoregressive model it was trained from.
"""

import json
from collections.abc import Sequence
from typing import Any

from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from midspan.errors import MidspanError
from midspan.models.family import (
    Family,
    Message,
    Piece,
    PublishedToken,
    PublishedTokens,
    Special,
    register,
)
from midspan.models.native import MaskedDiffusionMixin, refuse_unimplemented, register_native

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "is_causal": (False,),
    "num_experts": (None,),
    "rope_scaling": (None,),
    "use_sliding_window": (False, None),
    # DreamReasoner keeps the model type but decodes in blocks and without the shift.
    "block_size": (None,),
}
_ARCHITECTURE = "DreamModel"


class DreamConfig(Qwen2Config):
    """A Qwen2 config that reads and writes Dream's published config.json.

    Raises:
        MidspanError: If a field asks for something that Qwen2 with full attention does not compute.
    """

    model_type = "Dream"

    vocab_size: int = 152064
    mask_token_id: int | None = None
    is_causal: bool = False
    use_cache: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse relatives that share the model type, then let Qwen2 fill in the rest."""
        refuse_unimplemented("Dream", {**kwargs, **vars(self)}, _ALLOWED)
        if "DreamForCausalLM" in (self.architectures or ()):
            raise MidspanError("config.json: architecture DreamForCausalLM is not implemented")
        if set(self.layer_types or ()) - {"full_attention"}:
            raise MidspanError("config.json: layer_types must all be full_attention for Dream")
        super().__post_init__(**kwargs)
        rope_type = self.rope_parameters["rope_type"]
        if rope_type != "default":
            raise MidspanError(
                f"config.json: rope_type={rope_type!r} is not implemented for Dream models"
            )

    def to_json_string(self, use_diff: bool = True) -> str:
        """The published config.json, so that the reference code reads what midspan saves."""
        published = json.loads(super().to_json_string(use_diff=True))
        for native in ("is_causal", "layer_types", "_name_or_path"):
            published.pop(native, None)
        published["architectures"] = [_ARCHITECTURE]
        published["rope_theta"] = published.pop("rope_parameters")["rope_theta"]
        published["rope_scaling"] = None
        published["torch_dtype"] = published.pop("dtype", None)
        return json.dumps(published, indent=2, sort_keys=True) + "\n"


class DreamForMaskedDiffusion(MaskedDiffusionMixin, Qwen2ForCausalLM):
    """Dream over Qwen2's layers; its raw logits are not shifted, as in the published code."""

    config_class = DreamConfig


class DreamTokenizer(Qwen2Tokenizer):
    """Qwen2's tokenizer under the name by which published folders ask for remote code."""


def chat_pieces(messages: Sequence[Message]) -> list[Piece]:
    """Qwen's ChatML up to and including the assistant's header, without a default system turn."""
    pieces: list[Piece] = []
    for message in messages:
        pieces += [Special("<|im_start|>"), f"{message['role']}\n{message['content']}"]
        pieces += [Special("<|im_end|>"), "\n"]
    return [*pieces, Special("<|im_start|>"), "assistant\n"]


register_native(DreamConfig, DreamForMaskedDiffusion, {})
AutoTokenizer.register(DreamConfig, DreamTokenizer)

DREAM = register(
    Family(
        name="dream",
        model_types=(DreamConfig.model_type,),
        config_class=DreamConfig,
        model_class=DreamForMaskedDiffusion,
        logit_shift=True,
        noise="absorbing",
        special_tokens=PublishedTokens(
            vocab_size=152064,
            mask=PublishedToken("<|mask|>", 151666),
            eos=PublishedToken("<|endoftext|>", 151643),
            eot=PublishedToken("<|im_end|>", 151645),
            pad=PublishedToken("<|endoftext|>", 151643),
        ),
        chat=chat_pieces,
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
