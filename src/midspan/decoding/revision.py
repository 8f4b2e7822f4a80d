"""A second look at a full block: tokens that were committed in doubt are masked and decided again.

Tokens that a step commits side by side do not see each other, and here they do. Where the model
was in doubt because the neighbors were open, it rarely is among them: one more forward a block, of
a few positions, lets a step commit far more at once. Neighbors of one token are looked at too,
however sure: a word stands twice where two steps took its place to be one or the next. The
published remasking of ReMDM (Wang et al. 2025) is spread over all steps and at random; this one is
at blocks' ends and by confidence.
Shapes: B rows, L canvas, N blocks.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from midspan.decoding.canvas import Canvas
from midspan.decoding.config import LladaSampler
from midspan.decoding.trace import ANCHOR_STEP
from midspan.models.family import SpecialTokens

Flags = NDArray[np.bool_]


class Revision:
    """Which blocks of which rows have been looked at again.

    Attributes:
        seen_BN: True where a block was, or had nothing in doubt.
    """

    def __init__(self, config: LladaSampler, tokens: SpecialTokens) -> None:
        assert config.revise is not None and tokens.mask is not None
        self._least, self._mask, self._stop = config.revise, tokens.mask, sorted(tokens.stop)
        self._starts_N = np.arange(0, config.length, config.block)
        self._sizes_N = np.diff(self._starts_N, append=config.length)
        self.seen_BN: Flags = np.zeros((0, len(self._starts_N)), dtype=bool)

    def reopen(self, canvas: Canvas, open_BL: Flags, end_B: NDArray[np.int64]) -> bool:
        """Mask again what is in doubt in blocks that have just become full; whether anything was.

        Args:
            canvas: Of the batch.
            open_BL: What is open, on the host.
            end_B: Where each row's text has ended, with nothing open before; L where it has not.
                What follows is not read, and need not be full.
        """
        new = len(open_BL) - len(self.seen_BN)
        self.seen_BN = np.pad(self.seen_BN, ((0, new), (0, 0)))
        full_BN = np.add.reduceat(open_BL, self._starts_N, axis=1, dtype=np.int64) == 0
        full_BN |= (self._starts_N <= end_B[:, None]) & (end_B[:, None] < canvas.length)
        due_BN = full_BN & ~self.seen_BN
        if not due_BN.any():
            return False
        self.seen_BN |= due_BN
        again_BL = np.repeat(due_BN, self._sizes_N, axis=1) & ~open_BL
        again_BL &= canvas.step_BL.cpu().numpy() != ANCHOR_STEP
        again_BL &= np.arange(canvas.length) <= end_B[:, None]
        is_unsure_BL = canvas.confidence_BL.cpu().numpy() < self._least
        again_BL &= is_unsure_BL | self._is_twin(canvas.tokens_BL.cpu().numpy())
        if not again_BL.any():
            return False
        device = canvas.ids_BT.device
        row, position = (torch.from_numpy(index).to(device) for index in np.nonzero(again_BL))
        canvas.reopen((row, position), self._mask)
        return True

    def _is_twin(self, tokens_BL: NDArray[np.int64]) -> Flags:
        """Tokens that a neighbor has too, [B, L]; texts may well end more than once."""
        is_same_BL = tokens_BL[:, 1:] == tokens_BL[:, :-1]
        is_twin_BL = np.pad(is_same_BL, ((0, 0), (0, 1))) | np.pad(is_same_BL, ((0, 0), (1, 0)))
        twins: Flags = is_twin_BL & ~np.isin(tokens_BL, self._stop)
        return twins

    def select(self, kept_B: Flags) -> None:
        """Keep these rows of the batch only."""
        self.seen_BN = self.seen_BN[kept_B[: len(self.seen_BN)]]
