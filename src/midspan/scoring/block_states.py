"""The states in which block diffusion writes a phrase: one block after another, each finished.

Full attention may score a whole phrase in one state. Where attention is block-causal, decoding
fills a block only when those before it are full, so a phrase over a border is scored in one state a
block, its earlier blocks shown. With a logit shift a block's first token is a state of its own: it
comes from the block before, alone, and the others see it. The last block is whole, but where
blocks begin with the canvas, whose end then cuts it.
Shapes: B states asked for, C states that decoding reaches, S parts of a phrase, N phrase tokens.
"""

import torch
from torch import Tensor

from midspan.models.model import DiffusionLM


def masks_to_border(lm: DiffusionLM, num_tokens: int) -> list[int]:
    """The masks that fill the last block behind so many tokens, as decoding fills it."""
    if lm.block_length is None or lm.family.blocks_from == "canvas":
        return []
    assert lm.tokens.mask is not None
    return [lm.tokens.mask] * (-num_tokens % lm.block_length)


def reached_states(
    lm: DiffusionLM, prompt_length: int, start: int, hidden_BN: Tensor, weight_BN: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What states hide of a phrase and how its tokens count, cut at the blocks' borders.

    The weight of each token stays what it was. What stands before the phrase is the caller's: a
    canvas masked in an earlier block is no state of block diffusion, and is scored as it is.

    Args:
        lm: Its attention, blocks and shift decide.
        prompt_length: Tokens of the prompt.
        start: Canvas position of the phrase's first token.
        hidden_BN: True where a token of the phrase is masked.
        weight_BN: How much each token counts.

    Returns:
        The same for the states that decoding reaches, both [C, N], and which of the B states each
        is a part of, [C]. With full attention the states as they are.
    """
    if lm.block_length is None:
        return hidden_BN, weight_BN, torch.arange(len(hidden_BN))
    first = start if lm.family.blocks_from == "canvas" else prompt_length + start
    position_N = torch.arange(first, first + hidden_BN.shape[1])
    part_N = 2 * (position_N // lm.block_length)
    if lm.family.logit_shift:
        part_N += position_N % lm.block_length > 0
    part_S11 = part_N.unique()[:, None, None]
    counts_SBN = (part_N == part_S11) & (weight_BN != 0)
    part_C, state_C = counts_SBN.any(-1).T.nonzero(as_tuple=True)[::-1]
    hidden_CN = hidden_BN[state_C] & (part_N >= part_S11[part_C, 0])
    return hidden_CN, weight_BN[state_C] * counts_SBN[part_C, state_C], state_C
