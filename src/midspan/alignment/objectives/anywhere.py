"""Anywhere: MOSA's reward on canvases that already carry parts of a harmful answer.

Our own objective (docs/anywhere.md). One forward pass a sample teaches to refuse from any partial
state; the same contamination of benign canvases with benign answers, kept at the reference, tells
the model that a canvas begun is no reason to refuse.
"""

import random
from typing import Literal

from pydantic import Field, model_validator

from midspan.alignment.objectives.base import Canvas, Draw, Ids, Sample, TokenExample
from midspan.alignment.objectives.mosa import MosaObjective
from midspan.frozen import FrozenConfig

# Contamination leaves room for a refusal nearly always; a crowded canvas is drawn again.
MAX_DRAWS = 20


class Contamination(FrozenConfig):
    """How much of an answer stands on a canvas before the model sees it.

    Attributes:
        share: Probability that a canvas is contaminated at all.
        prefix: Weight of a revealed beginning, of ``short_prefix`` or ``long_prefix`` tokens.
        span: Weight of one revealed span of ``span_tokens``.
        scattered: Weight of tokens revealed independently, at a rate from ``scattered_rate``.
        prefix_window: Starts behind a revealed beginning at which the refusal may stand; None
            for all of them, to the canvas's end.
    """

    share: float = Field(0.7, ge=0, le=1)
    prefix: float = Field(0.45, ge=0)
    span: float = Field(0.30, ge=0)
    scattered: float = Field(0.25, ge=0)
    short_prefix: tuple[int, int] = (1, 12)
    long_prefix: tuple[int, int] = (1, 90)
    span_tokens: tuple[int, int] = (4, 14)
    scattered_rate: tuple[float, float] = (0.05, 0.5)
    prefix_window: int | None = Field(24, gt=0)

    @model_validator(mode="after")
    def _is_possible(self) -> "Contamination":
        if self.prefix + self.span + self.scattered == 0:
            raise ValueError("prefix, span and scattered are all 0; give one of them a weight")
        for name in ("short_prefix", "long_prefix", "span_tokens"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(f"{name} must satisfy 1 <= first <= last, not {low}, {high}")
        low_rate, high_rate = self.scattered_rate
        if not 0 < low_rate <= high_rate < 1:
            raise ValueError("scattered_rate must satisfy 0 < first <= last < 1")
        return self

    def reveal(self, length: int, rng: random.Random) -> tuple[set[int], int | None]:
        """Positions to reveal, and the end of a revealed beginning where that is the kind."""
        kinds = {"prefix": self.prefix, "span": self.span, "scattered": self.scattered}
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        if kind == "prefix":
            end = min(rng.randint(*rng.choice((self.short_prefix, self.long_prefix))), length - 1)
            return set(range(end)), end
        if kind == "span":
            size = min(rng.randint(*self.span_tokens), length - 1)
            start = rng.randint(0, length - size)
            return set(range(start, start + size)), None
        rate = rng.uniform(*self.scattered_rate)
        return {place for place in range(length) if rng.random() < rate}, None


class AnywhereObjective(MosaObjective):
    """MOSA from any partial state.

    Attributes:
        contamination: Kinds and shares, alike for harmful and benign canvases.
        contaminate_benign: Whether benign canvases are contaminated too; off only for ablation.
    """

    kind: Literal["anywhere"] = "anywhere"  # type: ignore[assignment]
    contamination: Contamination = Contamination()
    contaminate_benign: bool = True

    @property
    def needs_answers(self) -> tuple[bool, bool]:
        """Parts of answers are what canvases are contaminated with."""
        return True, self.contaminate_benign and self.benign_weight > 0

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> Sample:
        """A canvas with part of the example's answer on it, or a clean one."""
        clean = super().sample(example, harmful=harmful, draw=draw)
        wanted = harmful or self.contaminate_benign
        if not wanted or draw.rng.random() >= self.contamination.share:
            return clean
        for _ in range(MAX_DRAWS):
            canvas = self._contaminated(example, clean.canvases[0], draw)
            if canvas is not None:
                return Sample((canvas,), harmful)
        return clean

    def _contaminated(self, example: TokenExample, clean: Canvas, draw: Draw) -> Canvas | None:
        """The clean canvas with tokens revealed; None where no refusal would fit any more."""
        revealed, end = self.contamination.reveal(draw.length, draw.rng)
        if len(revealed) == draw.length:
            return None
        response = tuple(
            example.answer_ids[place] if place in revealed else draw.mask
            for place in range(draw.length)
        )
        if clean.pair is None:
            return Canvas(example.prompt_ids, response)
        window = (0, draw.length - 1)
        if end is not None and self.contamination.prefix_window is not None:
            window = (end, min(end + self.contamination.prefix_window, draw.length) - 1)
        size = max(len(clean.pair.safe), len(clean.pair.harmful))
        limit = window[1] + 1 if self.overflow == "forbid" else draw.length
        if not _has_room(response[:limit], draw.mask, size, window):
            return None
        return Canvas(example.prompt_ids, response, pair=clean.pair, window=window)


def _has_room(response: Ids, mask: int, size: int, window: tuple[int, int]) -> bool:
    """Whether ``size`` masked positions in a row begin inside the window."""
    run = 0
    for place, token in enumerate(response):
        run = run + 1 if token == mask else 0
        if run >= size and window[0] <= place - size + 1 <= window[1]:
            return True
    return False
