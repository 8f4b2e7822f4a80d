"""Preference optimisation with LLaDA 1.5's variance-reduced estimator (VRPO, arXiv 2505.19223).

Shapes: B rows, S samples.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from midspan.alignment.objectives.base import (
    Draw,
    Objective,
    SampleLosses,
    TokenExample,
    TrainingSample,
    canvases_of,
    split,
)  # fmt: skip
from midspan.alignment.objectives.likelihood import TargetCanvas, likelihood_bounds
from midspan.alignment.scores import ResponseStates


class VrpoObjective(Objective):
    """Direct preference optimisation of likelihood bounds.

    A refusal is preferred to the harmful answer, and a benign answer to a refusal. Each
    log-likelihood is a bound estimated from ``draws`` mask rates with one mask each, shared by
    policy and reference.

    Attributes:
        beta: Scale of the preference margin. LLaDA 1.5's page (ml-gsai.github.io/LLaDA-1.5-Demo)
            gives the loss without its value; 0.1 is usual for DPO.
        draws: Mask rates an answer; LLaDA 1.5 takes 8.
        rejected: What counts of the text that is to lose: the "text" itself, or all of the "canvas"
            with the end-of-text tokens that fill it, which become less likely then.
        benign_weight: Weight of benign preferences.
    """

    kind: Literal["vrpo"] = "vrpo"
    beta: float = Field(0.1, gt=0)
    draws: int = Field(8, gt=0)
    rejected: Literal["text", "canvas"] = "text"
    benign_weight: float = Field(1.0, ge=0)

    @property
    def uses_reference(self) -> bool:
        """Margins are ratios to the reference."""
        return True

    @property
    def needs_answers(self) -> tuple[bool, bool]:
        """Both kinds of preference compare with an answer."""
        return True, self.benign_weight > 0

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> TrainingSample:
        """``draws`` canvases of the preferred text, then as many of the other."""
        refusal = draw.filled(draw.rng.choice(draw.safe))
        texts = (refusal, example.answer_ids) if harmful else (example.answer_ids, refusal)
        own = draw.size(texts[1]) if self.rejected == "text" else None
        canvases = tuple(
            TargetCanvas(
                example.prompt_ids,
                draw.noised(text, example.prompt_ids),
                text,
                scored,
                draw.extent(text),
            )
            for text, scored in zip(texts, (None, own), strict=True)
            for _ in range(self.draws)
        )
        return TrainingSample(canvases, harmful)

    def losses(self, states: ResponseStates, samples: Sequence[TrainingSample]) -> SampleLosses:
        """Minus the log-probability that the preferred text wins (DPO)."""
        canvases = canvases_of(samples, TargetCanvas)
        policy_B, reference_B = likelihood_bounds(states, canvases)
        # [S, preferred or other, draws]
        gain_S2 = (policy_B - reference_B).view(len(samples), 2, self.draws).mean(2)
        margin_S = self.beta * (gain_S2[:, 0] - gain_S2[:, 1])
        harmful, benign = split(samples)
        weight_S = torch.ones_like(margin_S)
        weight_S[benign] = self.benign_weight
        metrics = {"margin": margin_S, "accuracy": (margin_S > 0).to(margin_S.dtype)}
        metrics |= {"gain_refusal": gain_S2[harmful, 0]} if harmful else {}
        return SampleLosses(weight_S * -F.logsigmoid(margin_S), metrics)
