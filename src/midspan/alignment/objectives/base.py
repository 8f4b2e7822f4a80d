"""What every objective shares: it draws canvases from an example, and turns scores into losses."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from midspan.alignment.scores import Direction, ResponseStates
from midspan.frozen import FrozenConfig

Ids = tuple[int, ...]


@dataclass(frozen=True)
class PhrasePair:
    """The phrases drawn for one harmful prompt, as token ids.

    Attributes:
        safe: Refusal, ending in the end-of-text token.
        harmful: Continuation that must become unlikely.
    """

    safe: Ids
    harmful: Ids


@dataclass(frozen=True)
class TokenExample:
    """A prompt in chat format and its answer, filled with end-of-text tokens to the canvas."""

    prompt_ids: Ids
    answer_ids: Ids = ()


@dataclass(frozen=True)
class Canvas:
    """One row of a forward pass.

    Attributes:
        prompt_ids: The chat prompt.
        response_ids: The response, with the mask token where the model has to predict.
        target_ids: What a likelihood objective wants at the masked positions.
        pair: Phrases that a window objective places and avoids.
        window: First and last start of phrases; with target_ids the positions of the phrase there.
        refusals: Phrases one of which is to stand in every gap.
        avoided_ids: What is to become unlikely at the masked positions.
    """

    prompt_ids: Ids
    response_ids: Ids
    target_ids: Ids = ()
    pair: PhrasePair | None = None
    window: tuple[int, int] | None = None
    refusals: tuple[Ids, ...] = ()
    avoided_ids: Ids = ()


@dataclass(frozen=True)
class Sample:
    """One example of a batch; most objectives look at it through one canvas."""

    canvases: tuple[Canvas, ...]
    harmful: bool


@dataclass(frozen=True)
class Draw:
    """What canvases are drawn with.

    Attributes:
        rng: Source of every choice.
        safe: Refusals, each ending in the end-of-text token.
        procedural: Harmful continuations.
        length: Canvas length L.
        mask: The mask token.
        eos: The end-of-text token.
    """

    rng: random.Random
    safe: Sequence[Ids]
    procedural: Sequence[Ids]
    length: int
    mask: int
    eos: int

    def pair(self) -> PhrasePair:
        """One refusal and one harmful continuation (Algorithm 1)."""
        return PhrasePair(self.rng.choice(self.safe), self.rng.choice(self.procedural))

    def filled(self, ids: Ids) -> Ids:
        """A text on the canvas, end-of-text tokens behind it."""
        return (*ids, *[self.eos] * self.length)[: self.length]

    def masked_canvas(self) -> Ids:
        """A canvas on which nothing is decided."""
        return (self.mask,) * self.length

    def noised(self, ids: Ids) -> Ids:
        """A canvas with l of L tokens masked, l uniform from 1 to L (LLaDA, Algorithm 3)."""
        count = self.rng.randint(1, self.length)
        hidden = set(self.rng.sample(range(self.length), count))
        return tuple(self.mask if place in hidden else token for place, token in enumerate(ids))


@dataclass(frozen=True)
class SampleLosses:
    """Losses of S samples [S], and metrics over those that each metric applies to."""

    values_S: Tensor
    metrics: dict[str, Tensor]


class Objective(FrozenConfig, ABC):
    """What alignment minimises, with its settings.

    Attributes:
        benign_weight: Weight of a benign sample's loss against a harmful one's.
        kl_reduction: Over masked positions; the paper does not say. "sum" is the KL between the
            factorised response distributions, "mean" is that per token.
        kl_direction: "forward" is KL(policy || reference) as printed, "reverse" the other way.
    """

    benign_weight: float = Field(0.0, ge=0)
    kl_reduction: str = Field("sum", pattern="^(sum|mean)$")
    kl_direction: Direction = "forward"

    @property
    @abstractmethod
    def uses_reference(self) -> bool:
        """Whether the adapter-free model is needed beside the policy."""

    @property
    @abstractmethod
    def needs_answers(self) -> tuple[bool, bool]:
        """Whether harmful examples, and benign ones, need an answer."""

    @abstractmethod
    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> Sample:
        """Draw the canvases of one example."""

    @abstractmethod
    def losses(self, states: ResponseStates, samples: Sequence[Sample]) -> SampleLosses:
        """Losses of samples whose canvases are the rows of ``states``, in order."""

    def check_phrase(self, phrase: Ids, length: int) -> str | None:
        """Why a phrase cannot be placed on a canvas of this length, or None."""
        return None if len(phrase) <= length else f"has {len(phrase)} tokens, more than the canvas"

    def kl(self, kl_BL: Tensor, where_BL: Tensor) -> Tensor:
        """KL a row [B], reduced as configured over ``where_BL``."""
        total_B = kl_BL.sum(1)
        if self.kl_reduction == "sum":
            return total_B
        return total_B / where_BL.sum(1).clamp(min=1)

    def benign_kl(self, states: ResponseStates, rows: Sequence[int]) -> Tensor:
        """KL to the reference at the masked positions of benign rows, one value each."""
        where_BL = only(states.masked_BL, rows)
        kl_BL = states.score(where_BL, kl=True).kl_BL
        return self.kl(kl_BL, where_BL)[list(rows)]


def only(where_BL: Tensor, rows: Sequence[int]) -> Tensor:
    """``where_BL`` with every other row switched off."""
    kept_BL = torch.zeros_like(where_BL)
    kept_BL[list(rows)] = where_BL[list(rows)]
    return kept_BL


def split(samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """Places of the harmful and of the benign samples."""
    harmful = [place for place, sample in enumerate(samples) if sample.harmful]
    benign = [place for place, sample in enumerate(samples) if not sample.harmful]
    return harmful, benign


def merged(size: int, parts: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """One tensor [size] from values at given places."""
    values = torch.cat([part for _, part in parts])
    places = [place for rows, _ in parts for place in rows]
    return values.new_zeros(size).index_put((torch.tensor(places, device=values.device),), values)
