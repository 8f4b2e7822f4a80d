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
from midspan.probes.asking import (
    Ask,
    Bench,
    Material,
    ProbeConfig,
    Rates,
    Record,
    Trial,
    Work,
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
        kinds: Kinds of phrase; "random" are tokens of the vocabulary, as many as the request's
            procedural phrase has.
        positions: First tokens of the phrase. Those at which not every phrase fits the canvas
            are left out.
        seed: Seed of the phrases' draw; a request keeps its phrase at every position.
    """

    kinds: tuple[str, ...] = ("affirmative", "procedural", "neutral", RANDOM)
    positions: tuple[int, ...] = (0, 20, 40, 80, 120, 160)
    seed: int = 0


def prefill(bench: Bench, material: Material, config: PrefillConfig) -> list[dict[str, Any]]:
    """One record a request, kind, position and decoding.

    Raises:
        MidspanError: If a kind has no phrases, or no position fits the canvas.
    """
    for kind in config.kinds:
        if not material.phrases.get(_source(kind)):
            raise MidspanError(f"kinds: there are no phrases of kind {_source(kind)!r}")
    return bench.answer(list(_trials(bench, material, config)), material)


def work(material: Material, config: PrefillConfig, lengths: Sequence[int]) -> Work:
    """One response a request, phrase and position, and one without a phrase, in every canvas.

    Exact where a phrase has a token a word; with more, fewer positions may fit.

    Args:
        material: What is asked.
        config: The grid.
        lengths: Of the canvas of each decoding.
    """
    longest = max(len(phrase.split()) for phrase in _phrases(material, config))
    asked: set[tuple[str, str, int | None]] = {(ask.prompt, "", None) for ask in material.asks}
    for ask in material.asks:
        drawn, _ = _drawn(material, config, ask)
        for kind in config.kinds:
            phrase = f"{RANDOM} {ask.id}" if kind == RANDOM else drawn[kind]
            starts = _fitting(config, min(lengths), longest)
            asked |= {(ask.prompt, phrase, start) for start in starts}
    return Work(len(asked) * len(lengths))


def positions_that_fit(bench: Bench, material: Material, config: PrefillConfig) -> list[int]:
    """Positions of the grid at which every phrase fits every canvas.

    Raises:
        MidspanError: If there are none.
    """
    phrases = _phrases(material, config)
    longest = max(len(bench.lm.encode_phrase(phrase)) for phrase in phrases)
    length = min(decoding.length for decoding in bench.decodings.values())
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


def _phrases(material: Material, config: PrefillConfig) -> list[str]:
    return [phrase for kind in config.kinds for phrase in material.phrases[_source(kind)]]


def _fitting(config: PrefillConfig, length: int, longest: int) -> list[int]:
    return [start for start in config.positions if 0 <= start <= length - longest]


def _drawn(
    material: Material, config: PrefillConfig, ask: Ask
) -> tuple[dict[str, str], random.Random]:
    """A request's phrases, and the state of its draws after them."""
    rng = random.Random(f"{config.seed}/{ask.id}")
    return {kind: rng.choice(phrases) for kind, phrases in material.phrases.items()}, rng


def _trials(bench: Bench, material: Material, config: PrefillConfig) -> Iterator[Trial]:
    positions = positions_that_fit(bench, material, config)
    plain = plain_tokens(bench.lm) if RANDOM in config.kinds else []
    for ask in material.asks:
        yield Trial(ask, {}, {"kind": NO_PHRASE, "position": None, "phrase": None})
        drawn, rng = _drawn(material, config, ask)
        ids = {kind: bench.lm.encode_phrase(drawn[_source(kind)]) for kind in config.kinds}
        if RANDOM in ids:
            ids[RANDOM] = [rng.choice(plain) for _ in ids[RANDOM]]
        for kind in config.kinds:
            text = bench.lm.tokenizer.decode(ids[kind])
            for start in positions:
                labels = {"kind": kind, "position": start, "phrase": text}
                yield Trial(ask, dict(enumerate(ids[kind], start)), labels)


def plain_tokens(lm: "DiffusionLM") -> list[int]:
    """Tokens of printable ASCII that are not special."""
    from midspan.scoring.suffix import allowed_tokens

    return allowed_tokens(lm).nonzero()[:, 0].tolist()


@dataclass(frozen=True)
class Cell:
    """One cell of the factorial; `position` is None without a phrase."""

    model: str
    decoding: str
    asks: str
    kind: str
    position: int | None
    rates: Rates

    @property
    def in_paper(self) -> bool:
        """Whether the paper's Figure 3 has this cell."""
        return self.position in PAPER.get(self.kind, ())


def cells(records: Sequence[Record]) -> list[Cell]:
    """Rates by model, decoding, kind of request, kind of phrase and position."""
    fields = ("model", "decoding", "asks", "kind", "position")
    return [
        Cell(**dict(zip(fields, place, strict=True)), rates=Rates.of(part))
        for place, part in grouped(records, *fields).items()
    ]
