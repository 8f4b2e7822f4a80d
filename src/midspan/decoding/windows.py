"""Forwards over windows of rows, on top of the keys and values that are held of them.

Shapes: B rows, A rows of a forward, Q columns of the widest window, R wanted positions,
V vocabulary.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.canvas import Canvas
from midspan.decoding.turns import next_rows
from midspan.models.model import DiffusionLM

if TYPE_CHECKING:
    from midspan.decoding.cache import SlotCache

IntArray = NDArray[np.int64]
Borders: TypeAlias = tuple[IntArray, IntArray]


@dataclass(frozen=True)
class Layout:
    """Where the windows of a forward lie, in columns of the batch, on the host.

    Attributes:
        first_A: First column of each row's window.
        last_A: The column behind it.
        begin_A: First column that is fed of each row.
        width: Q.
        real_A: First column of each row that is not padding.
        shown: Columns whose keys are seen.
    """

    first_A: IntArray
    last_A: IntArray
    begin_A: IntArray
    width: int
    real_A: IntArray
    shown: slice

    @classmethod
    def of(cls, borders: Borders, real_A: IntArray, total: int, sees_behind: bool) -> Self:
        """The layout of windows in a batch of `total` columns."""
        first_A, last_A = borders
        width, end = int((last_A - first_A).max()), int(last_A.max())
        if last_A.min() == end:
            begin_A = np.full_like(first_A, end - width)
        else:
            begin_A = np.minimum(first_A, total - width)
        shown = slice(int(real_A.min()), total if sees_behind else end)
        return cls(first_A, last_A, begin_A, width, real_A, shown)

    @cached_property
    def run(self) -> slice | None:
        """The columns that are fed, where all rows share them."""
        begin = int(self.begin_A[0])
        return slice(begin, begin + self.width) if (self.begin_A == begin).all() else None

    @property
    def is_fresh(self) -> bool:
        """Whether everything that is seen is fed."""
        return self.run == self.shown and bool((self.first_A <= self.real_A).all())

    @property
    def exceeds(self) -> bool:
        """Whether anything is fed that is neither a window's nor padding."""
        is_before_A = (self.begin_A < self.first_A) & (self.real_A < self.first_A)
        return bool((is_before_A | (self.begin_A + self.width > self.last_A)).any())


class Windows:
    """The rows' keys and values, and forwards over windows of rows.

    Attributes:
        cache: Keys and values; None where none are kept.
    """

    def __init__(self, lm: DiffusionLM, cache: "SlotCache | None") -> None:
        self.lm, self.cache = lm, cache
        self._waited_B = np.zeros(0, dtype=np.int64)

    def next_rows(
        self,
        size_B: IntArray,
        kind_B: IntArray,
        is_held_B: NDArray[np.bool_],
        limit: int,
    ) -> IntArray:
        """The rows that go next, see `turns.next_rows`, in the order of their slots.

        Args:
            size_B: Columns of each row's window; 0 for rows that wait for another.
            kind_B: See `turns.next_rows`.
            is_held_B: Rows whose keys and values are still needed.
            limit: The most rows.
        """
        self._waited_B = lengthened(self._waited_B, len(size_B))
        if size_B.all():
            rows_A = next_rows(size_B, kind_B, self._waited_B, limit)
        else:
            able_N = np.flatnonzero(size_B)
            these = size_B[able_N], kind_B[able_N], self._waited_B[able_N]
            rows_A = able_N[next_rows(*these, limit)]
        self._waited_B += 1
        self._waited_B[rows_A] = 0
        return rows_A if self.cache is None else self.cache.side_by_side(rows_A, is_held_B)

    def logits(
        self,
        canvas: Canvas,
        rows_A: IntArray,
        position_AR: Tensor,
        borders: Borders,
        *,
        are_new: bool = False,
    ) -> Tensor:
        """Aligned logits [A, R, V] in single precision, of the rows that `next_rows` gave.

        Args:
            canvas: Of the batch.
            rows_A: The rows.
            position_AR: Wanted canvas positions, within the windows.
            borders: First and behind-last columns of each row's window.
            are_new: Whether nothing has been computed of these rows, so that some may be equal.
        """
        from midspan.decoding.cache import Window

        cache, lm, total = self.cache, self.lm, canvas.ids_BT.shape[1]
        assert cache is not None
        real_A = canvas.first_B[rows_A]
        layout = Layout.of(borders, real_A, total, sees_behind=lm.block_length is None)
        run, shown, device = layout.run, layout.shown, canvas.ids_BT.device
        row_A1, begin_A1, first_A1, last_A1 = torch.from_numpy(
            np.stack([rows_A, layout.begin_A, layout.first_A, layout.last_A])[..., None]
        ).to(device)
        column_AQ = begin_A1 + torch.arange(layout.width, device=device)
        slot, moved = int(cache.slot_B[rows_A[0]]), cache.columns - total
        cache.window = Window(
            slots=slice(slot, slot + len(rows_A)),
            columns=column_AQ + moved if run is None else _moved(run, moved),
            written_AQ=(column_AQ >= first_A1) & (column_AQ < last_A1) if layout.exceeds else None,
            shown=_moved(shown, moved),
            is_fresh=layout.is_fresh,
        )
        ids_AQ, copy_A = canvas.ids_BT[row_A1, column_AQ], None
        if are_new and layout.is_fresh and len(rows_A) > 1:
            one_U, copy_A = _distinct(ids_AQ, position_AR, real_A)
            ids_AQ, row_A1, position_AR = ids_AQ[one_U], row_A1[one_U], position_AR[one_U]
            begin_A1, cache.window.copy_A = begin_A1[one_U], copy_A
        attention_AT = canvas.attention_BT
        if attention_AT is not None:
            is_padded = bool((real_A > shown.start).any())
            attention_AT = attention_AT[row_A1[:, 0], shown] if is_padded else None
        width = canvas.width - shown.start
        first_A1 = begin_A1 - shown.start
        logits_ARV = lm.logits(ids_AQ, attention_AT, width + position_AR, first_A1, cache, width)
        return (logits_ARV if copy_A is None else logits_ARV[copy_A]).float()

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """Keep these rows of the batch only."""
        self._waited_B = self._waited_B[kept_B[: len(self._waited_B)]]
        if self.cache is not None:
            self.cache.select(kept_B)

    def clear(self, rows_B: NDArray[np.bool_]) -> None:
        """Let nothing be left of the keys and values of these rows of the batch."""
        if self.cache is not None and rows_B.any():
            self.cache.clear(rows_B)


def _distinct(ids_AQ: Tensor, position_AR: Tensor, real_A: IntArray) -> tuple[Tensor, Tensor]:
    """One row of each kind, and for every row which of these it equals."""
    kinds: dict[bytes, int] = {}
    asked_AX = torch.cat([ids_AQ, position_AR], 1).cpu().numpy()
    copies = [
        kinds.setdefault(bytes(asked_X) + int(real).to_bytes(8), len(kinds))
        for asked_X, real in zip(asked_AX, real_A, strict=True)
    ]
    copy_A = torch.tensor(copies)
    one_U = torch.tensor([copies.index(kind) for kind in range(len(kinds))])
    return one_U.to(ids_AQ.device), copy_A.to(ids_AQ.device)


def lengthened(values_B: IntArray, count: int, value: int = 0) -> IntArray:
    """Values of `count` rows, those of new ones behind."""
    new = count - len(values_B)
    if not new:
        return values_B
    return np.concatenate([values_B, np.full(new, value, dtype=values_B.dtype)])


def _moved(columns: slice, by: int) -> slice:
    return slice(columns.start + by, columns.stop + by)
