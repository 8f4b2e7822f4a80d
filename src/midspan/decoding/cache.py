"""Keys and values by position, on transformers' `Cache`.

Unlike the library's own layers, which only grow, a slot layer writes into the middle of what it
holds, at other columns for each row, and shows a part of it. A row of a batch has a slot; rows that
go through the model together get neighbouring slots, whose keys are a view of what is held.
Shapes: S slots, A rows of a forward, Q positions of each, H heads, C columns, E head width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import Cache, CacheLayerMixin

from midspan.decoding.prefixes import Borrowed, Prefixes

IntArray = NDArray[np.int64]


@dataclass
class Window:
    """Where the next forward's positions lie; shared by all layers.

    Attributes:
        slots: Slots of the forward's rows.
        columns: Columns of its positions: a run that all rows share, or [A, Q].
        written_AQ: True at positions that are kept; None for all.
        shown: The columns that queries see.
        is_fresh: Whether the forward computes all that its queries see.
        copy_A: Which of the forward's rows is each slot's; None where they are as many.
    """

    slots: slice
    columns: slice | Tensor
    written_AQ: Tensor | None
    shown: slice
    is_fresh: bool
    copy_A: Tensor | None = None


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, [S, H, C, E]."""

    is_sliding = False

    def __init__(self, cache: "SlotCache") -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make room, in the shape and number format of the first states."""
        self.dtype, self.device = key_states.dtype, key_states.device
        size, columns = self.cache.size, self.cache.columns
        self.keys, self.values = (
            states.new_zeros(size, states.shape[1], columns, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the window's states, and return all that its queries see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window = self.cache.window
        for held, states in ((self.keys, key_states), (self.values, value_states)):
            _write(held[window.slots], states, window)
        if window.is_fresh:
            return key_states, value_states
        keys, values = self.keys[window.slots], self.values[window.slots]
        return keys[:, :, window.shown], values[:, :, window.shown]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys and their offset, from which the library makes a padding mask."""
        shown = self.cache.window.shown
        return shown.stop - shown.start, 0

    def get_seq_length(self) -> int:
        """0: positions and masks are given at each forward."""
        return 0

    def get_max_length(self) -> int:
        """C."""
        return self.cache.columns

    def make_room(self, slots: int, columns: int) -> None:
        """Let there be more slots behind, and more columns in front."""
        if self.is_initialized:
            more = (0, 0, columns, 0, 0, 0, 0, slots)
            self.keys, self.values = pad(self.keys, more), pad(self.values, more)

    def move(self, to_K: Tensor, from_K: Tensor) -> None:
        """Put what is in some slots into others; a slot may be on both sides."""
        if self.is_initialized:
            to_K, from_K = to_K.to(self.keys.device), from_K.to(self.keys.device)
            for held in (self.keys, self.values):
                held[to_K] = held[from_K]

    def clear(self, slots_K: Tensor) -> None:
        """Let nothing be left in some slots."""
        if self.is_initialized:
            for held in (self.keys, self.values):
                held[slots_K.to(held.device)] = 0

    def copy(self, to: tuple[int, int], from_: tuple[int, int], size: int) -> None:
        """Copy a run of columns; `to` and `from_` are slots and first columns."""
        for held in (self.keys, self.values):
            copied = held[from_[0], :, from_[1] : from_[1] + size].clone()
            held[to[0], :, to[1] : to[1] + size] = copied


def _write(held_AHCE: Tensor, states_AHQE: Tensor, window: Window) -> None:
    columns, written_AQ = window.columns, window.written_AQ
    if window.copy_A is not None:
        states_AHQE = states_AHQE[window.copy_A.to(states_AHQE.device)]
    if isinstance(columns, slice):
        if written_AQ is not None:
            written = written_AQ.to(held_AHCE.device)[:, None, :, None]
            states_AHQE = torch.where(written, states_AHQE, held_AHCE[:, :, columns])
        held_AHCE[:, :, columns] = states_AHQE
        return
    column_AQ = columns.to(held_AHCE.device)
    at = (torch.arange(len(column_AQ), device=held_AHCE.device)[:, None], slice(None), column_AQ)
    states_AQHE = states_AHQE.transpose(1, 2)
    if written_AQ is not None:
        written = written_AQ.to(held_AHCE.device)[:, :, None, None]
        states_AQHE = torch.where(written, states_AQHE, held_AHCE[at])
    held_AHCE[at] = states_AQHE


