"""A config from its fields, or from a family's published settings and what replaces them."""

from collections.abc import Mapping
from typing import Any

from midspan.decoding.config import SAMPLERS, DecodingConfig
from midspan.errors import not_one_of


def decoding_config(lm_or_family: Any = None, /, **fields: Any) -> DecodingConfig:
    """The config of a sampler from its fields; over a family's published settings where given.

    Over a family's settings, a `length` without `steps` keeps the family's tokens per step, and a
    canvas shorter than the family's block is one block. Where another sampler is chosen, the
    family's settings of its own sampler do not apply. With sampler "block", a model's own block
    length goes before its family's.

    Args:
        lm_or_family: A `DiffusionLM` or a `Family`; without it, defaults are the sampler's.
        **fields: Fields of the sampler's config. `sampler` is the family's own unless given, and
            "llada" without a family.

    Raises:
        MidspanError: If the result is not a valid config.
    """
    family = getattr(lm_or_family, "family", lm_or_family)
    published = {} if family is None else dict(family.decoding_defaults)
    own = published.get("sampler")
    sampler = fields.get("sampler", own or "llada")
    if not isinstance(sampler, str) or sampler not in SAMPLERS:
        raise not_one_of("decoding.sampler", sampler, SAMPLERS)
    if fields.get("sampler", own) != own:
        published = {name: published[name] for name in ("length", "steps") if name in published}
    elif own == "block":
        published["block_length"] = block = lm_or_family.block_length
        if "sub_block_length" in published:
            published["sub_block_length"] = min(published["sub_block_length"], block)
    return SAMPLERS[sampler](**{**_resize(sampler, published, fields), **fields})


def _resize(sampler: str, published: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The family's settings fitted to the length and block length that are given."""
    length = given.get("length", published.get("length"))
    if "length" not in published or not isinstance(length, int) or length < 1:
        return published
    sized = dict(published)
    if "block_length" in SAMPLERS[sampler].model_fields:
        block = published.get("block_length")
        # Block diffusion fills its last block and cuts it; a shorter one is another attention mask.
        sized["block_length"] = block if sampler == "block" else block and min(block, length)
    block = given.get("block_length", sized.get("block_length"))
    if not isinstance(block, int) or block < 1:
        block = length
    num_blocks = -(-length // block)
    filled = num_blocks * block if sampler == "block" else length
    steps = max(1, published["steps"] * filled // published["length"])
    sized["steps"] = -(-steps // num_blocks) * num_blocks
    return sized
