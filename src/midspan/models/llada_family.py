"""What a LLaDA checkpoint is and how it is spoken to, whichever classes compute it."""

from collections.abc import Callable, Sequence
from typing import Any

from midspan.models.family import (
    Family,
    Message,
    Piece,
    PublishedToken,
    PublishedTokens,
    Special,
)

# Of LLaDA-8B.
LLADA_VOCABULARY = 126464
LLADA_BLOCK = 32
# iLLaDA's size: other special tokens, and config fields that nobody has verified here.
ILLADA_VOCABULARY = 155136
# What every published config says, and the native class assumes.
PUBLISHED_CONSTANTS: dict[str, Any] = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "embedding_dropout": 0.0,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "residual_dropout": 0.0,
    "rope": True,
    "scale_logits": False,
}


def llada_family(
    name: str,
    classes: tuple[type[Any], type[Any]],
    vocab_size: int,
    block_length: int,
    chat: Callable[[Sequence[Message]], list[Piece]] | None = None,
) -> Family:
    """The family of LLaDA's format under a name.

    Args:
        name: The published `model_type`.
        classes: Its config and its model.
        vocab_size: Of the published checkpoint.
        block_length: Of the published decoding.
        chat: Its chat format; None for LLaDA's.
    """
    return Family(
        name=name,
        model_types=(name,),
        config_class=classes[0],
        model_class=classes[1],
        logit_shift=False,
        noise="absorbing",
        special_tokens=_special_tokens(vocab_size),
        chat=chat or chat_pieces,
        lora_targets=(
            *("q_proj", "k_proj", "v_proj", "o_proj"),
            *("gate_proj", "up_proj", "down_proj"),
        ),
        decoding_defaults={
            "sampler": "llada",
            "length": 128,
            "steps": 128,
            "block_length": block_length,
            "temperature": 0.0,
            "remasking": "low_confidence",
        },
        max_length=4096,
        published_settings={"rms_norm_eps": 1e-5},
    )


def chat_pieces(messages: Sequence[Message], gap: str = "\n\n") -> list[Piece]:
    """LLaDA's chat format, which always ends with the assistant's header.

    Source: the chat template in the published tokenizer_config.json; contents are trimmed.

    Args:
        messages: The conversation.
        gap: What stands between a header and its text.
    """

    def header(role: str) -> list[Piece]:
        return [Special("<|start_header_id|>"), role, Special("<|end_header_id|>")]

    pieces: list[Piece] = [Special("<|startoftext|>")]
    for message in messages:
        text = gap + message["content"].strip()
        pieces += [*header(message["role"]), text, Special("<|eot_id|>")]
    return [*pieces, *header("assistant"), gap]


def mmada_chat_pieces(messages: Sequence[Message]) -> list[Piece]:
    """MMaDA's chat format: LLaDA's, with one newline behind a header.

    Source: the template that the published generate.py and app.py set.
    """
    return chat_pieces(messages, gap="\n")


def _special_tokens(vocab_size: int) -> PublishedTokens:
    return PublishedTokens(
        vocab_size=vocab_size,
        mask=PublishedToken("<|mdm_mask|>", 126336),
        bos=PublishedToken("<|startoftext|>", 126080),
        eos=PublishedToken("<|endoftext|>", 126081),
        eot=PublishedToken("<|eot_id|>", 126348),
        pad=PublishedToken("<|endoftext|>", 126081),
    )
