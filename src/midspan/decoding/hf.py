"""Decoding under Hugging Face's conventions: prompt ids in, prompt and response ids out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from midspan.decoding.canvas import Request
from midspan.decoding.config import SAMPLERS
from midspan.decoding.configure import decoding_config
from midspan.decoding.decoder import fill
from midspan.errors import MidspanError
from midspan.models.family import Family, SpecialTokens, family_of
from midspan.models.finite import NotFiniteError
from midspan.models.model import DiffusionLM


def generate_hf(
    model: Any, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
) -> Tensor:
    """What `generate` of the native classes does.

    Args:
        model: A native model.
        input_ids: Prompt ids, [B, T], left padded.
        attention_mask: 1 at real positions, [B, T]; None where nothing is padded.
        **kwargs: Fields of a `DecodingConfig` over the family's defaults; `max_new_tokens` as
            another name of `length`; `seed`, to which the row number is added.

    Returns:
        [B, T + length]; positions left open by an early stop hold the pad token.

    Raises:
        MidspanError: Naming an argument that is unknown or does not fit; or the model's logits are
            not finite.
    """
    if input_ids.ndim != 2:
        raise MidspanError("input_ids must have two dimensions [batch, tokens]")
    seed = kwargs.pop("seed", 0)
    lm = without_tokenizer(model)
    config = decoding_config(lm, **_fields(kwargs))
    requests = [
        Request(tuple(ids), seed=seed + row)
        for row, ids in enumerate(_real_ids(input_ids, attention_mask))
    ]
    filled = fill(lm, requests, config, batch_size=max(1, len(requests)))
    if any(row.is_broken for row in filled):
        raise NotFiniteError
    canvas_BL = torch.tensor([row.tokens for row in filled], dtype=input_ids.dtype)
    canvas_BL = canvas_BL.reshape(len(requests), config.length).to(input_ids.device)
    if config.early_stop:
        canvas_BL = canvas_BL.masked_fill(canvas_BL == lm.tokens.mask, lm.tokens.pad)
    return torch.cat([input_ids, canvas_BL], dim=1)


def _fields(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Config fields from keyword arguments."""
    fields = dict(kwargs)
    if "max_new_tokens" in fields:
        if "length" in fields:
            raise MidspanError("give length or max_new_tokens, not both")
        fields["length"] = fields.pop("max_new_tokens")
    # Names of any sampler's fields, in order and once.
    known = dict.fromkeys(name for config in SAMPLERS.values() for name in config.model_fields)
    for name in sorted(fields.keys() - known):
        known_names = ", ".join(("max_new_tokens", "seed", *known))
        raise MidspanError(f"generate: unknown argument {name!r}; known: {known_names}")
    return fields


def _real_ids(input_ids_BT: Tensor, attention_BT: Tensor | None) -> list[list[int]]:
    """Each prompt without its padding."""
    if attention_BT is None:
        return input_ids_BT.tolist()
    if attention_BT.shape != input_ids_BT.shape:
        raise MidspanError("attention_mask must have the shape of input_ids")
    real_BT = attention_BT.bool()
    if (real_BT[:, :-1] & ~real_BT[:, 1:]).any():
        raise MidspanError("attention_mask has padding after a prompt; pad on the left")
    return [ids[real].tolist() for ids, real in zip(input_ids_BT, real_BT, strict=True)]


def without_tokenizer(model: Any) -> DiffusionLM:
    """The model as the decoder wants it; text is neither read nor written."""
    config = model.config
    family = family_of(config)
    return DiffusionLM(
        model=model,
        tokenizer=None,
        family=family,
        tokens=_special_tokens(config, family),
        name=family.name,
        max_length=min(family.max_length, config.max_position_embeddings),
        fingerprint="",
    )


def _special_tokens(config: Any, family: Family) -> SpecialTokens:
    """Special tokens by the config, completed by the published table where it applies."""
    table = family.special_tokens
    published = table.items() if table.hold_for(config.vocab_size) else {}

    def find(role: str) -> int | None:
        stated = getattr(config, f"{role}_token_id", None)
        if stated is None:
            return published[role].id if role in published else None
        return stated[0] if isinstance(stated, list) else stated

    eos, pad = find("eos"), find("pad")
    if eos is None:
        raise MidspanError("config.json: eos_token_id is missing; set it to decode")
    if table.mask is not None and find("mask") is None:
        raise MidspanError("config.json: mask_token_id is missing; set it to decode")
    return SpecialTokens(
        mask=find("mask"),
        bos=find("bos"),
        eos=eos,
        eot=find("eot"),
        pad=eos if pad is None else pad,
    )
