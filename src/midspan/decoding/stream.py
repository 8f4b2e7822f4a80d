"""Rows that are decoded together while others enter and leave: for lists, and for servers.

With a cache or under block diffusion twice as many rows are under way as go through the model
together: some have a window to compute and others everything, and of either there are enough.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from midspan.decoding.batch import Batch, Committed, Filled
from midspan.decoding.canvas import Canvas, Request
from midspan.decoding.config import DecodingConfig
from midspan.decoding.hooks import Hook
from midspan.decoding.requested import counts_from_prompt
from midspan.decoding.trace import StepView
from midspan.models.model import DiffusionLM


class Stream:
    """Rows being decoded, numbered by the caller.

    Callers check requests before (`check_requests`), and decode under `torch.inference_mode()`.

    Args:
        lm: The model.
        config: How all rows are decoded, but for its rules, which are among the hooks.
        hooks: What acts on all rows.
        size: The most rows that go through the model together.
    """

    def __init__(
        self, lm: DiffusionLM, config: DecodingConfig, hooks: Sequence[Hook], size: int
    ) -> None:
        self.lm, self.config, self.hooks, self.size = lm, config, hooks, size
        self._batch: Batch | None = None

    @property
    def rows(self) -> list[int]:
        """The rows, as the caller numbers them, in the order in which they stand in the batch."""
        rows: list[int] = [] if self._batch is None else self._batch.canvas.rows.tolist()
        return rows

    @property
    def batch(self) -> Batch:
        """The rows' batch, where there are any."""
        assert self._batch is not None
        return self._batch

    @property
    def free(self) -> int:
        """How many rows may enter now."""
        return self._capacity - len(self.rows)

    @property
    def _capacity(self) -> int:
        """The most rows that are under way."""
        has_windows = self.config.sampler == "block" or self.config.cache != "none"
        # A row alone has nothing beside it, so that its numbers are its own to the last bit.
        return 2 * self.size if has_windows and self.size > 1 else self.size

    def enter(
        self, requests: Mapping[int, Request] | Sequence[Request], rows: Sequence[int]
    ) -> None:
        """Let the requests at `rows` in; hooks see their canvases first."""
        started = self._started(requests, rows)
        if self._batch is None:
            self._batch = started
        else:
            self._batch.join(started)

    def _started(
        self, requests: Mapping[int, Request] | Sequence[Request], rows: Sequence[int]
    ) -> Batch:
        # Where blocks begin with the canvas, there is no prompt's tail in one.
        block = self.config.block if counts_from_prompt(self.lm, self.config) else None
        canvas = Canvas.create(self.lm, requests, rows, self.config.length, block)
        seeds = [requests[row].seed for row in rows]
        batch = Batch(self.lm, self.config, canvas, seeds, self.hooks)
        batch.call_hooks("on_canvas", np.arange(len(rows)))
        return batch

    def settle(self) -> list[tuple[int, Filled]]:
        """Let rows out that need no further forward."""
        if self._batch is None:
            return []
        ended_B = self._batch.update()
        return self._let_out(ended_B) if ended_B.any() else []

    def take_out(self, rows: Collection[int]) -> list[tuple[int, Filled]]:
        """Let these rows out as they are; those that are not here are none of them."""
        leaving_B = np.isin(np.array(self.rows, dtype=np.int64), list(rows))
        return self._let_out(leaving_B) if leaving_B.any() else []

    def _let_out(self, leaving_B: NDArray[np.bool_]) -> list[tuple[int, Filled]]:
        filled = list(self.batch.leaving(leaving_B))
        if leaving_B.all():
            self._batch = None
        else:
            self.batch.select(~leaving_B)
        return filled

    def advance(self) -> Committed | None:
        """One step of the rows that go next; None where a hook acted first, and rows may end."""
        batch = self.batch
        rows_A = batch.next_rows(self.size)
        if batch.call_hooks("before_forward", rows_A):
            return None
        return batch.advance(rows_A)

    def step_view(self, number: int, committed: Committed) -> StepView:
        """What a callback sees after step `number`."""
        return self.batch.step_view(number, committed)
