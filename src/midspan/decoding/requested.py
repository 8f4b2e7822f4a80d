"""What cannot be decoded is refused before work starts."""

from collections.abc import Sequence

from midspan.decoding.canvas import Request
from midspan.decoding.config import DecodingConfig
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM


def check_requests(lm: DiffusionLM, requests: Sequence[Request], config: DecodingConfig) -> None:
    """Refuse what cannot be decoded, before work starts.

    Raises:
        MidspanError: Naming the request, the field and the fix.
    """
    if lm.tokens.mask is None:
        raise MidspanError(f"model: family {lm.family.name} has no mask token to denoise from")
    if config.sampler == "block" and lm.family.attention == "full":
        raise MidspanError(
            f"decoding.sampler: 'block' is for block-causal attention, and that of family "
            f"{lm.family.name} is full; use 'llada' or 'dream'"
            + ("" if lm.family.in_blocks is None else ", or say block_size in its config.json")
        )
    if config.compatibility and counts_from_prompt(lm, config):
        raise MidspanError(
            f"decoding.compatibility: there is no published sampler of family {lm.family.name} here"
        )
    if config.sampler == "block" and config.block != lm.block_length:
        raise MidspanError(
            f"decoding.block_length={config.block} must be {lm.block_length}, the blocks of the "
            "model's attention; dataclasses.replace(lm, block_length=...) gives it others"
        )
    if config.editing_threshold is not None and lm.family.logit_shift:
        raise MidspanError(
            f"decoding.editing_threshold: family {lm.family.name} has a logit shift, and tokens "
            "that begin a block cannot be edited; leave it out"
        )
    if config.cache != "none" and not lm.family.caches:
        raise MidspanError(
            f"decoding.cache: family {lm.family.name} keeps no keys and values; use cache='none'"
        )
    is_cached = config.sampler != "block" and config.cache != "none"
    if is_cached and lm.family.attention == "block_causal":
        raise MidspanError(
            f"decoding.cache: {config.cache!r} with sampler={config.sampler!r} is for full "
            f"attention, and that of family {lm.family.name} is block-causal; use "
            "sampler='block' or cache='none'"
        )
    vocab_size = lm.model.get_input_embeddings().num_embeddings
    for index, request in enumerate(requests):
        for problem in _problems(request, config, lm, vocab_size):
            raise MidspanError(f"requests[{index}].{problem}")


def counts_from_prompt(lm: DiffusionLM, config: DecodingConfig) -> bool:
    """Whether blocks count from the prompt's first token, so that one may hold the prompt's end."""
    return config.sampler == "block" and lm.family.blocks_from == "prompt"


def _problems(
    request: Request, config: DecodingConfig, lm: DiffusionLM, vocab_size: int
) -> list[str]:
    prompt, anchors, length = request.prompt_ids, request.anchors, config.length
    total = len(prompt) + length
    if counts_from_prompt(lm, config):
        total = -(-total // config.block) * config.block
    problems = []
    if not prompt:
        problems.append("prompt_ids is empty; give at least one token")
    elif min(prompt) < 0 or max(prompt) >= vocab_size:
        problems.append(f"prompt_ids has an id outside the vocabulary of {vocab_size}")
    if total > lm.max_length:
        problems.append(
            f"prompt_ids has {len(prompt)} tokens, and with length={length} exceeds the model's "
            f"{lm.max_length}; shorten the prompt or lower decoding.length"
        )
    for position, token in anchors.items():
        if not 0 <= position < length:
            problems.append(f"anchors: position {position} is outside the canvas 0..{length - 1}")
        if token == lm.tokens.mask:
            problems.append(f"anchors: position {position} holds the mask token; leave it out")
        elif not 0 <= token < vocab_size:
            problems.append(f"anchors: token {token} is outside the vocabulary of {vocab_size}")
    return problems
