"""Windows of the dual cache that reach over what a row still needs, not over its block.

A committed token goes through the model once more, in the forward after its step, so that its keys
and values are its own (the delay of dKV-Cache, Ma et al. 2025). After that they are kept.
Shapes: B rows, A rows of a step, R positions of the current block, L canvas.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IntArray = NDArray[np.int64]


class TrimmedWindows:
    """First and behind-last canvas position of what each row still needs.

    Attributes:
        now_2B: Of what is open in the row's block.
        before_2B: Of what was open there at the row's last forward.
    """

    def __init__(self) -> None:
        self.now_2B = np.zeros((2, 0), dtype=np.int64)
        self.before_2B = np.zeros((2, 0), dtype=np.int64)

    def look(self, open_BL: NDArray[np.bool_], start_B: IntArray, block: int) -> None:
        """Take up what is open of each row's block; something is."""
        new = len(open_BL) - self.before_2B.shape[1]
        self.before_2B = np.pad(self.before_2B, ((0, 0), (0, new)))
        length = open_BL.shape[1]
        # The last block may be shorter.
        position_BR = np.minimum(start_B[:, None] + np.arange(block), length - 1)
        open_BR = np.take_along_axis(open_BL, position_BR, axis=1)
        ends_2B = np.stack([open_BR.argmax(1), block - open_BR[:, ::-1].argmax(1)])
        self.now_2B = np.minimum(start_B + ends_2B, length)

    def borders(self, rows_A: IntArray) -> IntArray:
        """Both ends of the rows' windows, [2, A]: what is open, and what a step has committed."""
        now_2A, before_2A = self.now_2B[:, rows_A], self.before_2B[:, rows_A]
        return np.stack([np.minimum(now_2A[0], before_2A[0]), np.maximum(now_2A[1], before_2A[1])])

    def inside(self, position_AR: Tensor, rows_A: IntArray) -> Tensor:
        """Wanted positions, where rows of fewer open ones ask again for some of these.

        What fills up such rows may lie outside of their windows, and nobody reads its logits.
        """
        first_A1, last_A1 = torch.from_numpy(self.now_2B[:, rows_A, None]).to(position_AR.device)
        return position_AR.maximum(first_A1).minimum(last_A1 - 1)

    def computed(self, rows_A: IntArray) -> None:
        """These rows go through the model as they are now."""
        self.before_2B[:, rows_A] = self.now_2B[:, rows_A]

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """Keep these rows of the batch only."""
        self.before_2B = self.before_2B[:, kept_B[: self.before_2B.shape[1]]]
