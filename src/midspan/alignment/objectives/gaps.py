"""Gaps of a canvas, which are its runs of masked positions: where they are, what each is worth.

Shapes: H rows, L response positions, G gaps.
"""

import torch
from torch import Tensor


def gap_scores(best_HL: Tensor, end_HL: Tensor, masked_HL: Tensor) -> Tensor:
    """Mean over each row's gaps, which are its runs of masked positions.

    Args:
        best_HL: Score of a refusal from each start, -inf where none may start.
        end_HL: Score of the end of the text at each position.
        masked_HL: Where the gaps are; every row has one.

    Returns:
        A gap's score is its best refusal's or, where none fits, the mean of its ends. [H].
    """
    gap_HL, _ = gaps(masked_HL)
    size = (len(gap_HL), int(gap_HL.max()) + 1)
    count_HG = end_HL.new_zeros(size).scatter_add(1, gap_HL, masked_HL.to(end_HL.dtype))
    ends_HG = end_HL.new_zeros(size).scatter_add(1, gap_HL, end_HL.masked_fill(~masked_HL, 0.0))
    best_HG = best_HL.new_full(size, -torch.inf).scatter_reduce(1, gap_HL, best_HL, "amax")
    fits_HG, exists_HG = best_HG.isfinite(), count_HG > 0
    score_HG = torch.where(fits_HG, best_HG, ends_HG / count_HG.clamp(min=1))
    return score_HG.masked_fill(~exists_HG, 0.0).sum(1) / exists_HG.sum(1)


def gaps(masked_HL: Tensor) -> tuple[Tensor, Tensor]:
    """Each position's gap, counted from 0 in its row, and its distance from the gap's first.

    At positions that are not masked both belong to the gap before.
    """
    before_HL = torch.nn.functional.pad(masked_HL[:, :-1], (1, 0))
    first_HL = masked_HL & ~before_HL
    position_L = torch.arange(masked_HL.shape[1], device=masked_HL.device)
    start_HL = torch.where(first_HL, position_L, 0).cummax(1).values
    return (first_HL.long().cumsum(1) - 1).clamp(min=0), position_L - start_HL
