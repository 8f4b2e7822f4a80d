"""The likelihood of whole answers, and the objectives that are a cross-entropy of it.

Shapes: B rows, L response positions, S samples.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.alignment.objectives.base import (
    Draw,
    Ids,
    Objective,
    SampleLosses,
    TokenExample,
    TrainingCanvas,
    TrainingSample,
    merged,
    split,
)  # fmt: skip
from midspan.alignment.scores import ResponseStates


@dataclass(frozen=True)
class TargetCanvas(TrainingCanvas):
    """A canvas, partly masked, and the text whose likelihood it estimates.

    Attributes:
        target_ids: What is to stand on the whole canvas; the masked positions are scored.
    """

    target_ids: Ids


class DenoisingObjective(Objective):
    """Cross-entropy of wanted tokens at masked positions, as LLaDA's SFT (its Algorithm 2).

    Attributes:
        retain: What holds the model on benign prompts: the likelihood of their "answers", as the
            methods publish, or the "kl" to the reference, as the window objectives have it.
        benign_weight: Weight of a benign sample's loss; equal to a harmful one's by default.
    """

    retain: Literal["answers", "kl"] = "answers"
    benign_weight: float = Field(1.0, ge=0)

    @property
    def uses_reference(self) -> bool:
        """Only to retain by KL."""
        return self.retain == "kl" and self.benign_weight > 0

    @abstractmethod
    def harmful_texts(self, example: TokenExample, draw: Draw) -> tuple[Ids, Ids]:
        """The text to mask and the text to predict, both filling the canvas."""

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> TrainingSample:
        """A text with a random share masked, and what is to stand there."""
        if not harmful and self.retain == "kl":
            canvas = TrainingCanvas(example.prompt_ids, draw.masked_canvas())
            return TrainingSample((canvas,), harmful)
        shown, target = example.answer_ids, example.answer_ids
        if harmful:
            shown, target = self.harmful_texts(example, draw)
        canvas = TargetCanvas(example.prompt_ids, draw.noised(shown), target)
        return TrainingSample((canvas,), harmful)

    def losses(self, states: ResponseStates, samples: Sequence[TrainingSample]) -> SampleLosses:
        """Bounds on minus the log-likelihood, nats per token."""
        harmful, benign = split(samples)
        canvases = [sample.canvases[0] for sample in samples]
        targets = [one.target_ids if isinstance(one, TargetCanvas) else () for one in canvases]
        nats_S = -likelihood_bounds(states, targets)[0] / states.masked_BL.shape[1]
        metrics = {"nats_harmful": nats_S[harmful]} if harmful else {}
        parts: list[tuple[Sequence[int], Tensor]] = [(harmful, nats_S[harmful])]
        if benign:
            by_kl = self.retain == "kl"
            kept_S = self.benign_kl(states, benign) if by_kl else nats_S[benign]
            metrics["kl_benign" if by_kl else "nats_benign"] = kept_S
            parts.append((benign, self.benign_weight * kept_S))
        return SampleLosses(merged(len(samples), parts), metrics)


def likelihood_bounds(states: ResponseStates, targets: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Bounds [B] on the log-likelihood of whole texts in nats, of policy and reference.

    A bound is L / l times the log-probability of the l masked tokens; rows without a target get 0.
    """
    masked_BL = states.masked_BL
    length = masked_BL.shape[1]
    has_target_B = torch.tensor([bool(ids) for ids in targets], device=masked_BL.device)
    target_BL = torch.tensor([ids or (0,) * length for ids in targets], device=masked_BL.device)
    where_BL = masked_BL & has_target_B[:, None]
    scores = states.score(where_BL, target_BL[..., None])
    weight_B = length / masked_BL.sum(1)
    policy_B = scores.logp_BLK.sum((1, 2)) * weight_B
    return policy_B, scores.reference_BLK.sum((1, 2)) * weight_B
