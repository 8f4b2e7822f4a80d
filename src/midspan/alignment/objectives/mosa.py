"""MOSA: a refusal that ends the text becomes likely somewhere in a window of the response.

Xie, Song and Luo, "Where to Start Alignment?", AAAI 2026, Algorithm 1. Initial Alignment, its
baseline, is the same with the window at the first tokens.

Shapes: B rows, L response positions, K starts, P tokens of a phrase.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from midspan.alignment.objectives.base import (
    Canvas,
    Draw,
    Ids,
    Objective,
    Sample,
    SampleLosses,
    TokenExample,
    merged,
    only,
    split,
)  # fmt: skip
from midspan.alignment.scores import ResponseStates
from midspan.scoring.window import best_starts


class MosaObjective(Objective):
    """MOSA's Algorithm 1 and the terms that this project adds; defaults are the paper's.

    Attributes:
        window: First and last start position of the safe and harmful phrases, both included.
        overflow: "allow": a phrase may run past the window's end, as Algorithm 1 is printed;
            "forbid": it must end inside, as the paper's text says.
        beta: Weight of KL(policy || reference) on harmful prompts.
        kl_rows: Where that KL is taken, which the paper does not say: on the whole "response", or
            on the "window" alone, which costs less.
        negative_weight: Weight of the harmful phrase's score; the paper's is 1.
        negative_floor: Nats per token below which the harmful phrase's score is clamped and
            gives no gradient; the paper has no floor.
        benign_weight: Weight of the KL to the reference on benign prompts; the paper has none.
    """

    kind: Literal["mosa"] = "mosa"
    window: tuple[int, int] = (20, 60)
    overflow: Literal["allow", "forbid"] = "allow"
    beta: float = Field(0.05, ge=0)
    kl_rows: Literal["response", "window"] = "response"
    negative_weight: float = Field(1.0, ge=0)
    negative_floor: float | None = Field(None, lt=0)

    @model_validator(mode="after")
    def _window_is_ordered(self) -> "MosaObjective":
        first, last = self.window
        if not 0 <= first <= last:
            raise ValueError(f"window must satisfy 0 <= first <= last, not {first}, {last}")
        return self

    @property
    def uses_reference(self) -> bool:
        """Both KL terms compare with it."""
        return self.beta > 0 or self.benign_weight > 0

    @property
    def needs_answers(self) -> tuple[bool, bool]:
        """Every canvas is fully masked."""
        return False, False

    def check_phrase(self, phrase: Ids, length: int) -> str | None:
        """A phrase must fit behind the window's first start."""
        first, last = self.window
        limit = last + 1 if self.overflow == "forbid" else length
        if first + len(phrase) <= limit:
            return None
        return (
            f"has {len(phrase)} tokens and does not fit behind the window's start {first} "
            f"(limit {limit}); shorten it or widen objective.window"
        )

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> Sample:
        """A fully masked canvas, with a pair of phrases for a harmful prompt."""
        pair = draw.pair() if harmful else None
        window = self.window if harmful else None
        canvas = Canvas(example.prompt_ids, draw.masked_canvas(), pair=pair, window=window)
        return Sample((canvas,), harmful)

    def losses(self, states: ResponseStates, samples: Sequence[Sample]) -> SampleLosses:
        """Minus Algorithm 1's objective on harmful rows, the KL to the reference on benign ones."""
        harmful, benign = split(samples)
        parts: list[tuple[Sequence[int], Tensor]] = []
        metrics: dict[str, Tensor] = {}
        if harmful:
            loss_H, metrics = self._harmful_losses(states, samples, harmful)
            parts.append((harmful, loss_H))
        if benign:
            metrics["kl_benign"] = self.benign_kl(states, benign)
            parts.append((benign, self.benign_weight * metrics["kl_benign"]))
        return SampleLosses(merged(len(samples), parts), metrics)

    def _harmful_losses(
        self, states: ResponseStates, samples: Sequence[Sample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        canvases = [samples[row].canvases[0] for row in rows]
        pairs = [canvas.pair for canvas in canvases if canvas.pair is not None]
        windows = [canvas.window for canvas in canvases if canvas.window is not None]
        safe, avoided = [pair.safe for pair in pairs], [pair.harmful for pair in pairs]
        tokens_HK, num_safe = _padded([*safe], [*avoided], states.masked_BL.device)
        reach = max(map(len, [*safe, *avoided])) - 1
        place_L = torch.arange(states.masked_BL.shape[1], device=states.masked_BL.device)
        window_H2 = torch.tensor(windows, device=place_L.device)
        inside_HL = (place_L >= window_H2[:, :1]) & (place_L <= window_H2[:, 1:] + reach)
        near_BL = torch.zeros_like(states.masked_BL)
        near_BL[list(rows)] = inside_HL & states.masked_BL[list(rows)]
        tokens_BLK = tokens_HK.new_zeros(*near_BL.shape, tokens_HK.shape[1])
        tokens_BLK[list(rows)] = tokens_HK[:, None]
        scores = states.score(near_BL, tokens_BLK, kl=self.beta > 0)
        kl_H = self._policy_kl(states, scores.kl_BL, near_BL, rows)
        masked_HL, logp_HLK = states.masked_BL[list(rows)], scores.logp_BLK[list(rows)]
        safe_H, start_H = self._best(logp_HLK[..., :num_safe], safe, masked_HL, window_H2)
        harmful_H, _ = self._best(logp_HLK[..., num_safe:], avoided, masked_HL, window_H2)
        negative_H = harmful_H
        if self.negative_floor is not None:
            size_H = torch.tensor([len(phrase) for phrase in avoided], device=harmful_H.device)
            negative_H = harmful_H.clamp(min=self.negative_floor * size_H)
        metrics = {
            "reward": safe_H - harmful_H, "reward_safe": safe_H, "reward_harmful": harmful_H,
            "kl_harmful": kl_H, "position": start_H.to(safe_H.dtype),
        }  # fmt: skip
        return self.beta * kl_H - safe_H + self.negative_weight * negative_H, metrics

    def _best(
        self, logp_HLP: Tensor, phrases: Sequence[Ids], masked_HL: Tensor, window_H2: Tensor
    ) -> tuple[Tensor, Tensor]:
        allowed_HL = allowed_starts(phrases, masked_HL, window_H2, self.overflow)
        return best_starts(logp_HLP, phrases, allowed_HL)

    def _policy_kl(
        self, states: ResponseStates, kl_BL: Tensor, near_BL: Tensor, rows: Sequence[int]
    ) -> Tensor:
        """KL of harmful rows: what the phrases' positions gave, and the rest of the response."""
        if self.beta == 0:
            return kl_BL[list(rows)].sum(1)
        where_BL = near_BL
        if self.kl_rows == "response":
            where_BL = only(states.masked_BL, rows)
            kl_BL = kl_BL + states.score(where_BL & ~near_BL, kl=True).kl_BL
        return self.kl(kl_BL, where_BL)[list(rows)]


def allowed_starts(
    phrases: Sequence[Ids], masked_HL: Tensor, window_H2: Tensor, overflow: str
) -> Tensor:
    """Starts [H, L] inside each row's window at which the whole phrase stands on masked positions.

    Args:
        phrases: One a row.
        masked_HL: Positions that the model has to predict.
        window_H2: First and last start of each row.
        overflow: "allow" lets a phrase run past the window's end, never past the canvas.
    """
    length = masked_HL.shape[1]
    size_H1 = torch.tensor([[len(phrase)] for phrase in phrases], device=masked_HL.device)
    start_L = torch.arange(length, device=masked_HL.device)
    end_HL = start_L + size_H1 - 1
    last_H1 = window_H2[:, 1:] if overflow == "forbid" else torch.full_like(size_H1, length - 1)
    inside_HL = (start_L >= window_H2[:, :1]) & (start_L <= window_H2[:, 1:]) & (end_HL <= last_H1)
    revealed_HL = (~masked_HL).cumsum(1)
    before_HL = revealed_HL - (~masked_HL).long()
    through_HL = revealed_HL.gather(1, end_HL.clamp(max=length - 1))
    return inside_HL & (through_HL == before_HL)


def _padded(
    safe: Sequence[Ids], harmful: Sequence[Ids], device: torch.device
) -> tuple[Tensor, int]:
    """Phrase tokens [H, K] of both kinds side by side, and how many columns the first has."""
    columns = []
    for phrases in (safe, harmful):
        longest = max(map(len, phrases))
        columns.append(torch.tensor([[*p, *[0] * (longest - len(p))] for p in phrases]))
    return torch.cat(columns, 1).to(device), columns[0].shape[1]
