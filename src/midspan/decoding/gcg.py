"""Greedy coordinate gradient (Zou et al. 2023) on a prompt's free tokens, for masked diffusion.

One iteration, whole: gradient, candidates, losses, the best. The loop and its journal are
`engine.gcg`. Defaults are nanoGCG's (GraySwanAI); deviations: the loss is that of a phrase under
masked canvases (`gradients.py`); a candidate must come back from the whole chat prompt as typed,
not from its own text alone; each iteration has its own random state, so that any can be repeated.
Shapes: S candidates, F free tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from midspan.decoding.gradients import Goal, phrase_losses, token_gradient
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.models.model import DiffusionLM
from midspan.models.tokens import control_ids


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
class SuffixPrompt:
    """A chat prompt whose user message ends in free tokens.

    Attributes:
        request: The message before the suffix.
        ids: The whole prompt.
        free: Places of the suffix in it.
    """

    request: str
    ids: tuple[int, ...]
    free: range

    @classmethod
    def create(cls, lm: DiffusionLM, request: str, suffix: str) -> "SuffixPrompt":
        """The prompt with its first suffix.

        Raises:
            MidspanError: If the suffix does not add tokens of its own behind the request.
        """
        without = lm.encode_chat(request)
        ids = lm.encode_chat(_join(request, suffix))
        begin = _common(without, ids)
        end = len(ids) - _common(without[::-1], ids[::-1])
        added = len(ids) - len(without)
        if added < 1 or end - begin > added:
            raise MidspanError(
                f"initial: {suffix!r} melts into the request's tokens; begin with another suffix"
            )
        return cls(request, tuple(ids), range(begin, begin + added))

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """The free tokens."""
        return self.ids[self.free.start : self.free.stop]

    def message(self, lm: DiffusionLM) -> str:
        """The user message that carries the suffix."""
        suffix = lm.tokenizer.decode(self.suffix_ids, clean_up_tokenization_spaces=False)
        return _join(self.request, str(suffix))

    def with_suffix(self, suffix_ids: Sequence[int]) -> "SuffixPrompt":
        """The same prompt with other free tokens."""
        ids = (*self.ids[: self.free.start], *suffix_ids, *self.ids[self.free.stop :])
        return replace(self, ids=ids)

    def survives(self, lm: DiffusionLM) -> bool:
        """Whether the message as text becomes this very prompt."""
        return lm.encode_chat(self.message(lm)) == list(self.ids)


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
            candidates = [prompt for prompt in candidates if prompt.survives(self.lm)]
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


def allowed_tokens(lm: DiffusionLM, ascii_only: bool = True) -> Tensor:
    """Tokens that a suffix may hold, [V]: no special ones, and none that the tokenizer lacks.

    Raises:
        MidspanError: If none are left.
    """
    tokenizer: Any = lm.tokenizer
    allowed_V = torch.zeros(lm.base.get_input_embeddings().num_embeddings, dtype=torch.bool)
    barred = control_ids(tokenizer, lm.tokens) | {tokenizer.unk_token_id}
    plain = [i for i in tokenizer.get_vocab().values() if i not in barred and i < len(allowed_V)]
    if ascii_only:
        texts = tokenizer.batch_decode([[i] for i in plain])
        plain = [
            i for i, text in zip(plain, texts, strict=True) if text.isascii() and text.isprintable()
        ]
    if not plain:
        raise MidspanError("ascii_only: the vocabulary has no such token; switch it off")
    allowed_V[plain] = True
    return allowed_V


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
    place_SR = torch.rand(config.search_width, size, generator=generator).argsort(1)[:, : shape[1]]
    pick_SR = torch.randint(steepest_FK.shape[1], shape, generator=generator)
    candidates_SF = ids_F.repeat(config.search_width, 1)
    candidates_SF.scatter_(1, place_SR, steepest_FK[place_SR, pick_SR])
    return candidates_SF.unique(dim=0)


def _join(request: str, suffix: str) -> str:
    return request + suffix if suffix[:1].isspace() else f"{request} {suffix}"


def _common(one: Sequence[int], two: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(two)))
