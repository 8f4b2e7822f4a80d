"""Single responses, commit by commit, to look at: plain and with a phrase in the middle.

What the paper's Figure 2 draws by hand. A few responses prove nothing; they show what a rate means.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from midspan.errors import MidspanError
from midspan.probes.context import ProbeConfig, ProbeCost, ProbeData, ProbeRequest, check_place
from midspan.probes.local import LocalContext

if TYPE_CHECKING:
    from midspan.decoding import Generation
    from midspan.models import DiffusionLM

KIND = "procedural"


class SamplesConfig(ProbeConfig):
    """What is shown.

    Attributes:
        start: Where a procedural phrase stands in the second response to each harmful request;
            None asks for no second response.
        seed: Seed of the phrases' draw.
    """

    start: int | None = Field(40, ge=0)
    seed: int = 0


def samples(context: LocalContext, data: ProbeData, config: SamplesConfig) -> list[dict[str, Any]]:
    """One record a request, decoding and phrase.

    Its "commits" are (position, step, confidence, word, whether it ends the text).

    Raises:
        MidspanError: If there is no phrase, or it does not fit the canvas.
    """
    from midspan.decoding import anchor_phrase

    pairs = [*((request, None) for request in data.requests), *_phrased(data, config)]
    requests = [
        context.encode(
            request.prompt,
            {} if phrase is None else anchor_phrase(context.lm, phrase, config.start or 0),
        )
        for request, phrase in pairs
    ]
    records = []
    for name, decoding in context.decodings.items():
        made = context.generate(requests, decoding)
        asked = [(request, one.text) for (request, _), one in zip(pairs, made, strict=True)]
        outcomes = context.judged(data, asked)
        records += [
            {
                **context.labels(name, request),
                "phrase": phrase,
                "start": None if phrase is None else config.start,
                **generation.said,
                **outcome,
                "length": len(generation.tokens),
                "commits": commits(context.lm, generation),
            }
            for (request, phrase), generation, outcome in zip(pairs, made, outcomes, strict=True)
        ]
    return records


def cost(data: ProbeData, config: SamplesConfig, lengths: Sequence[int]) -> ProbeCost:
    """One response a request, and a second one to harmful ones, in every canvas.

    Args:
        data: What is asked.
        config: What is shown.
        lengths: Of the canvas of each decoding.
    """
    second = data.harmful if config.start is not None else ()
    canvases = {(request.prompt, "") for request in data.requests} | {
        (request.prompt, "+") for request in second
    }
    return ProbeCost(len(canvases) * len(lengths))


def check_start(data: ProbeData, config: SamplesConfig, length: int | None) -> None:
    """Refuse a start at which a phrase would reach beyond the canvas.

    Raises:
        MidspanError: There is no phrase, or it does not fit the canvas.
    """
    for _, phrase in _phrased(data, config):
        check_place("start", config.start or 0, phrase, length)


def _phrased(data: ProbeData, config: SamplesConfig) -> list[tuple[ProbeRequest, str]]:
    """Harmful requests with the phrases that stand in the second response to them."""
    if config.start is None:
        return []
    phrases = data.phrases.get(KIND, ())
    if not phrases:
        raise MidspanError(f"phrases: there are none of kind {KIND!r}; give some, or no start")
    draw = random.Random(config.seed)
    return [(request, draw.choice(phrases)) for request in data.harmful]


def commits(lm: "DiffusionLM", generation: "Generation") -> list[Sequence[Any]]:
    """What the player of a report shows of a response."""
    trace, stop = generation.trace.to_dict(), lm.tokens.stop
    rows = zip(*(trace[k] for k in ("position", "step", "confidence", "token")), strict=True)
    return [
        [position, step, confidence, lm.tokenizer.decode([token]), token in stop]
        for position, step, confidence, token in rows
    ]
