"""ModernBERT-chat (base 150M, large 395M): an encoder with full and local layers, not shifted.

Source: the transformers class, under which the checkpoints are published, and loading, chat and
sampling code of ZHZisZZ/dllm (ca176752). The output layer stands behind a prediction head and has a
bias; there are no keys and values to keep. Local layers look to both sides in columns of the batch,
padding included.
"""

import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import ModernBertConfig, ModernBertForMaskedLM
from transformers.conversion_mapping import register_checkpoint_conversion_mapping

from midspan.errors import MidspanError
from midspan.models.family import (
    Family,
    Message,
    Piece,
    PublishedToken,
    PublishedTokens,
    register,
)
from midspan.models.head import PredictionHeadMixin
from midspan.models.native import MaskedDiffusionMixin

_FULL, _LOCAL = "full_attention", "sliding_attention"
# Field of the published config.json: the layers whose rotary base it is.
_ROTARY_BASES = {"global_rope_theta": _FULL, "local_rope_theta": _LOCAL}
_TAGS = {"system": "SYS", "user": "Question", "assistant": "Answer"}


class ModernBertChatConfig(ModernBertConfig):
    """A ModernBERT config that reads and writes the published config.json.

    Its end and beginning are the padding token, as the published sampler has them; the file names
    the encoder's separator and class token there.

    Raises:
        MidspanError: If the layers' types have no period, which the file could not say.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        """Let transformers do its part."""
        super().__post_init__(**kwargs)
        self.eos_token_id = self.bos_token_id = self.pad_token_id
        period = self.layer_types.index(_FULL, 1) if _FULL in self.layer_types[1:] else None
        self.global_attn_every_n_layers = period or len(self.layer_types)
        for layer, layer_type in enumerate(self.layer_types):
            is_full = layer % self.global_attn_every_n_layers == 0
            if layer_type != (_FULL if is_full else _LOCAL):
                raise MidspanError(f"config.json: layer_types[{layer}]={layer_type!r} is irregular")
        for layer_type, rope in self.rope_parameters.items():
            if rope["rope_type"] != "default":
                raise MidspanError(
                    f"config.json: rope_type={rope['rope_type']!r} of {layer_type} is not "
                    "implemented for modernbert models"
                )

    def to_json_string(self, use_diff: bool = True) -> str:
        """The published config.json."""
        native = json.loads(super().to_json_string(use_diff=True))
        native |= {"bos_token_id": self.cls_token_id, "eos_token_id": self.sep_token_id}
        rope = native.pop("rope_parameters")
        native |= {name: rope[layers]["rope_theta"] for name, layers in _ROTARY_BASES.items()}
        dropped = ("layer_types", "_name_or_path")
        kept = {key: value for key, value in native.items() if key not in dropped}
        whole = {**kept, "architectures": ["ModernBertForMaskedLM"]}
        return json.dumps(whole, indent=2, sort_keys=True) + "\n"


class ModernBertForMaskedDiffusion(
    MaskedDiffusionMixin, PredictionHeadMixin, ModernBertForMaskedLM
):
    """ModernBERT's masked-word model; logits at position i predict position i."""

    config_class = ModernBertChatConfig

    def __init__(self, config: ModernBertChatConfig) -> None:
        super().__init__(config)
        # The padding token ends a text, and must learn like any other.
        self.model.embeddings.tok_embeddings.padding_idx = None

    @property
    def lm_head(self) -> nn.Module:
        """The output layer under the name that causal models have for it."""
        return self.decoder

    def output_states(self, hidden_BQD: Tensor) -> Tensor:
        """The prediction head's states."""
        return self.head(hidden_BQD)


# Without an entry of its own, transformers skips a class defined outside its package.
register_checkpoint_conversion_mapping(ModernBertForMaskedDiffusion.__name__, [], overwrite=True)


def chat_pieces(messages: Sequence[Message]) -> list[Piece]:
    """BERT-chat's format, whose tags are plain text.

    A system message counts in first place only; other roles than the three are left out. The
    answer's tag is opened unless the last message is an answer already.
    """
    text = ""
    for index, message in enumerate(messages):
        tag = _TAGS.get(message["role"])
        if tag is None or (message["role"] == "system" and index > 0):
            continue
        text += f"[{tag}]\n{message['content'].strip()}\n[/{tag}]\n\n"
    is_answered = bool(messages) and messages[-1]["role"] == "assistant"
    return [text] if is_answered else [f"{text}[{_TAGS['assistant']}]\n"]


MODERNBERT = register(
    Family(
        name="modernbert",
        model_types=(ModernBertChatConfig.model_type,),
        config_class=ModernBertChatConfig,
        model_class=ModernBertForMaskedDiffusion,
        logit_shift=False,
        published_settings={
            **{"norm_eps": 1e-5, "local_attention": 128, "global_attn_every_n_layers": 3}
        },
        noise="absorbing",
        special_tokens=PublishedTokens(
            vocab_size=50368,
            mask=PublishedToken("[MASK]", 50284),
            bos=PublishedToken(None),
            eos=PublishedToken(None),
            pad=PublishedToken("[PAD]", 50283),
        ),
        chat=chat_pieces,
        lora_targets=("Wqkv", "Wo", "Wi"),
        # The published scripts'.
        decoding_defaults={
            "sampler": "llada",
            "schedule": "linear",
            "length": 128,
            "steps": 128,
            "block_length": 32,
            "temperature": 0.0,
            "remasking": "low_confidence",
        },
        max_length=1024,
        caches=False,
        stop_text=f"[/{_TAGS['assistant']}]",
    )
)
