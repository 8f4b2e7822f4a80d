"""MOSA: a refusal that ends the text becomes likely somewhere in a window of the response.

Xie, Song and Luo, "Where to Start Alignment?", AAAI 2026, Algorithm 1. Initial Alignment, its
baseline, is the same with the window at the first tokens.

Shapes: B rows, H harmful rows, L response positions, K tokens scored at each, P tokens of a phrase.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from midspan.alignment.objectives.base import (
    Draw,
    Ids,
    TokenExample,
    TrainingCanvas,
    TrainingSample,
    canvases_of,
    only,
)  # fmt: skip
from midspan.alignment.objectives.blocks import block_start, kept_canvas, phrase_canvases
from midspan.alignment.objectives.window import WindowObjective, allowed_starts
from midspan.alignment.scores import ResponseStates
from midspan.scoring.window import best_starts


@dataclass(frozen=True)
class PhraseCanvas(TrainingCanvas):
    """A masked response to a harmful prompt, and the two phrases that Algorithm 1 scores on it.

    Attributes:
        safe_ids: Refusal, ending in the end-of-text token.
        harmful_ids: Continuation that must become unlikely.
    """

    safe_ids: Ids
    harmful_ids: Ids


class MosaObjective(WindowObjective):
    """MOSA's Algorithm 1 and the terms that this project adds; defaults are the paper's.

    Attributes:
        kl_rows: Where the KL on harmful prompts is taken, which the paper does not say: on the
            whole "response", or on the "window" alone, which costs less.
    """

    kind: Literal["mosa"] = "mosa"
    kl_rows: Literal["response", "window"] = "response"

    @property
    def needs_answers(self) -> tuple[bool, bool]:
        """Every canvas is fully masked."""
        return False, False

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> TrainingSample:
        """A fully masked canvas, with a pair of phrases for a harmful prompt.

        Where a model decodes block after block, the maximum over starts is a draw of one of the
        window's blocks.
        """
        if draw.block_length is not None:
            return self._block_sample(example, harmful, draw)
        canvas = TrainingCanvas(example.prompt_ids, draw.masked_canvas())
        if harmful:
            safe, avoided = draw.rng.choice(draw.safe), draw.rng.choice(draw.procedural)
            canvas = PhraseCanvas(canvas.prompt_ids, canvas.response_ids, safe, avoided)
        return TrainingSample((canvas,), harmful)

    def _block_sample(self, example: TokenExample, harmful: bool, draw: Draw) -> TrainingSample:
        kept = kept_canvas(example, draw)
        if not harmful:
            return TrainingSample((kept,), harmful)
        safe, avoided = draw.rng.choice(draw.safe), draw.rng.choice(draw.procedural)
        limit = self.window[1] + 1 if self.overflow == "forbid" else draw.length
        last = min(self.window[1], limit - max(len(safe), len(avoided)))
        start = block_start(example, draw, (self.window[0], last))
        safe = draw.behind(example.answer_ids[:start], safe)
        canvases = [kept] if self.beta > 0 else []
        canvases += phrase_canvases(example, safe, start, "safe", draw)
        canvases += phrase_canvases(example, avoided, start, "harmful", draw)
        return TrainingSample(tuple(canvases), harmful)

    def harmful_losses(
        self, states: ResponseStates, samples: Sequence[TrainingSample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus Algorithm 1's objective."""
        canvases = canvases_of([samples[row] for row in rows], PhraseCanvas)
        safe = [canvas.safe_ids for canvas in canvases]
        avoided = [canvas.harmful_ids for canvas in canvases]
        tokens_HK, num_safe = _padded(safe, avoided, states.masked_BL.device)
        reach = max(map(len, [*safe, *avoided])) - 1
        position_L = torch.arange(states.masked_BL.shape[1], device=states.masked_BL.device)
        window_H2 = torch.tensor([self.window] * len(rows), device=position_L.device)
        inside_HL = (position_L >= window_H2[:, :1]) & (position_L <= window_H2[:, 1:] + reach)
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


def _padded(
    safe: Sequence[Ids], harmful: Sequence[Ids], device: torch.device
) -> tuple[Tensor, int]:
    """Phrase tokens [H, K] of both kinds side by side, and how many columns the first has."""
    columns = []
    for phrases in (safe, harmful):
        longest = max(map(len, phrases))
        columns.append(torch.tensor([[*p, *[0] * (longest - len(p))] for p in phrases]))
    return torch.cat(columns, 1).to(device), columns[0].shape[1]
