"""DiffusionGemma (26B-A4B): block diffusion over uniform noise, native in transformers.

There is no mask token: a canvas starts as random tokens, what is not yet accepted becomes noise
again, and each step is conditioned on the last one's guess. Masked logits, window masks and the
objectives of alignment do not exist for it; `midspan.models.uniform_noise` runs the class's own
sampler.
"""

from collections.abc import Sequence

from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from midspan.models.family import (
    Family,
    Message,
    Piece,
    PublishedToken,
    PublishedTokens,
    Special,
    register,
)

_ROLES = {"assistant": "model"}


def chat_pieces(messages: Sequence[Message]) -> list[Piece]:
    """Gemma 4's turns up to and including the model's header, for tokenizers without a template."""
    pieces: list[Piece] = [Special("<bos>")]
    for message in messages:
        role = _ROLES.get(message["role"], message["role"])
        pieces += [Special("<|turn>"), f"{role}\n{message['content'].strip()}"]
        pieces += [Special("<turn|>"), "\n"]
    return [*pieces, Special("<|turn>"), "model\n"]


DIFFUSION_GEMMA = register(
    Family(
        name="diffusion_gemma",
        model_types=(DiffusionGemmaConfig.model_type,),
        config_class=DiffusionGemmaConfig,
        model_class=DiffusionGemmaForBlockDiffusion,
        logit_shift=False,
        noise="uniform",
        special_tokens=PublishedTokens(
            vocab_size=262144,
            bos=PublishedToken("<bos>", 2),
            eos=PublishedToken("<eos>", 1),
            eot=PublishedToken("<turn|>", None),
            pad=PublishedToken("<pad>", 0),
        ),
        chat=chat_pieces,
        # Alignment refuses the family, so nothing is adapted by default.
        lora_targets=(),
        decoding_defaults={"length": 256, "steps": 48, "block_length": 256},
        max_length=131072,
        template_first=True,
    )
)