class SlotCache(Cache):
    """All layers of a model, with a slot for every row of a batch.

    Columns count from the right end, so that a batch may become wider or narrower on the left.

    Attributes:
        window: See `Window`; set before a forward.
        size: S.
        columns: C.
        slot_B: The slot of each row of the batch.
        prefixes: Prompts that stand in slots and may be borrowed, whoever has the slot now.
    """

    window: Window

    def __init__(self, num_layers: int, prefixes: Prefixes | None = None) -> None:
        self.size = self.columns = 0
        self.prefixes = prefixes or Prefixes(1, from_end=False)
        self.slot_B: IntArray = np.zeros(0, dtype=np.int64)
        super().__init__([SlotLayer(self) for _ in range(num_layers)])

    def fit(self, rows: int, columns: int) -> None:
        """Give the batch's first `rows` rows slots of so many columns, where they have none."""
        if rows == len(self.slot_B) and columns <= self.columns:
            return
        free = np.setdiff1d(np.arange(max(self.size, rows)), self.slot_B)
        self.slot_B = np.concatenate([self.slot_B, free[: rows - len(self.slot_B)]])
        more = max(0, rows - self.size), max(0, columns - self.columns)
        if any(more):
            self.size, self.columns = self.size + more[0], self.columns + more[1]
            for layer in self.layers:
                layer.make_room(*more)

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """Keep these rows of the batch; the slots of the others are free."""
        self.slot_B = self.slot_B[kept_B[: len(self.slot_B)]]

    def clear(self, rows_B: NDArray[np.bool_]) -> None:
        """Let nothing be left in the slots of these rows.

        What stands in a column that is not attended to is multiplied by 0, which of NaN is NaN.
        """
        slots = self.slot_B[rows_B[: len(self.slot_B)]]
        for slot in slots.tolist():
            self.prefixes.by_slot.pop(slot, None)
        for layer in self.layers:
            layer.clear(torch.from_numpy(slots))

    def side_by_side(self, rows_A: IntArray, valid_B: NDArray[np.bool_]) -> IntArray:
        """Let rows trade slots until those of `rows_A` are neighbours.

        Args:
            rows_A: Rows of the batch.
            valid_B: Rows whose keys and values are needed; those of others are not moved.

        Returns:
            The rows in the order of their slots.
        """
        slot_A = self.slot_B[rows_A]
        if slot_A.max() - slot_A.min() == len(rows_A) - 1:
            in_order: IntArray = rows_A[slot_A.argsort()]
            return in_order
        row_S = np.full(self.size, -1)
        row_S[self.slot_B] = np.arange(len(self.slot_B))
        is_in_S = np.isin(row_S, rows_A)
        count = len(rows_A)
        start = int(np.convolve(is_in_S, np.ones(count), mode="valid").argmax())
        slots = slice(start, start + count)
        inside = start + np.flatnonzero(~is_in_S[slots])
        outside = np.flatnonzero(is_in_S)
        outside = outside[(outside < slots.start) | (outside >= slots.stop)]
        to_K, from_K = np.concatenate([inside, outside]), np.concatenate([outside, inside])
        moved = row_S[from_K]
        row_S[to_K] = moved
        self.slot_B[moved[moved >= 0]] = to_K[moved >= 0]
        held = (moved >= 0) & valid_B[moved] | np.isin(from_K, list(self.prefixes.by_slot))
        self.prefixes.trade(to_K, from_K)
        if held.any():
            pair = torch.from_numpy(to_K[held]), torch.from_numpy(from_K[held])
            for layer in self.layers:
                layer.move(*pair)
        return row_S[slots]

    def borrow(self, row: int, prompt: IntArray, found: Borrowed, behind: int) -> None:
        """Copy what a row's prompt begins with; `behind` columns follow prompts."""
        end, slot = self.columns - behind, int(self.slot_B[row])
        for layer in self.layers:
            layer.copy((slot, end - len(prompt)), (found.slot, end - found.length), found.size)
        # What stood there before is written over, and this prompt may not be whole yet.
        self.prefixes.by_slot.pop(slot, None)
        if found.size == len(prompt):
            self.prefixes.by_slot[slot] = prompt
