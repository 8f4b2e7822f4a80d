"""What a step's forward computes: logits at the positions that the step looks at.

Three ways: everything anew, Fast-dLLM's prefix and dual cache, block diffusion. Each says which
rows and columns go through the model; positions, masks and the logit shift are `DiffusionLM`'s.
Shapes: B rows, A rows of a step, R positions of the current block, T prompt and canvas,
V vocabulary.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.cache import SlotCache, rows_tensor
from midspan.decoding.canvas import Canvas
from midspan.decoding.config import BlockSampler, DecodingConfig, LladaSampler
from midspan.models.model import DiffusionLM


class Wanted(NamedTuple):
    """What a step asks of the model.

    Attributes:
        rows_A: Rows of the batch that take part.
        position_AR: Canvas positions whose logits are wanted.
        start: Canvas position at which the block begins, where all rows share it.
    """

    rows_A: NDArray[np.int64]
    position_AR: Tensor
    start: int


class Forward(Protocol):
    """Logits for a batch."""

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """Aligned logits [A, R, V] in single precision."""

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """Keep these rows of the batch only."""


def forward_for(lm: DiffusionLM, config: DecodingConfig, canvas: Canvas) -> Forward:
    """The forward that the config asks for."""
    if config.sampler == "block":
        return BlockForward(lm, config, canvas)
    if config.sampler == "dream" or config.cache == "none":
        return FullForward(lm, config.guidance)
    return CachedForward(lm, config)


def rows_of(values_BX: Tensor, rows_A: NDArray[np.int64]) -> Tensor:
    """The rows of a step, without a copy where these are all."""
    if len(rows_A) == len(values_BX):
        return values_BX
    return values_BX[rows_tensor(rows_A, values_BX.device)]


def with_blind(
    lm: DiffusionLM, ids_BT: Tensor, attention_BT: Tensor | None, ends: int | Tensor
) -> tuple[Tensor, Tensor | None]:
    """The rows, and once more with what is left of column `ends` masked; the attention of both."""
    column_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    both_2BT = torch.cat([ids_BT, torch.where(column_T < ends, lm.tokens.mask, ids_BT)])
    return both_2BT, None if attention_BT is None else torch.cat([attention_BT, attention_BT])


def guided(logits_2BRV: Tensor, guidance: float) -> Tensor:
    """Logits under classifier-free guidance, of rows with and without their prompts."""
    given_BRV, blind_BRV = logits_2BRV.chunk(2)
    return blind_BRV + (guidance + 1) * (given_BRV - blind_BRV)


class FullForward:
    """Everything anew, guided or not."""

    def __init__(self, lm: DiffusionLM, guidance: float) -> None:
        self.lm, self.guidance = lm, guidance

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """See `Forward`."""
        lm, ids_BT, attention_BT = self.lm, canvas.ids_BT, canvas.attention_BT
        rows_BR = canvas.width + wanted.position_AR
        where = {} if lm.block_length is None else {"canvas": canvas.width}
        if not self.guidance:
            return lm.logits(ids_BT, attention_BT, rows=rows_BR, **where).float()
        both_2BT, attention = with_blind(lm, ids_BT, attention_BT, canvas.width)
        rows = torch.cat([rows_BR, rows_BR])
        return guided(lm.logits(both_2BT, attention, rows=rows, **where).float(), self.guidance)

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """See `Forward`; nothing is held."""


class CachedForward:
    """Prefix and dual cache for models with full attention (Fast-dLLM, Wu et al. 2025).

    A block's first forward is over everything and keeps keys and values. Later ones are over the
    block and what is right of it ("prefix"), or over the block ("dual"); what they compute goes
    in the place of what was kept. Rows of one block go together, so that each row is renewed
    when it would be alone. A shifted family's windows begin one position earlier, since row i-1
    predicts position i; Fast-dLLM's own Dream code duplicates a row instead.
    """

    def __init__(self, lm: DiffusionLM, config: LladaSampler) -> None:
        self.lm, self.config = lm, config
        self.cache: SlotCache | None = None
        self.start, self.age = -1, 0
        self.held: list[int] = []

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """See `Forward`."""
        ids_AT = rows_of(canvas.ids_BT, wanted.rows_A)
        attention_AT = canvas.attention_BT
        if attention_AT is not None:
            attention_AT = rows_of(attention_AT, wanted.rows_A)
        requests = canvas.rows[wanted.rows_A].tolist()
        total, first, last = ids_AT.shape[1], 0, ids_AT.shape[1]
        if self._is_stale(wanted.start, requests):
            layers = self.lm.base.config.num_hidden_layers
            self.cache = SlotCache(layers, len(requests), total)
            self.start, self.age, self.held = wanted.start, 0, requests
        else:
            assert self.cache is not None
            if requests != self.held:
                kept = [self.held.index(request) for request in requests]
                self.cache.select(rows_tensor(kept, ids_AT.device))
                self.held = requests
            block_start = canvas.width + wanted.start
            first = max(block_start - self.lm.family.logit_shift, 0)
            if self.config.cache == "dual":
                last = block_start + self.config.block
        self.age += 1
        self.cache.window.first, self.cache.window.shown = first, total
        ids_AQ, rows_AR = ids_AT[:, first:last], canvas.width + wanted.position_AR
        return self.lm.logits(ids_AQ, attention_AT, rows_AR, first, self.cache).float()

    def _is_stale(self, start: int, requests: list[int]) -> bool:
        if self.cache is None or start != self.start or not set(requests) <= set(self.held):
            return True
        return self.config.refresh_every is not None and self.age >= self.config.refresh_every

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """See `Forward`; rows that left are dropped at the next forward."""


class BlockForward:
    """Block diffusion: positions see their own block and those before it.

    With the cache, a block's first forward also takes the block before, now that it is final;
    what lies further left is never computed again. The prompt goes through once.
    """

    def __init__(self, lm: DiffusionLM, config: BlockSampler, canvas: Canvas) -> None:
        self.lm, self.config = lm, config
        self.cache: SlotCache | None = None
        if config.cache == "prefix":
            layers = lm.base.config.num_hidden_layers
            self.cache = SlotCache(layers, len(canvas.rows), canvas.ids_BT.shape[1])
        # The slots before this one are final.
        self.final_B = np.zeros(len(canvas.rows), dtype=np.int64)

    def logits(self, canvas: Canvas, wanted: Wanted) -> Tensor:
        """See `Forward`."""
        block, rows_A = self.config.block, wanted.rows_A
        # Canvases begin at a block's border, so each row's own blocks end at the same columns.
        block_start = canvas.width + wanted.start
        last = min(block_start + block, canvas.ids_BT.shape[1])
        first = 0 if self.cache is None else int(self.final_B[rows_A].min())
        ids_AQ = rows_of(canvas.ids_BT, rows_A)[:, first:last]
        attention_AT = canvas.attention_BT
        if attention_AT is not None:
            attention_AT = rows_of(attention_AT, rows_A)
        if self.cache is not None:
            window = self.cache.window
            window.first, window.shown = first, last
            everyone = len(rows_A) == len(canvas.rows)
            window.rows_A = None if everyone else rows_tensor(rows_A, ids_AQ.device)
        self.final_B[rows_A] = block_start
        rows_AR = canvas.width + wanted.position_AR
        if self.config.guidance:
            ends: int | Tensor = canvas.width
            if canvas.offset_B is not None:
                # The prompt's tail stands in the canvas.
                ends = canvas.width + rows_of(canvas.offset_B, rows_A)[:, None]
            ids_AQ, attention_AT = with_blind(self.lm, ids_AQ, attention_AT, ends)
            rows_AR = torch.cat([rows_AR, rows_AR])
        logits_ARV = self.lm.logits(
            ids_AQ, attention_AT, rows_AR, first, self.cache, canvas.width
        ).float()
        return guided(logits_ARV, self.config.guidance) if self.config.guidance else logits_ARV

    def select(self, kept_B: NDArray[np.bool_]) -> None:
        """See `Forward`."""
        self.final_B = self.final_B[kept_B]
        if self.cache is not None and self.cache.layers[0].is_initialized:
            self.cache.select(rows_tensor(np.flatnonzero(kept_B), self.lm.device))
        elif self.cache is not None:
            for layer in self.cache.layers:
                layer.rows = int(kept_B.sum())
