"""Single responses, commit by commit, to look at: plain and with a phrase in the middle.

What the paper's Figure 2 draws by hand. A few responses prove nothing; they show what a rate means.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from midspan.errors import MidspanError
from midspan.probes.asking import Ask, Bench, Material, ProbeConfig, Work

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


def samples(bench: Bench, material: Material, config: SamplesConfig) -> list[dict[str, Any]]:
    """One record a request, decoding and phrase.

    Its "commits" are (position, step, confidence, word, whether it ends the text).

    Raises:
        MidspanError: If there is no phrase, or it does not fit the canvas.
    """
    from midspan.decoding import Request, anchor_phrase

    asked: list[tuple[Ask, str | None]] = [(ask, None) for ask in material.asks]
    if config.start is not None:
        phrases = material.phrases.get(KIND, ())
        if not phrases:
            raise MidspanError(f"phrases: there are none of kind {KIND!r}; give some, or no start")
        draw = random.Random(config.seed)
        asked += [(ask, draw.choice(phrases)) for ask in material.harmful]
    requests = [
        Request(
            tuple(bench.lm.encode_chat(ask.prompt)),
            {} if phrase is None else anchor_phrase(bench.lm, phrase, config.start or 0),
        )
        for ask, phrase in asked
    ]
    return [
        {
            **bench.place(name, ask),
            "phrase": phrase,
            "start": None if phrase is None else config.start,
            "response": made.text,
            **asdict(material.judge(ask, made.text)),
            "length": len(made.tokens),
            "commits": commits(bench.lm, made),
        }
        for name, decoding in bench.decodings.items()
        for (ask, phrase), made in zip(asked, bench.generate(requests, decoding), strict=True)
    ]


def work(material: Material, config: SamplesConfig, lengths: Sequence[int]) -> Work:
    """One response a request, and a second one to harmful ones, in every canvas.

    Args:
        material: What is asked.
        config: What is shown.
        lengths: Of the canvas of each decoding.
    """
    second = material.harmful if config.start is not None else ()
    asked = {(ask.prompt, "") for ask in material.asks} | {(ask.prompt, "+") for ask in second}
    return Work(len(asked) * len(lengths))


def commits(lm: "DiffusionLM", made: "Generation") -> list[Sequence[Any]]:
    """What the player of a report shows of a response."""
    trace, stop = made.trace.to_dict(), lm.tokens.stop
    rows = zip(*(trace[k] for k in ("position", "step", "confidence", "token")), strict=True)
    return [
        [position, step, confidence, lm.tokenizer.decode([token]), token in stop]
        for position, step, confidence, token in rows
    ]
