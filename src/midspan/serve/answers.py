"""What clients are told: OpenAI's objects, with midspan's own beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from midspan.decoding import DecodingConfig, Generation, Request
from midspan.models import DiffusionLM


@dataclass(frozen=True)
class Choice:
    """One answer, ready to be told.

    Attributes:
        generation: What was decoded.
        seed: Of its random draws.
        text: The answer, cut at stop texts and at the most tokens that were asked for.
        tokens: Tokens of the answer up to its first end token.
        finish: Why it ended.
    """

    generation: Generation
    seed: int
    text: str
    tokens: int
    finish: str


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of the stop texts begins; None where there is none."""
    places = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return min(places, default=None)


def choice_of(
    lm: DiffusionLM, request: Request, generation: Generation, limit: int, stops: Sequence[str]
) -> Choice:
    """A choice from what was decoded.

    Args:
        lm: The model.
        request: What was decoded.
        generation: What came of it.
        limit: Tokens that the answer may have.
        stops: Texts at which it ends.
    """
    stop_ids = lm.tokens.stop
    answer = list(takewhile(lambda token: token not in stop_ids, generation.tokens))
    ended = len(answer) < len(generation.tokens)
    text = generation.text
    if len(answer) > limit and not generation.rejected_by:
        answer, ended = answer[:limit], False
        text = lm.decode_response(answer, request.prompt_ids).answer
    place = first_stop(text, stops)
    if place is not None:
        text, ended = text[:place], True
    finish = "content_filter" if generation.rejected_by else "stop" if ended else "length"
    return Choice(generation, request.seed, text, len(answer), finish)


def usage(prompt_tokens: int, choices: Sequence[Choice]) -> dict[str, Any]:
    """OpenAI's usage, with forwards."""
    tokens = sum(choice.tokens for choice in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
        "midspan": {"forwards": sum(choice.generation.forwards for choice in choices)},
    }


def summary(choices: Sequence[Choice], config: DecodingConfig) -> dict[str, Any]:
    """What midspan says of a whole response."""
    generations = [choice.generation for choice in choices]
    thoughts = "".join(one.thoughts for one in generations)
    return {
        "forwards": sum(one.forwards for one in generations),
        "stopped_early": any(one.stopped_early for one in generations),
        "rejected_by": next((one.rejected_by for one in generations if one.rejected_by), ""),
        "seed": choices[0].seed,
        "settings": config.model_dump(mode="json"),
        **({"thoughts": thoughts} if thoughts else {}),
    }


def traced(lm: DiffusionLM, choice: Choice) -> dict[str, Any]:
    """What midspan says of one choice."""
    generation = choice.generation
    trace = generation.trace.to_dict()
    return {
        "forwards": generation.forwards,
        "stopped_early": generation.stopped_early,
        "rejected_by": generation.rejected_by,
        "seed": choice.seed,
        "tokens": list(generation.tokens),
        "trace": {**trace, "text": [token_text(lm, token) for token in trace["token"]]},
    }


def token_text(lm: DiffusionLM, token: int) -> str:
    """The text of one token."""
    return str(lm.tokenizer.decode([token], clean_up_tokenization_spaces=False))
