"""Greedy coordinate gradient (Zou et al. 2023) on a prompt's free tokens, for masked diffusion.

One iteration, whole: gradient, candidates, losses, the best. The loop and its journal are
`journal.suffix_search`. Defaults are nanoGCG's (GraySwanAI); deviations: the loss is that of a
phrase under masked canvases (`gradients.py`); a candidate must come back from the whole chat prompt
as typed, not from its own text alone; each iteration has its own random state, so that any can be
repeated.
Shapes: S candidates, F free tokens, V vocabulary.
"""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.models.model import DiffusionLM
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient
from midspan.scoring.suffix import SuffixPrompt, allowed_tokens


class GCGConfig(FrozenConfig):
    """How a suffix is searched; defaults are nanoGCG's.

    Attributes:
        steps: Iterations.
        search_width: Candidates an iteration, before those that do not survive as text leave.
        top_k: Tokens of the steepest descent that a place draws from.
        num_replaced: Tokens that a candidate changes.
        initial: The suffix to begin with.
        ascii_only: Keep to tokens of printable ASCII.
        round_trip: Keep to candidates that the tokenizer reads back from their text.
        canvases: 0 scores the fully masked canvas (first-step loss); above, a Monte-Carlo loss
            over so many partly shown phrases, drawn anew each iteration and shared by its
            candidates.
        batch_size: Rows that go through the model together.
        seed: Seed of all draws.
    """

    steps: int = Field(250, ge=1)
    search_width: int = Field(512, ge=1)
    top_k: int = Field(256, ge=1)
    num_replaced: int = Field(1, ge=1)
    initial: str = Field("x " * 19 + "x", min_length=1)
    ascii_only: bool = True
    round_trip: bool = True
    canvases: int = Field(0, ge=0)
    batch_size: int = Field(64, ge=1)
    seed: int = 0


@dataclass(frozen=True)
class GCGStep:
    """What an iteration found.

    Attributes:
        suffix_ids: The best candidate; it replaces the suffix even where its loss is higher.
        loss: Its loss, nats a token; under Monte-Carlo, over this iteration's canvases.
        forwards: Rows that went through the model, the gradient's counted once.
    """

    suffix_ids: tuple[int, ...]
    loss: float
    forwards: int


class GCG:
    """The search's iteration on one model.

    Args:
        lm: The model.
        config: How to search.

    Raises:
        MidspanError: If no token may stand in a suffix.
    """

    def __init__(self, lm: DiffusionLM, config: GCGConfig) -> None:
        self.lm = lm
        self.config = config
        self.allowed_V = allowed_tokens(lm, config.ascii_only)

    def step(self, prompt: SuffixPrompt, goal: Goal, number: int) -> GCGStep:
        """Iteration `number`, which depends on its arguments and the config alone."""
        config = self.config
        generator = torch.Generator().manual_seed(self._seed(number))
        drawn = self.scored(goal, number)
        gradient_FV = token_gradient(self.lm, prompt.ids, prompt.free, drawn)
        candidates_SF = sample_candidates(
            torch.tensor(prompt.suffix_ids), gradient_FV, self.allowed_V, config, generator
        )
        candidates = [prompt.with_suffix(ids) for ids in candidates_SF.tolist()]
        if config.round_trip:
            candidates = [other for other in candidates if other.survives(self.lm)]
        # Without a survivor the suffix stays, and the next iteration draws others.
        candidates = candidates or [prompt]
        losses_S = phrase_losses(
            self.lm,
            [candidate.ids for candidate in candidates],
            [drawn] * len(candidates),
            config.batch_size,
        )
        best = int(losses_S.argmin())
        forwards = (len(candidates) + 1) * len(drawn.canvases)
        return GCGStep(candidates[best].suffix_ids, float(losses_S[best]), forwards)

    def scored(self, goal: Goal, number: int) -> Goal:
        """The goal over the canvases that iteration `number` scores."""
        canvases = self.config.canvases
        return goal.monte_carlo(canvases, self._seed(number)) if canvases else goal

    def _seed(self, number: int) -> int:
        return self.config.seed * 1_000_003 + number


def sample_candidates(
    ids_F: Tensor,
    gradient_FV: Tensor,
    allowed_V: Tensor,
    config: GCGConfig,
    generator: torch.Generator,
) -> Tensor:
    """Distinct candidates, [S, F], each with `num_replaced` tokens drawn from the steepest ones.

    Args:
        ids_F: The present suffix, on the CPU.
        gradient_FV: Gradient of the loss with respect to its one-hot tokens.
        allowed_V: True for tokens that may be taken.
        config: Width, `top_k` and number of replaced tokens.
        generator: The only source of chance.

    Raises:
        MidspanError: If more tokens are to be replaced than the suffix has.
    """
    size = len(ids_F)
    if config.num_replaced > size:
        raise MidspanError(f"num_replaced={config.num_replaced}: the suffix has {size} tokens")
    descent_FV = -gradient_FV.float().cpu().masked_fill(~allowed_V, torch.inf)
    steepest_FK = descent_FV.topk(min(config.top_k, int(allowed_V.sum()))).indices
    shape = (config.search_width, config.num_replaced)
    replaced_SR = torch.rand(config.search_width, size, generator=generator).argsort(1)[
        :, : shape[1]
    ]
    pick_SR = torch.randint(steepest_FK.shape[1], shape, generator=generator)
    candidates_SF = ids_F.repeat(config.search_width, 1)
    candidates_SF.scatter_(1, replaced_SR, steepest_FK[replaced_SR, pick_SR])
    return candidates_SF.unique(dim=0)
