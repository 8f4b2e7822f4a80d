"""Recovery Alignment: from states that an attacker began, the policy learns to end up safe.

arXiv 2510.00565. A harmful answer is masked again to the level of step t of T; from there the
policy completes the canvas several times, and completions with a higher reward than their group's
mean become likelier (GRPO). t grows over the training, from t_min to t_max. The paper's group
size, learning rate, t_min and t_max were not obtained: they are ours, as is the KL on benign
prompts, without which no recipe here keeps the organism useful.

Likelihoods are diffu-GRPO's one-step estimate (arXiv 2504.12216): all tokens of a completion in one
forward of the canvas from which it began, without its random masks of the prompt. Each completion
is used once, by the policy that made it, so that the ratio to the old policy is 1 and no clipping
acts.

Shapes: B rows, H harmful rows, L response positions, G completions of a canvas.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from midspan.alignment.objectives.base import (
    Draw,
    Ids,
    Objective,
    SampleLosses,
    TokenExample,
    TrainingCanvas,
    TrainingSample,
    canvases_of,
    merged,
    only,
    split,
)  # fmt: skip
from midspan.alignment.scores import ResponseStates
from midspan.errors import MidspanError

_EPSILON = 1e-4  # beside a group's deviation, as GRPO has it


@dataclass(frozen=True)
class BegunState(TrainingCanvas):
    """What a canvas begins from, and what became of it.

    Attributes:
        request: The harmful prompt as text, for the reward.
        answer_ids: The harmful answer.
        order: Positions of its text, in the order in which they stay.
        seed: Of the completions.
        completions: Completed canvases.
        ends: Of each, how many positions count: its text and the first token behind it.
        advantages: Of each, its reward against its group's.
        reward: Mean of those of the group that have one; None where none has.
        unrated: Why the others have none, one reason each.
    """

    request: str
    answer_ids: Ids
    order: Ids
    seed: int
    completions: tuple[Ids, ...] = ()
    ends: tuple[int, ...] = ()
    advantages: tuple[float, ...] = ()
    reward: float | None = None
    unrated: tuple[str, ...] = ()


class RecoveryObjective(Objective):
    """GRPO from contaminated states; see the module.

    Attributes:
        num_completions: Completions of a state, GRPO's group; ours.
        t_min: Tokens of the harmful answer that stand at the beginning of training; with as many
            steps as tokens, as the paper has it, that is the step. Ours.
        t_max: The same at the end; ours.
        steps: Forwards of a whole canvas when it is completed; the paper's is one a token.
        block_length: Tokens of a block of completions, as of the decoder; None for one block.
        temperature: Of completions; ours.
        beta: Weight of KL(policy || reference) on harmful states; GRPO's 0.04.
        benign_weight: Weight of the KL to the reference on benign prompts; ours.
        kl_reduction: Per token, as GRPO's.
    """

    kind: Literal["recovery"] = "recovery"
    num_completions: int = Field(8, ge=2)
    t_min: int = Field(1, ge=0)
    t_max: int = Field(64, ge=0)
    steps: int = Field(128, ge=1)
    block_length: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, gt=0)
    beta: float = Field(0.04, ge=0)
    benign_weight: float = Field(0.0, ge=0)
    kl_reduction: str = Field("mean", pattern="^(sum|mean)$")

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.t_min > self.t_max:
            raise ValueError(f"t_min must be at most t_max, not {self.t_min} and {self.t_max}")
        return self

    @property
    def uses_reference(self) -> bool:
        """Both KL terms compare with it."""
        return self.beta > 0 or self.benign_weight > 0

    @property
    def needs_answers(self) -> tuple[bool, bool]:
        """Harmful states are made of answers."""
        return True, False

    def tokens_at(self, progress: float) -> int:
        """What t is after a share of the training: floor(t_min + (s / S) (t_max - t_min))."""
        return math.floor(self.t_min + progress * (self.t_max - self.t_min))

    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> TrainingSample:
        """A masked canvas; of a harmful prompt also the answer, and what of it is to stand.

        Raises:
            MidspanError: The model decodes block after block, where these states do not occur.
        """
        if draw.block_length is not None:
            raise MidspanError("objective: recovery is not for models that decode in blocks")
        prompt, masked = example.prompt_ids, draw.masked_canvas()
        if not harmful:
            return TrainingSample((TrainingCanvas(prompt, masked),), harmful)
        size = draw.size(example.answer_ids)
        order, seed = tuple(draw.rng.sample(range(size), size)), draw.rng.getrandbits(31)
        state = BegunState(prompt, masked, example.text, example.answer_ids, order, seed)
        return TrainingSample((state,), harmful)

    def begun(self, state: BegunState, progress: float) -> dict[int, int]:
        """Position to token of what of the answer stands at a share of the training."""
        shown = state.order[: self.tokens_at(progress)]
        return {position: state.answer_ids[position] for position in sorted(shown)}

    def advantages(self, rewards: Sequence[float | None]) -> tuple[float, ...]:
        """(r - mean) / deviation over a group; 0 for what was not rewarded."""
        known = [reward for reward in rewards if reward is not None]
        if not known:
            return (0.0,) * len(rewards)
        mean, spread = fmean(known), pstdev(known) + _EPSILON
        return tuple(0.0 if reward is None else (reward - mean) / spread for reward in rewards)

    def losses(self, states: ResponseStates, samples: Sequence[TrainingSample]) -> SampleLosses:
        """Minus GRPO's objective on harmful rows, the KL to the reference on benign ones."""
        harmful, benign = split(samples)
        parts: list[tuple[Sequence[int], Tensor]] = []
        metrics: dict[str, Tensor] = {}
        if harmful:
            loss_H, metrics = self._harmful(states, samples, harmful)
            parts.append((harmful, loss_H))
        if benign:
            metrics["kl_benign"] = self.benign_kl(states, benign)
            parts.append((benign, self.benign_weight * metrics["kl_benign"]))
        return SampleLosses(merged(len(samples), parts), metrics)

    def _harmful(
        self, states: ResponseStates, samples: Sequence[TrainingSample], rows: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        begun = canvases_of([samples[row] for row in rows], BegunState)
        masked_BL, device = states.masked_BL, states.masked_BL.device
        tokens_HGL = torch.tensor([state.completions for state in begun], device=device)
        end_HG = torch.tensor([state.ends for state in begun], device=device)
        advantage_HG = torch.tensor([state.advantages for state in begun], device=device)
        where_BL = only(masked_BL, rows)
        tokens_BLG = tokens_HGL.new_zeros(*masked_BL.shape, self.num_completions)
        tokens_BLG[list(rows)] = tokens_HGL.transpose(1, 2)
        scores = states.score(where_BL, tokens_BLG, kl=self.beta > 0)
        position_L = torch.arange(masked_BL.shape[1], device=device)
        counts_HGL = masked_BL[list(rows)][:, None] & (position_L < end_HG[..., None])
        logp_HGL = scores.logp_BLK[list(rows)].transpose(1, 2) * counts_HGL
        nats_HG = logp_HGL.sum(2) / counts_HGL.sum(2).clamp(min=1)
        gain_H = (advantage_HG * nats_HG).mean(1)
        kl_H = self.kl(scores.kl_BL, where_BL)[list(rows)]
        metrics = {"kl_harmful": kl_H, "nats": nats_HG.mean(1)}
        rewards = [state.reward for state in begun if state.reward is not None]
        unrated = [len(state.unrated) / self.num_completions for state in begun]
        metrics["reward"] = torch.tensor(rewards, device=device)
        metrics["no_verdict"] = torch.tensor(unrated, device=device)
        return self.beta * kl_H - gain_H, metrics
