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
from midspan.alignment.objectives.blocks import kept_canvas
from midspan.alignment.scores import ResponseStates


@dataclass(frozen=True)
class TargetCanvas(TrainingCanvas):
    """A canvas, partly masked, and the text whose likelihood it estimates.

    Attributes:
        target_ids: What is to stand on the whole canvas; the masked positions are scored.
        scored: Only those before this position; None for all.
        extent: Positions that the masked ones stand for; None for all.
    """

    target_ids: Ids
    scored: int | None = None
    extent: int | None = None


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

    def answers_needed(self, *, in_blocks: bool) -> tuple[bool, bool]:
        """In blocks benign canvases stand behind a part of an answer, held by a KL too."""
        harmful, benign = self.needs_answers
        return harmful, benign or (in_blocks and self.benign_weight > 0)

    @abstractmethod
    def harmful_texts(self, example: TokenExample, draw: Draw) -> tuple[Ids, Ids]:
        """The text to mask and the text to predict, both filling the canvas."""

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> TrainingSample:
        """A text with a random share masked, and what is to stand there."""
        if not harmful and self.retain == "kl":
            clean = draw.masked_canvas()
            if draw.block_length is not None:
                clean = kept_canvas(example, draw).response_ids
            canvas = TrainingCanvas(example.prompt_ids, clean)
            return TrainingSample((canvas,), harmful)
        shown, target = example.answer_ids, example.answer_ids
        if harmful:
            shown, target = self.harmful_texts(example, draw)
        response = draw.noised(shown, example.prompt_ids)
        canvas = TargetCanvas(example.prompt_ids, response, target, extent=draw.extent(shown))
        return TrainingSample((canvas,), harmful)

    def losses(self, states: ResponseStates, samples: Sequence[TrainingSample]) -> SampleLosses:
        """Bounds on minus the log-likelihood, nats per token."""
        harmful, benign = split(samples)
        canvases = [sample.canvases[0] for sample in samples]
        nats_S = -likelihood_bounds(states, canvases)[0] / _extents(states, canvases)
        metrics = {"nats_harmful": nats_S[harmful]} if harmful else {}
        parts: list[tuple[Sequence[int], Tensor]] = [(harmful, nats_S[harmful])]
        if benign:
            by_kl = self.retain == "kl"
            kept_S = self.benign_kl(states, benign) if by_kl else nats_S[benign]
            metrics["kl_benign" if by_kl else "nats_benign"] = kept_S
            parts.append((benign, self.benign_weight * kept_S))
        return SampleLosses(merged(len(samples), parts), metrics)


def likelihood_bounds(
    states: ResponseStates, canvases: Sequence[TrainingCanvas]
) -> tuple[Tensor, Tensor]:
    """Bounds [B] on the log-likelihood of whole texts in nats, of policy and reference.

    A bound is L / l times the log-probability of the masked tokens, l in number, as far as they
    are scored, with L the canvas's extent; rows without a target get 0.
    """
    masked_BL = states.masked_BL
    length, device = masked_BL.shape[1], masked_BL.device
    targets = [one if isinstance(one, TargetCanvas) else None for one in canvases]
    scored = [(length if one.scored is None else one.scored) if one else 0 for one in targets]
    target_BL = torch.tensor(
        [one.target_ids if one else (0,) * length for one in targets], device=device
    )
    scored_B1 = torch.tensor(scored, device=device)[:, None]
    where_BL = masked_BL & (torch.arange(length, device=device) < scored_B1)
    scores = states.score(where_BL, target_BL[..., None])
    weight_B = _extents(states, canvases) / masked_BL.sum(1)
    policy_B = scores.logp_BLK.sum((1, 2)) * weight_B
    return policy_B, scores.reference_BLK.sum((1, 2)) * weight_B


def _extents(states: ResponseStates, canvases: Sequence[TrainingCanvas]) -> Tensor:
    """Positions that each row's masked ones stand for [B]."""
    length = states.masked_BL.shape[1]
    extents = [
        one.extent or length if isinstance(one, TargetCanvas) else length for one in canvases
    ]
    return torch.tensor(extents, device=states.masked_BL.device)
