"""What hooks have done to the rows of a batch beside their canvases."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass
class RowNotes:
    """What hooks have done to the rows of a batch beside their canvases.

    Attributes:
        stopped_B: Rows that leave as they are.
        extra_B: Forwards that hooks took of their own.
        past_end_B: Rows that are decoded and read beyond their first end token.
        rejected: Why a request was rejected, by its index.
    """

    stopped_B: BoolArray
    extra_B: IntArray
    past_end_B: BoolArray
    rejected: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: int) -> "RowNotes":
        """Of rows to which nothing was done."""
        nothing = np.zeros(rows, dtype=bool)
        return cls(nothing, np.zeros(rows, dtype=np.int64), nothing.copy())

    def select(self, kept_B: BoolArray) -> "RowNotes":
        """Of the kept rows."""
        return RowNotes(
            self.stopped_B[kept_B], self.extra_B[kept_B], self.past_end_B[kept_B], self.rejected
        )

    def join(self, other: "RowNotes") -> "RowNotes":
        """Of these rows and those of another batch."""
        return RowNotes(
            np.concatenate([self.stopped_B, other.stopped_B]),
            np.concatenate([self.extra_B, other.extra_B]),
            np.concatenate([self.past_end_B, other.past_end_B]),
            self.rejected | other.rejected,
        )
