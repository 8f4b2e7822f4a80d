"""Keys and values by position, on transformers' `Cache`.

Unlike the library's own layers, which only grow, a slot layer writes into the middle of what it
holds, shows a part of it, and for some of its rows.
Shapes: B rows held, A rows of a forward, H heads, T capacity, D head width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass
class Window:
    """Where the next forward's positions lie; shared by all layers.

    Attributes:
        first: Slot of the forward's first position.
        shown: Slots that its queries see, from 0 on.
        rows_A: The rows that take part; None for all.
    """

    first: int = 0
    shown: int = 0
    rows_A: Tensor | None = None


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, [B, H, T, D]."""

    is_sliding = False

    def __init__(self, window: Window, rows: int, capacity: int) -> None:
        super().__init__()
        self.window, self.rows, self.capacity = window, rows, capacity

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make room, in the shape and number format of the first states."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (
            states.new_zeros(self.rows, states.shape[1], self.capacity, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the window's states, and return all that its queries see."""
        if not self.is_initialized and key_states.shape[2] == self.capacity:
            # A first forward over everything is kept as it is.
            self.keys, self.values, self.is_initialized = key_states, value_states, True
            return key_states, value_states
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        first, shown, rows_A = self.window.first, self.window.shown, self.window.rows_A
        if rows_A is not None:
            # Layers may lie on several devices.
            rows_A = rows_A.to(self.keys.device)
        for held, states in ((self.keys, key_states), (self.values, value_states)):
            slots = slice(first, first + states.shape[2])
            if rows_A is None:
                held[:, :, slots] = states
            else:
                held[rows_A, :, slots] = states
        if rows_A is None:
            return self.keys[:, :, :shown], self.values[:, :, :shown]
        return self.keys[rows_A, :, :shown], self.values[rows_A, :, :shown]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys and their offset, from which the library makes a padding mask."""
        return self.window.shown, 0

    def get_seq_length(self) -> int:
        """Slots that are filled before the window."""
        return self.window.first

    def get_max_length(self) -> int:
        """T."""
        return self.capacity

    def select(self, kept_K: Tensor) -> None:
        """Keep these rows only."""
        self.rows, kept_K = len(kept_K), kept_K.to(self.keys.device)
        self.keys, self.values = self.keys[kept_K], self.values[kept_K]


class SlotCache(Cache):
    """All layers of a model over one window."""

    def __init__(self, num_layers: int, rows: int, capacity: int) -> None:
        self.window = Window(shown=capacity)
        super().__init__([SlotLayer(self.window, rows, capacity) for _ in range(num_layers)])

    def select(self, kept_K: Tensor) -> None:
        """Keep these rows only."""
        for layer in self.layers:
            layer.select(kept_K)


def rows_tensor(rows: Any, device: torch.device) -> Tensor:
    """Row numbers of the host as an index on the device."""
    return torch.as_tensor(rows, dtype=torch.long, device=device)
