"""A role's decoding under what a call changes of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from midspan.errors import not_one_of

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig


def resized(config: "DecodingConfig", length: int | None) -> "DecodingConfig":
    """The config for a canvas of at least `length`, in whole blocks, as many tokens a step."""
    if length is None or length == config.length:
        return config
    block = config.block_length or length
    num_blocks = -(-length // block)
    if config.block_length is None:
        steps = max(1, -(-config.steps * length // config.length))
    else:
        steps = config.steps_per_block * num_blocks
    return config.model_copy(update={"length": num_blocks * block, "steps": steps})


def swept(config: "DecodingConfig", changes: Sequence[tuple[str, Any]]) -> "DecodingConfig":
    """The config with some fields changed; blocks and steps are fitted to what they must divide.

    What its sampler does not vary stays as it is, as does the block length of block diffusion,
    which is that of the model's attention.

    Args:
        config: The config.
        changes: Fields; `length` and `steps` as a fraction are multiples of the config's own.

    Raises:
        MidspanError: No sampler has such a field, or the result is no valid config.
    """
    if not changes:
        return config
    from midspan.decoding.config import SAMPLERS

    known = {name for sampler in SAMPLERS.values() for name in sampler.model_fields}
    fixed = {"block_length"} if config.sampler == "block" else set()
    fields = {}
    for name, value in changes:
        if name not in known:
            raise not_one_of("decoding", name, sorted(known))
        if name in type(config).model_fields and name not in fixed:
            fields[name] = value
    for name in ("length", "steps"):
        if isinstance(fields.get(name), float):
            fields[name] = max(1, round(fields[name] * getattr(config, name)))
    fields = {**config.model_dump(), "rules": config.rules, **fields}
    if fields.get("block_length"):
        fields["block_length"] = min(fields["block_length"], fields["length"])
        num_blocks = -(-fields["length"] // fields["block_length"])
        fields["length"] = num_blocks * fields["block_length"]
        fields["steps"] = -(-fields["steps"] // num_blocks) * num_blocks
    return type(config)(**fields)


def one_by_one(
    config: "DecodingConfig", length: int, changes: Mapping[str, Any]
) -> "DecodingConfig":
    """The config for a canvas in the user's turn: one token a forward, no blocks, to its end."""
    own: dict[str, Any] = {"length": length, "steps": length, "early_stop": False}
    if config.sampler == "llada":
        own |= {"block_length": None}
    elif config.sampler == "block":
        own |= {"steps": -(-length // config.block) * config.block}
    return config.model_copy(update={**own, **changes})
