"""From what a client asks to what the decoder is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from midspan.decoding import (
    DecodingConfig,
    Request,
    Rule,
    anchor_phrases,
    as_rule,
    chat_request,
    decoding_config,
    merge_anchors,
    scaffold_anchors,
)
from midspan.errors import MidspanError
from midspan.models import DiffusionLM
from midspan.serve.wire import ChatRequest, CompletionRequest, MidspanOptions

_MAX_COPIES = 32
# Fields of a sampler that have a place of their own, or that a server does not take.
_ELSEWHERE = {
    "length": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "steps": "midspan.steps",
    "block_length": "midspan.block_length",
    "sampler": "midspan.sampler",
    "rules": "midspan.rules",
}


@dataclass(frozen=True)
class Prepared:
    """What a request comes to.

    Attributes:
        config: How it is decoded; its rules are the server's and then the client's.
        requests: One a choice.
        limit: Tokens that an answer may have; the canvas may be longer, in whole blocks.
    """

    config: DecodingConfig
    requests: tuple[Request, ...]
    limit: int


def prepare(
    lm: DiffusionLM, asked: ChatRequest | CompletionRequest, rules: Sequence[Rule] = ()
) -> Prepared:
    """The canvases of a request.

    Args:
        lm: The model.
        asked: The request.
        rules: What acts on every request, before the client's own rules.

    Raises:
        MidspanError: It cannot be decoded; one line that names the field.
    """
    own = asked.midspan
    fixed, scaffold = _anchors(lm, own)
    length = asked.canvas_tokens or scaffold
    if scaffold is not None and length is not None and scaffold > length:
        raise MidspanError(
            f"midspan.canvas: takes {scaffold} tokens, more than max_tokens={length}; raise it"
        )
    config = _config(lm, asked, length, (*rules, *_client_rules(own)))
    if max(fixed, default=-1) >= (length or config.length):
        raise MidspanError(
            f"midspan.anchors: position {max(fixed)} is outside the canvas "
            f"0..{(length or config.length) - 1}; raise max_tokens"
        )
    seed = asked.seed or 0
    if isinstance(asked, ChatRequest):
        first = chat_request(lm, asked.turns, config, fixed, seed)
        prompts = [first]
    else:
        prompts = _raw_requests(lm, asked, config, fixed, seed)
    choices = asked.n or 1
    requests = []
    for number, request in enumerate(prompts):
        for choice in range(choices):
            own_seed = seed + number * choices + choice
            if own_seed == seed or request.copies is None:
                requests.append(replace(request, seed=own_seed))
            else:  # Copies are drawn by the seed.
                assert isinstance(asked, ChatRequest)
                requests.append(chat_request(lm, asked.turns, config, fixed, own_seed))
    return Prepared(config, tuple(requests), length or config.length)


def _client_rules(own: MidspanOptions) -> tuple[Rule, ...]:
    """The client's rules, but for what would load a model or answer without end."""
    rules = tuple(map(as_rule, own.rules))
    for rule in rules:
        if getattr(rule, "count", 0) > _MAX_COPIES:
            raise MidspanError(f"midspan.rules.{rule.rule}.count: must be at most {_MAX_COPIES}")
        scorer = type(rule).model_fields.get("scorer")
        if scorer is not None and getattr(rule, "scorer", None) != scorer.default:
            raise MidspanError(
                f"midspan.rules.{rule.rule}.scorer: a client names no models; leave it out"
            )
    return rules


def _anchors(lm: DiffusionLM, own: MidspanOptions) -> tuple[dict[int, int], int | None]:
    """What is fixed, and the tokens of the text with holes where there is one."""
    phrases = [(one.text, one.position) for one in own.anchors if one.text is not None]
    parts = [anchor_phrases(lm, phrases)]
    parts += [dict(enumerate(one.ids, one.position)) for one in own.anchors if one.ids is not None]
    scaffold = None
    if own.canvas is not None:
        holes, scaffold = scaffold_anchors(lm, own.canvas)
        parts.append(holes)
    return merge_anchors(*parts), scaffold


def _config(
    lm: DiffusionLM,
    asked: ChatRequest | CompletionRequest,
    length: int | None,
    rules: tuple[Rule, ...],
) -> DecodingConfig:
    own = asked.midspan
    for name in own.decoding:
        if name in _ELSEWHERE:
            raise MidspanError(f"midspan.decoding.{name}: say it as {_ELSEWHERE[name]}")
    given: dict[str, Any] = {
        "temperature": asked.temperature,
        "steps": own.steps,
        "block_length": own.block_length,
        "sampler": own.sampler,
        # 1 is what samplers without a nucleus do.
        "top_p": None if asked.top_p == 1 else asked.top_p,
    }
    fields = {**own.decoding, **{k: v for k, v in given.items() if v is not None}, "rules": rules}
    if length is not None:
        fields["length"] = length
    if own.block_length is None:
        fields |= _in_whole_blocks(lm, fields)
    config = decoding_config(lm, **fields)
    if config.compatibility:
        raise MidspanError(
            "midspan.decoding.compatibility: its draws are of the process, not of a request"
        )
    if config.is_fixed:
        raise MidspanError(
            f"midspan.decoding.shapes: {config.shapes!r} is for decoding lists of requests; a "
            "server watches its rows at every step; leave it out"
        )
    return config


def _in_whole_blocks(lm: DiffusionLM, fields: dict[str, Any]) -> dict[str, int]:
    """Length and steps as the family's blocks need them, where its canvases are in whole ones."""
    bare = {name: fields[name] for name in ("sampler", "schedule") if name in fields}
    published = decoding_config(lm, **bare)
    length, block = fields.get("length", published.length), published.block_length
    if published.sampler != "llada" or block is None or published.rounds or length <= block:
        return {}
    num_blocks = -(-length // block)
    fitted = {"length": num_blocks * block}
    if "steps" in fields:
        fitted["steps"] = -(-fields["steps"] // num_blocks) * num_blocks
    return fitted


def _raw_requests(
    lm: DiffusionLM,
    asked: CompletionRequest,
    config: DecodingConfig,
    anchors: dict[int, int],
    seed: int,
) -> list[Request]:
    for rule in config.rules:
        if rule.rewrites_prompts or rule.screens_prompts:
            raise MidspanError(
                f"midspan.rules.{rule.rule}: acts on conversations; ask /v1/chat/completions"
            )
    prompts = [lm.encode_text(one) if isinstance(one, str) else one for one in asked.prompts]
    return [Request(tuple(ids), anchors, seed) for ids in prompts]
