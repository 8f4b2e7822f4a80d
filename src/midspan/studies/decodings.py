"""How studies decode: a canvas as one block and in blocks of 32, and the organisms' usual one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig
    from midspan.models import DiffusionLM

ONE_BLOCK, BLOCKS_OF_32 = "one block", "blocks of 32"
# The only decoding of a run that names one, or of a model that has one way to decode.
AS_CONFIGURED = "as configured"
ORGANISM_LENGTH, ORGANISM_STEPS = 128, 32
_BLOCK_LENGTHS = {ONE_BLOCK: None, BLOCKS_OF_32: 32}


def organism_fields(name: str, steps: int = ORGANISM_STEPS) -> dict[str, Any]:
    """Fields of the organism's decoding by its name, `ONE_BLOCK` or `BLOCKS_OF_32`."""
    return {"length": ORGANISM_LENGTH, "block_length": _BLOCK_LENGTHS[name], "steps": steps}


def organism_decodings(steps: int = ORGANISM_STEPS) -> "dict[str, DecodingConfig]":
    """Both ways to decode that every figure of the organism is made with, by name."""
    from midspan.decoding import decoding_config

    return {name: decoding_config(**organism_fields(name, steps)) for name in _BLOCK_LENGTHS}


def probe_decodings(
    lm: "DiffusionLM", overrides: Mapping[str, Any], organism: bool = False
) -> "dict[str, DecodingConfig]":
    """One block of the canvas's length, and blocks of 32; else what the family or the user says.

    Args:
        lm: The model, whose family's settings hold.
        overrides: Fields that go before them.
        organism: Whether the model is an organism, with its usual canvas.
    """
    from midspan.decoding import decoding_config

    usual = {"length": ORGANISM_LENGTH, "steps": ORGANISM_STEPS} if organism else {}
    fields = {**usual, **overrides}
    own = decoding_config(lm, **fields)
    if own.sampler != "llada" or "block_length" in fields:
        return {AS_CONFIGURED: own}
    return {
        name: decoding_config(lm, **fields, block_length=length)
        for name, length in _BLOCK_LENGTHS.items()
        if length is None or (own.length > length and own.length % length == 0)
    }


def chosen_setting(choice: Mapping[str, Any]) -> dict[str, str]:
    """The line of a report's settings on how a decoding was chosen; none where it was not.

    Args:
        choice: As `midspan.studies.choice.stored.Settings.chosen` has it.
    """
    if not choice:
        return {}
    if not choice.get("found"):
        return {"decoding, chosen": "no candidate keeps the verdicts: the reference decoding"}
    elsewhere = [f"{name} {value}" for name, value in sorted(choice.get("chosen_at", {}).items())]
    said = f"; chosen at another reference ({', '.join(elsewhere)})" if elsewhere else ""
    return {
        "decoding, chosen": f"same verdicts as the reference by {choice['judged_by']}: "
        f"{choice['agreement']}; {choice['times_fewer_forwards']} times fewer forwards{said}"
    }
