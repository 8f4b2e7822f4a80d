"""What stands on a canvas before the model sees it: parts of an answer, in runs or scattered."""

import random

from pydantic import Field, model_validator

from midspan.frozen import FrozenConfig

KINDS = ("runs", "prefix", "span", "scattered")


class PartialAnswer(FrozenConfig):
    """How much of an answer stands on a canvas before the model sees it.

    Attributes:
        share: Probability that a canvas carries any of it.
        runs: Weight of runs revealed and hidden in turn. A canvas draws the longest of either,
            log-uniformly up to ``shown_run`` and ``hidden_run`` tokens, and so ranges from
            scattered tokens over templates with holes to a beginning or an end alone.
        prefix: Weight of a revealed beginning, of ``short_prefix`` or ``long_prefix`` tokens.
        span: Weight of one revealed span of ``span_tokens``.
        scattered: Weight of tokens revealed independently, at a rate from ``scattered_rate``.
    """

    share: float = Field(0.7, ge=0, le=1)
    runs: float = Field(1.0, ge=0)
    prefix: float = Field(0.0, ge=0)
    span: float = Field(0.0, ge=0)
    scattered: float = Field(0.0, ge=0)
    shown_run: int = Field(64, gt=0)
    hidden_run: int = Field(128, gt=0)
    short_prefix: tuple[int, int] = (1, 12)
    long_prefix: tuple[int, int] = (1, 90)
    span_tokens: tuple[int, int] = (4, 14)
    scattered_rate: tuple[float, float] = (0.05, 0.5)

    @model_validator(mode="after")
    def _is_possible(self) -> "PartialAnswer":
        if sum(getattr(self, kind) for kind in KINDS) == 0:
            raise ValueError("runs, prefix, span and scattered are all 0; give one a weight")
        for name in ("short_prefix", "long_prefix", "span_tokens"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(f"{name} must satisfy 1 <= first <= last, not {low}, {high}")
        low_rate, high_rate = self.scattered_rate
        if not 0 < low_rate <= high_rate < 1:
            raise ValueError("scattered_rate must satisfy 0 < first <= last < 1")
        return self

    def reveal(self, length: int, rng: random.Random) -> frozenset[int]:
        """Positions to reveal of a canvas of ``length`` tokens; none, now and then."""
        if rng.random() >= self.share:
            return frozenset()
        (kind,) = rng.choices(KINDS, [getattr(self, kind) for kind in KINDS])
        positions = getattr(self, f"_{kind}")(length, rng)
        # With everything revealed there is nothing to predict.
        return frozenset(positions) if len(positions) < length else frozenset()

    def _runs(self, length: int, rng: random.Random) -> set[int]:
        longest = {
            True: int(self.shown_run ** rng.random()),
            False: int(self.hidden_run ** rng.random()),
        }
        shown, start, positions = rng.random() < 0.5, 0, set[int]()
        while start < length:
            end = start + rng.randint(1, longest[shown])
            if shown:
                positions.update(range(start, min(end, length)))
            shown, start = not shown, end
        return positions

    def _prefix(self, length: int, rng: random.Random) -> set[int]:
        sizes = rng.choice((self.short_prefix, self.long_prefix))
        return set(range(min(rng.randint(*sizes), length - 1)))

    def _span(self, length: int, rng: random.Random) -> set[int]:
        size = min(rng.randint(*self.span_tokens), length - 1)
        start = rng.randint(0, length - size)
        return set(range(start, start + size))

    def _scattered(self, length: int, rng: random.Random) -> set[int]:
        rate = rng.uniform(*self.scattered_rate)
        return {position for position in range(length) if rng.random() < rate}
