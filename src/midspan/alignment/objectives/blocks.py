"""Canvases of models that decode block after block, in states that their decoding reaches.

When such a model (SDAR, LLaDA2) comes to a block, those before it are finished and the block is
masked; what is behind it is not seen. A canvas opens one block, behind the answer's own tokens, or
under a logit shift its first token, and then the others behind that one. A
phrase that begins there and runs on is scored on a canvas for each block that it reaches, each
showing the phrase up to there: their sum is the log-probability of the phrase from that state.

Shapes: B canvases, S samples, L response positions.
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
)  # fmt: skip
from midspan.alignment.scores import ResponseStates


@dataclass(frozen=True)
class BlockCanvas(TrainingCanvas):
    """A canvas with one open block, and tokens that are wanted or avoided in it.

    Attributes:
        role: Of the tokens; a "kept" canvas has none, and is held to the reference.
        first: Position of the first of them.
        tokens: They stand side by side.
        weight: What each of their log-probabilities counts.
    """

    role: Literal["safe", "harmful", "kept"]
    first: int
    tokens: Ids = ()
    weight: float = 1.0


@dataclass(frozen=True)
class BlockTerms:
    """What the losses of a window objective are made of, one value a sample [S].

    Attributes:
        safe_S: Log-probability of the refusal.
        harmful_S: That of what is avoided.
        harmful_size_S: Tokens that the latter counts as.
        kl_S: KL to the reference on the canvas that is kept, whose block stands for the response:
            the sum is scaled by its share of it.
    """

    safe_S: Tensor
    harmful_S: Tensor
    harmful_size_S: Tensor
    kl_S: Tensor


def block_start(example: TokenExample, draw: Draw, window: tuple[int, int]) -> int:
    """Where a refusal begins: first in one of the window's blocks, drawn, or at its first start.

    In one state a refusal has one place, since a block's tokens are predicted independently. Where
    the answer is shorter than the window, its end is the last place that decoding reaches.

    Args:
        example: A harmful one.
        draw: Source of the choice.
        window: First and last start at which what is to be placed fits.
    """
    last = min(window[1], draw.size(example.answer_ids))
    first = min(window[0], last)
    borders = {
        max(draw.block(example.prompt_ids, place).start, first) for place in range(first, last + 1)
    }
    return draw.rng.choice(sorted(borders))


def phrase_canvases(
    example: TokenExample, phrase: Ids, start: int, role: Literal["safe", "harmful"], draw: Draw
) -> list[BlockCanvas]:
    """One canvas for each block that a phrase reaches, the answer standing before it."""
    text = draw.filled((*example.answer_ids[:start], *phrase))
    end, place = min(start + len(phrase), draw.length), start
    canvases = []
    while place < end:
        stop = draw.span(example.prompt_ids, place).stop
        response = draw.opened(example.prompt_ids, text, place)
        tokens = text[place : min(stop, end)]
        canvases.append(BlockCanvas(example.prompt_ids, response, role, place, tokens))
        place = stop
    return canvases


def kept_canvas(example: TokenExample, draw: Draw) -> BlockCanvas:
    """A block of an answer, or of its end, behind what comes before it."""
    place = draw.rng.randrange(draw.extent(example.answer_ids))
    response = draw.opened(example.prompt_ids, example.answer_ids, place)
    return BlockCanvas(example.prompt_ids, response, "kept", place)


def block_terms(
    states: ResponseStates, samples: Sequence[TrainingSample], *, kl: bool, scaled: bool
) -> BlockTerms:
    """Sums over each sample's canvases.

    Args:
        states: Of all canvases in order.
        samples: Of block canvases.
        kl: Whether to compare with the reference.
        scaled: Whether the KL is that of the response, or else the mean over its tokens.
    """
    canvases, masked_BL = canvases_of(samples, BlockCanvas), states.masked_BL
    device, length = masked_BL.device, masked_BL.shape[1]
    token_BL = torch.zeros_like(masked_BL, dtype=torch.long)
    weight_BL = torch.zeros_like(masked_BL, dtype=torch.float32)
    for row, one in enumerate(canvases):
        there = slice(one.first, one.first + len(one.tokens))
        token_BL[row, there] = torch.tensor(one.tokens, dtype=torch.long, device=device)
        weight_BL[row, there] = one.weight
    logp_BL = states.score(weight_BL > 0, token_BL[..., None]).logp_BLK[..., 0]
    logp_B = (logp_BL * weight_BL).sum(1)
    kl_B = torch.zeros_like(logp_B)
    if kl:
        kept_B = torch.tensor([one.role == "kept" for one in canvases], device=device)
        share_B = masked_BL.sum(1) / (length if scaled else 1)
        kl_B = states.score(masked_BL & kept_B[:, None], kl=True).kl_BL.sum(1) / share_B
    sample_B = torch.tensor(
        [n for n, sample in enumerate(samples) for _ in sample.canvases], device=device
    )

    def total(values_B: Tensor, role: str) -> Tensor:
        has_role_B = torch.tensor([one.role == role for one in canvases], device=device)
        values_B = values_B.masked_fill(~has_role_B, 0.0)
        return values_B.new_zeros(len(samples)).index_add(0, sample_B, values_B)

    return BlockTerms(
        safe_S=total(logp_B, "safe"),
        harmful_S=total(logp_B, "harmful"),
        harmful_size_S=total(weight_BL.sum(1), "harmful"),
        kl_S=total(kl_B, "kept"),
    )


def is_in_blocks(samples: Sequence[TrainingSample]) -> bool:
    """Whether samples are of a model that decodes block after block."""
    return isinstance(samples[0].canvases[0], BlockCanvas)
