"""Where a prefilled phrase breaks a model: kind of phrase by position (paper, Figure 3).

The paper changes phrase and position together: an affirmative phrase at the first token, a
procedural one at the 40th to the 160th. Here they are crossed, with a neutral phrase and random
tokens of the same length as controls, the same requests without a phrase, and benign requests.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.files import Record
from midspan.probes.context import (
    OutcomeRates,
    ProbeCase,
    ProbeConfig,
    ProbeContext,
    ProbeCost,
    ProbeData,
    ProbeRequest,
    grouped,
)

if TYPE_CHECKING:
    from midspan.models import DiffusionLM

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
            starts = _fitting(config, min(lengths), longest)
            canvases |= {(request.prompt, phrase, start) for start in starts}
    return ProbeCost(len(canvases) * len(lengths))


def positions_that_fit(context: ProbeContext, data: ProbeData, config: PrefillConfig) -> list[int]:
    """Positions of the grid at which every phrase fits every canvas.

    Raises:
        MidspanError: If there are none.
    """
    phrases = _phrases(data, config)
    longest = max(
        len(context.lm.encode_phrase(phrase, start))
        for phrase in phrases
        for start in config.positions
    )
    length = min(decoding.length for decoding in context.decodings.values())
    fits = _fitting(config, length, longest)
    if not fits:
        raise MidspanError(
            f"positions: none of {config.positions} leaves room for a phrase of {longest} tokens "
            f"in a canvas of {length}"
        )
    return fits


def _source(kind: str) -> str:
    """Whose phrases decide on the tokens of a kind."""
    return "procedural" if kind == RANDOM else kind


def _phrases(data: ProbeData, config: PrefillConfig) -> list[str]:
    return [phrase for kind in config.phrase_kinds for phrase in data.phrases[_source(kind)]]


def _fitting(config: PrefillConfig, length: int, longest: int) -> list[int]:
    return [start for start in config.positions if 0 <= start <= length - longest]


def _drawn(
    data: ProbeData, config: PrefillConfig, request: ProbeRequest
) -> tuple[dict[str, str], random.Random]:
    """A request's phrases, and the state of its draws after them."""
    rng = random.Random(f"{config.seed}/{request.id}")
    return {kind: rng.choice(phrases) for kind, phrases in data.phrases.items()}, rng


def _cases(context: ProbeContext, data: ProbeData, config: PrefillConfig) -> Iterator[ProbeCase]:
    positions = positions_that_fit(context, data, config)
    plain = plain_tokens(context.lm) if RANDOM in config.phrase_kinds else []
    for request in data.requests:
        yield ProbeCase(request, {}, {"phrase_kind": NO_PHRASE, "position": None, "phrase": None})
        drawn, rng = _drawn(data, config, request)
        replaced: list[int] = []
        if RANDOM in config.phrase_kinds:
            size = len(context.lm.encode_phrase(drawn[_source(RANDOM)], positions[-1]))
            replaced = [rng.choice(plain) for _ in range(size)]
        for kind in config.phrase_kinds:
            for start in positions:
                ids = replaced
                if kind != RANDOM:
                    ids = context.lm.encode_phrase(drawn[kind], start)
                text = context.lm.tokenizer.decode(ids).strip()
                labels = {"phrase_kind": kind, "position": start, "phrase": text}
                yield ProbeCase(request, dict(enumerate(ids, start)), labels)


def plain_tokens(lm: "DiffusionLM") -> list[int]:
    """Tokens of printable ASCII that are not special."""
    from midspan.scoring.suffix import allowed_tokens

    return allowed_tokens(lm).nonzero()[:, 0].tolist()


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
