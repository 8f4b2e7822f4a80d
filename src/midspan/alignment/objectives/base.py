"""What every objective shares: it draws canvases from an example, and turns scores into losses."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor

from midspan.alignment.scores import Direction, ResponseStates
from midspan.frozen import FrozenConfig

Ids = tuple[int, ...]


@dataclass(frozen=True)
class TokenExample:
    """A prompt in chat format and its answer, filled with end-of-text tokens to the canvas.

    Attributes:
        prompt_ids: The prompt.
        answer_ids: The answer, where one is needed.
        text: The prompt as it was before it was encoded.
        request_ids: The request as it would stand in a response.
        mentions: Whether the prompt is benign and mentions a harmful request.
    """

    prompt_ids: Ids
    answer_ids: Ids = ()
    text: str = ""
    request_ids: Ids = ()
    mentions: bool = False


@dataclass(frozen=True)
class TrainingCanvas:
    """One row of a forward pass; objectives add what they want or avoid there.

    Attributes:
        prompt_ids: The chat prompt.
        response_ids: The response, with the mask token where the model has to predict.
    """

    prompt_ids: Ids
    response_ids: Ids


@dataclass(frozen=True)
class TrainingSample:
    """One example of a batch; most objectives look at it through one canvas."""

    canvases: tuple[TrainingCanvas, ...]
    harmful: bool


@dataclass(frozen=True)
class Draw:
    """What canvases are drawn with.

    Attributes:
        rng: Source of every choice.
        safe: Refusals, each ending in the end-of-text token, as they stand at most places.
        procedural: Harmful continuations.
        length: Canvas length L.
        mask: The mask token.
        eos: The end-of-text token.
        openings: Refusals of ``safe``, to their form at a response's start and behind white space.
        spaces: Tokens that end in white space.
        block_length: Of a model that decodes block after block; None where attention is full.
        blocks_from_canvas: Whether its blocks count from the canvas's first token, or else from
            the prompt's.
        firsts_alone: Whether a block's first token is decided before the others, as under a logit
            shift, which takes it from the block before.
        beside: Chat prompts of benign requests.
        withheld: Benign prompts that mention a harmful request, each with the answer to that.
        harmless: Long answers to benign prompts, of which pieces can stand in for harmful ones.
        named: Benign prompts that mention a harmful request, and whose own answers are short.
    """

    rng: random.Random
    safe: Sequence[Ids]
    procedural: Sequence[Ids]
    length: int
    mask: int
    eos: int
    openings: Mapping[Ids, Ids] = field(default_factory=dict)
    spaces: frozenset[int] = frozenset()
    block_length: int | None = None
    blocks_from_canvas: bool = False
    firsts_alone: bool = False
    beside: Sequence[Ids] = ()
    withheld: Sequence[TokenExample] = ()
    harmless: Sequence[Ids] = ()
    named: Sequence[Ids] = ()

    def behind(self, before: Ids, refusal: Ids) -> Ids:
        """A refusal of ``safe`` in its form behind a beginning of a response."""
        opens = not before or before[-1] in self.spaces
        return self.openings.get(refusal, refusal) if opens else refusal

    def filled(self, ids: Ids) -> Ids:
        """A text on the canvas, end-of-text tokens behind it."""
        return (*ids, *[self.eos] * self.length)[: self.length]

    def size(self, ids: Ids) -> int:
        """Tokens of a text that fills the canvas, without the end-of-text tokens behind it."""
        return ids.index(self.eos) if self.eos in ids else self.length

    def extent(self, ids: Ids) -> int:
        """Positions that are drawn from: a block behind the end of its text is never decoded."""
        return self.length if self.block_length is None else min(self.size(ids) + 1, self.length)

    def masked_canvas(self) -> Ids:
        """A canvas on which nothing is decided."""
        return (self.mask,) * self.length

    def noised(self, ids: Ids, prompt_ids: Ids) -> Ids:
        """A canvas with l of L tokens masked, l uniform from 1 to L (LLaDA, Algorithm 3).

        Of a model that decodes block after block, l tokens of one block behind finished ones are
        masked (BD3-LM, arXiv 2503.09573). A block is drawn by its share of the text and its end.
        """
        if self.block_length is None:
            open_span = range(self.length)
        else:
            open_span = self.span(prompt_ids, self.rng.randrange(self.extent(ids)))
        hidden = set(self.rng.sample(open_span, self.rng.randint(1, len(open_span))))
        shown = self.filled(ids[: open_span.stop])
        return tuple(
            self.mask if position in hidden else token for position, token in enumerate(shown)
        )

    def block(self, prompt_ids: Ids, position: int) -> range:
        """The canvas positions of a position's block.

        The block that the prompt ends in may begin before the canvas, and is cut there.
        """
        first = self._border(prompt_ids, position)
        return range(max(first, 0), min(first + (self.block_length or 0), self.length))

    def span(self, prompt_ids: Ids, position: int) -> range:
        """The positions of a position's block that decoding opens together with it."""
        block, first = self.block(prompt_ids, position), self._border(prompt_ids, position)
        if not self.firsts_alone or first < 0:
            return block
        return range(first, first + 1) if position == first else range(first + 1, block.stop)

    def _border(self, prompt_ids: Ids, position: int) -> int:
        """Where a position's block begins, counted from the canvas's first token."""
        assert self.block_length is not None
        before = 0 if self.blocks_from_canvas else len(prompt_ids)
        return position - (before + position) % self.block_length

    def opened(self, prompt_ids: Ids, text: Ids, position: int) -> Ids:
        """A text up to a position's span, which is masked; nobody sees what fills the rest."""
        open_span = self.span(prompt_ids, position)
        return self.filled((*text[: open_span.start], *[self.mask] * len(open_span)))


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

    @property
    def further(self) -> tuple[float, float]:
        """Shares of harmful samples in other forms, and of benign ones that mention a harmful."""
        return 0.0, 0.0

    @property
    def takes_apart(self) -> bool:
        """Whether pieces of harmful answers stand beside benign prompts."""
        return False

    @property
    def takes_decoys(self) -> bool:
        """Whether pieces of harmless answers stand in for those of harmful ones."""
        return False

    def answers_needed(self, *, in_blocks: bool) -> tuple[bool, bool]:
        """`needs_answers`, of a model that decodes block after block or of one with full attention.

        The canvases of the former show what stands in earlier blocks.
        """
        return self.needs_answers

    @abstractmethod
    def sample(self, example: TokenExample, *, harmful: bool, draw: Draw) -> TrainingSample:
        """Draw the canvases of one example."""

    @abstractmethod
    def losses(self, states: ResponseStates, samples: Sequence[TrainingSample]) -> SampleLosses:
        """Losses of samples whose canvases are the rows of ``states``, in order."""

    @property
    def latest_start(self) -> int:
        """The last canvas position at which a phrase may begin; it decides on the phrase's form."""
        return 0

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


def split(samples: Sequence[TrainingSample]) -> tuple[list[int], list[int]]:
    """Indices of the harmful and of the benign samples."""
    harmful = [index for index, sample in enumerate(samples) if sample.harmful]
    benign = [index for index, sample in enumerate(samples) if not sample.harmful]
    return harmful, benign


Canvas = TypeVar("Canvas", bound=TrainingCanvas)


def canvases_of(samples: Iterable[TrainingSample], kind: type[Canvas]) -> list[Canvas]:
    """All canvases of samples, which must be of one kind."""
    canvases = []
    for sample in samples:
        for canvas in sample.canvases:
            assert isinstance(canvas, kind), f"{type(canvas).__name__} instead of {kind.__name__}"
            canvases.append(canvas)
    return canvases


def merged(size: int, parts: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """One tensor [size] from values at given indices."""
    values = torch.cat([part for _, part in parts])
    indices = [index for rows, _ in parts for index in rows]
    return values.new_zeros(size).index_put((torch.tensor(indices, device=values.device),), values)
