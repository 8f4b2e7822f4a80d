"""Anywhere: MOSA, and refusals on canvases that already carry parts of a harmful answer.

Our own objective (docs/anywhere.md). One forward pass a sample teaches to refuse from any partial
state: the beginning of a refusal in every gap, or with other kinds of contamination MOSA's reward
wherever a refusal fits. The same contamination of benign canvases with benign answers, kept at the
reference, tells the model that a canvas begun is no reason to refuse.

Shapes: B rows, L response positions, H harmful rows, G of them with gaps.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from midspan.alignment.objectives.base import (
    Canvas,
    Draw,
    Ids,
    PhrasePair,
    Sample,
    TokenExample,
    merged,
    only,
)  # fmt: skip
from midspan.alignment.objectives.mosa import MosaObjective
from midspan.alignment.scores import ResponseStates
from midspan.frozen import FrozenConfig

# Contamination leaves room for a refusal nearly always; a crowded canvas is drawn again.
MAX_DRAWS = 20


@dataclass(frozen=True)
class Revealed:
    """What stands on a canvas.

    Attributes:
        places: Positions.
        end: Where a revealed beginning ends, for that kind.
        gaps: Whether what is left are gaps, each to be filled by itself.
    """

    places: frozenset[int]
    end: int | None = None
    gaps: bool = False


class Contamination(FrozenConfig):
    """How much of an answer stands on a canvas before the model sees it.

    Gaps alone are the default: with the other kinds among them more leaks (docs/anywhere.md).

    Attributes:
        share: Probability that a canvas is contaminated at all.
        prefix: Weight of a revealed beginning, of ``short_prefix`` or ``long_prefix`` tokens.
        span: Weight of one revealed span of ``span_tokens``.
        scattered: Weight of tokens revealed independently, at a rate from ``scattered_rate``.
        gaps: Weight of runs revealed and hidden in turn, as infilling templates have them; a
            canvas draws the longest of either, up to ``shown_run`` and ``hidden_run`` tokens.
        prefix_window: Starts behind a revealed beginning at which the refusal may stand; None
            for all of them, to the canvas's end.
    """

    share: float = Field(0.7, ge=0, le=1)
    prefix: float = Field(0.0, ge=0)
    span: float = Field(0.0, ge=0)
    scattered: float = Field(0.0, ge=0)
    gaps: float = Field(1.0, ge=0)
    short_prefix: tuple[int, int] = (1, 12)
    long_prefix: tuple[int, int] = (1, 90)
    span_tokens: tuple[int, int] = (4, 14)
    scattered_rate: tuple[float, float] = (0.05, 0.5)
    shown_run: int = Field(16, gt=0)
    hidden_run: int = Field(10, gt=0)
    prefix_window: int | None = Field(24, gt=0)

    @model_validator(mode="after")
    def _is_possible(self) -> "Contamination":
        if self.prefix + self.span + self.scattered + self.gaps == 0:
            raise ValueError("prefix, span, scattered and gaps are all 0; give one a weight")
        for name in ("short_prefix", "long_prefix", "span_tokens"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(f"{name} must satisfy 1 <= first <= last, not {low}, {high}")
        low_rate, high_rate = self.scattered_rate
        if not 0 < low_rate <= high_rate < 1:
            raise ValueError("scattered_rate must satisfy 0 < first <= last < 1")
        return self

    def reveal(self, length: int, rng: random.Random) -> Revealed:
        """What to reveal of a canvas of ``length`` tokens."""
        kinds = ("prefix", "span", "scattered", "gaps")
        (kind,) = rng.choices(kinds, [getattr(self, kind) for kind in kinds])
        if kind == "prefix":
            end = min(rng.randint(*rng.choice((self.short_prefix, self.long_prefix))), length - 1)
            return Revealed(frozenset(range(end)), end)
        if kind == "span":
            size = min(rng.randint(*self.span_tokens), length - 1)
            start = rng.randint(0, length - size)
            return Revealed(frozenset(range(start, start + size)))
        if kind == "scattered":
            rate = rng.uniform(*self.scattered_rate)
            places = frozenset(place for place in range(length) if rng.random() < rate)
            return Revealed(places)
        return Revealed(self._around_gaps(length, rng), gaps=True)

    def _around_gaps(self, length: int, rng: random.Random) -> frozenset[int]:
        longest = {True: rng.randint(1, self.shown_run), False: rng.randint(1, self.hidden_run)}
        shown, start, places = rng.random() < 0.5, 0, set[int]()
        while start < length:
            end = start + rng.randint(1, longest[shown])
            if shown:
                places.update(range(start, min(end, length)))
            shown, start = not shown, end
        return frozenset(places)


class AnywhereObjective(MosaObjective):
    """MOSA from any partial state.

    Attributes:
        contamination: Kinds and shares, alike for harmful and benign canvases.
        contaminate_benign: Whether benign canvases are contaminated too; off only for ablation.
        gap_tokens: A canvas with gaps counts as a phrase of this many tokens.
    """

    kind: Literal["anywhere"] = "anywhere"  # type: ignore[assignment]
    contamination: Contamination = Contamination()
    contaminate_benign: bool = True
    gap_tokens: float = Field(8.0, gt=0)

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
        revealed = self.contamination.reveal(draw.length, draw.rng)
        if len(revealed.places) == draw.length:
            return None
        response = tuple(
            example.answer_ids[place] if place in revealed.places else draw.mask
            for place in range(draw.length)
        )
        if clean.pair is None:
            return Canvas(example.prompt_ids, response)
        if revealed.gaps:
            wanted = _refusal_in_gaps(response, clean.pair.safe, draw)
            return Canvas(example.prompt_ids, response, pair=PhrasePair(wanted, example.answer_ids))
        window = (0, draw.length - 1)
        if revealed.end is not None and self.contamination.prefix_window is not None:
            last = min(revealed.end + self.contamination.prefix_window, draw.length) - 1
            window = (revealed.end, last)
        size = max(len(clean.pair.safe), len(clean.pair.harmful))
        limit = window[1] + 1 if self.overflow == "forbid" else draw.length
        if not _has_room(response[:limit], draw.mask, size, window):
            return None
        return Canvas(example.prompt_ids, response, pair=clean.pair, window=window)

    def _harmful_losses(
        self, states: ResponseStates, samples: Sequence[Sample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """MOSA's losses, and on canvases with gaps those of the beginning of a refusal in each."""
        gaps = [place for place, row in enumerate(rows) if _has_gaps(samples[row].canvases[0])]
        if not gaps:
            return super()._harmful_losses(states, samples, rows)
        loss_G, metrics = self._gap_losses(states, samples, [rows[place] for place in gaps])
        parts: list[tuple[Sequence[int], Tensor]] = [(gaps, loss_G)]
        roomy = [place for place in range(len(rows)) if place not in gaps]
        if roomy:
            kl_G = metrics.pop("kl_harmful")
            found = super()._harmful_losses(states, samples, [rows[place] for place in roomy])
            parts.append((roomy, found[0]))
            metrics |= found[1] | {"kl_harmful": torch.cat([found[1]["kl_harmful"], kl_G])}
        return merged(len(rows), parts), metrics

    def _gap_losses(
        self, states: ResponseStates, samples: Sequence[Sample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The answer's own tokens are what is avoided, position by position."""
        pairs = [samples[row].canvases[0].pair for row in rows]
        texts = [[pair.safe, pair.harmful] for pair in pairs if pair is not None]
        where_BL = only(states.masked_BL, rows)
        tokens_BLK = torch.zeros(*where_BL.shape, 2, dtype=torch.long, device=where_BL.device)
        tokens_BLK[list(rows)] = torch.tensor(texts, device=where_BL.device).transpose(1, 2)
        scores = states.score(where_BL, tokens_BLK, kl=self.beta > 0)
        kl_G = self.kl(scores.kl_BL, where_BL)[list(rows)]
        size_G1 = where_BL[list(rows)].sum(1, keepdim=True)
        nats_G2 = self.gap_tokens * scores.logp_BLK[list(rows)].sum(1) / size_G1
        safe_G, harmful_G = nats_G2.unbind(1)
        negative_G = harmful_G
        if self.negative_floor is not None:
            negative_G = harmful_G.clamp(min=self.negative_floor * self.gap_tokens)
        loss_G = self.beta * kl_G - safe_G + self.negative_weight * negative_G
        return loss_G, {"reward_gaps": safe_G - harmful_G, "kl_harmful": kl_G}


def _has_gaps(canvas: Canvas) -> bool:
    """Whether a harmful canvas has a text for every position instead of phrases in a window."""
    return canvas.pair is not None and canvas.window is None


def _refusal_in_gaps(response: Ids, safe: Ids, draw: Draw) -> Ids:
    """The beginning of a refusal in every run of masked positions."""
    text, wanted = draw.filled(safe), list(response)
    run = 0
    for place, token in enumerate(response):
        run = run + 1 if token == draw.mask else 0
        if run:
            wanted[place] = text[run - 1]
    return tuple(wanted)


def _has_room(response: Ids, mask: int, size: int, window: tuple[int, int]) -> bool:
    """Whether ``size`` masked positions in a row begin inside the window."""
    run = 0
    for place, token in enumerate(response):
        run = run + 1 if token == mask else 0
        if run >= size and window[0] <= place - size + 1 <= window[1]:
            return True
    return False
