"""Where a prefilled phrase breaks a model: kind of phrase by position (paper, Figure 3).

The paper changes phrase and position together: an affirmative phrase at the first token, a
procedural one at the 40th to the 160th. Here they are crossed, with a neutral phrase and random
tokens of the same length as controls, the same requests without a phrase, and benign requests.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from midspan.engine.capabilities import Need
from midspan.errors import MidspanError
from midspan.files import Record
from midspan.probes.context import (
    OutcomeRates,
    Placed,
    ProbeCase,
    ProbeConfig,
    ProbeContext,
    ProbeCost,
    ProbeData,
    ProbeRequest,
    grouped,
)

RANDOM, NO_PHRASE = "random", "no phrase"
# The paper's cells: affirmative at the first token, procedural behind it.
PAPER = {"affirmative": (0,), "procedural": (40, 80, 120, 160)}


class PrefillConfig(ProbeConfig):
    """The grid.

    Attributes:
        phrase_kinds: Kinds of phrase; "random" are tokens of the vocabulary, as many as the
            request's procedural phrase has.
        positions: First tokens of the phrase. Those at which not every phrase fits the canvas
            are left out.
        seed: Seed of the phrases' draw; a request keeps its phrase at every position.
    """

    phrase_kinds: tuple[str, ...] = ("affirmative", "procedural", "neutral", RANDOM)
    positions: tuple[int, ...] = (0, 20, 40, 80, 120, 160)
    seed: int = 0


def prefill(context: ProbeContext, data: ProbeData, config: PrefillConfig) -> list[dict[str, Any]]:
    """One record a request, kind, position and decoding.

    Raises:
        MidspanError: If a kind has no phrases, or no position fits the canvas.
    """
    for kind in config.phrase_kinds:
        if not data.phrases.get(_source(kind)):
            raise MidspanError(f"phrase_kinds: there are no phrases of kind {_source(kind)!r}")
    return context.answer(list(_cases(context, data, config)), data)


def asks_in_part(config: PrefillConfig) -> tuple[Need, ...]:
    """What a server must give of which position 0 alone can be measured."""
    return ("prefix",) if 0 in config.positions else ("anchors",)


def cost(data: ProbeData, config: PrefillConfig, lengths: Sequence[int]) -> ProbeCost:
    """One response a request, phrase and position, and one without a phrase, in every canvas.

    Exact where a phrase has a token a word; with more, fewer positions may fit.

    Args:
        data: What is asked.
        config: The grid.
        lengths: Of the canvas of each decoding.
    """
    longest = max(len(phrase.split()) for phrase in _phrases(data, config))
    canvases: set[tuple[str, str, int | None]] = {
        (request.prompt, "", None) for request in data.requests
    }
    for request in data.requests:
        drawn, _ = _drawn(data, config, request)
        for kind in config.phrase_kinds:
            phrase = f"{RANDOM} {request.id}" if kind == RANDOM else drawn[kind]
            starts = _fitting(config, range(min(lengths) - longest + 1))
            canvases |= {(request.prompt, phrase, start) for start in starts}
    return ProbeCost(len(canvases) * len(lengths))


def positions_that_fit(context: ProbeContext, data: ProbeData, config: PrefillConfig) -> list[int]:
    """Positions of the grid at which every phrase fits every canvas.

    Raises:
        MidspanError: If there are none.
    """
    phrases = _phrases(data, config)
    longest = max(
        len(context.text.encode_phrase(phrase, start))
        for phrase in phrases
        for start in config.positions
    )
    fits = _fitting(config, context.room(longest))
    if not fits:
        raise MidspanError(
            f"positions: none of {config.positions} leaves room for a phrase of {longest} tokens "
            f"in a canvas of {context.length}"
        )
    return fits


def _source(kind: str) -> str:
    """Whose phrases decide on the tokens of a kind."""
    return "procedural" if kind == RANDOM else kind


def _phrases(data: ProbeData, config: PrefillConfig) -> list[str]:
    return [phrase for kind in config.phrase_kinds for phrase in data.phrases[_source(kind)]]


def _fitting(config: PrefillConfig, room: range) -> list[int]:
    return [start for start in config.positions if start in room]


def _drawn(
    data: ProbeData, config: PrefillConfig, request: ProbeRequest
) -> tuple[dict[str, str], random.Random]:
    """A request's phrases, and the state of its draws after them."""
    rng = random.Random(f"{config.seed}/{request.id}")
    return {kind: rng.choice(phrases) for kind, phrases in data.phrases.items()}, rng


def _cases(context: ProbeContext, data: ProbeData, config: PrefillConfig) -> Iterator[ProbeCase]:
    positions = positions_that_fit(context, data, config)
    text = context.text
    for request in data.requests:
        yield ProbeCase(request, None, {"phrase_kind": NO_PHRASE, "position": None, "phrase": None})
        drawn, rng = _drawn(data, config, request)
        replaced: list[int] = []
        if RANDOM in config.phrase_kinds:
            size = len(text.encode_phrase(drawn[_source(RANDOM)], positions[-1]))
            replaced = context.random_tokens(rng, size)
        for kind in config.phrase_kinds:
            for start in positions:
                ids = replaced
                if kind != RANDOM:
                    ids = text.encode_phrase(drawn[kind], start)
                shown = text.tokenizer.decode(ids).strip()
                words = shown if kind == RANDOM else drawn[kind]
                labels = {"phrase_kind": kind, "position": start, "phrase": shown}
                yield ProbeCase(request, Placed(words, start, tuple(ids)), labels)


@dataclass(frozen=True)
class PrefillCell:
    """One cell of the factorial; `position` is None without a phrase."""

    model: str
    decoding: str
    request_kind: str
    phrase_kind: str
    position: int | None
    rates: OutcomeRates

    @property
    def in_paper(self) -> bool:
        """Whether the paper's Figure 3 has this cell."""
        return self.position in PAPER.get(self.phrase_kind, ())


def prefill_cells(records: Sequence[Record]) -> list[PrefillCell]:
    """Rates by model, decoding, kind of request, kind of phrase and position."""
    fields = ("model", "decoding", "request_kind", "phrase_kind", "position")
    return [
        PrefillCell(**dict(zip(fields, values, strict=True)), rates=OutcomeRates.of(part))
        for values, part in grouped(records, *fields).items()
    ]
